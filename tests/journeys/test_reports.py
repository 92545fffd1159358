"""Reports opened in a real browser: names of sensors and notes are text, never markup."""

from datetime import timedelta

import pytest
import yaml

from monitoring.alerts.kinds import AlertType, AlertVerdict
from monitoring.drift.fleet import check_fleet
from monitoring.drift.recording import FLEET_PAGE
from monitoring.i18n.translation import Translator
from monitoring.reports.report_files import write_report
from monitoring.reports.shift_report import build_shift_report
from monitoring.watch.operator_actions import list_alerts, set_verdict
from monitoring.watch.watcher import watch_fleet
from serving.batch import detect_fleet, forecast_fleet
from tests.support.browser import PageReader, chromium
from tests.support.workspaces import make_readings, parse_time
from training.data.sensor_store import add_missing_sensors, load_fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet

pytestmark = pytest.mark.slow

HOSTILE_ID = "<script>alert(1)</script>"
HOSTILE_NAME = '"><img src=x onerror=alert(2)>'
LENGTH = 248  # hours of readings; the models are trained on the first 200
NOW = parse_time("2026-01-11T09:00")


@pytest.fixture
def hostile_sensor(workspace, plan, training_stub):
    """A sensor whose id, name, unit and platform are HTML: trained, drifted, with alerts and verdicts."""
    (workspace.home / "conf").mkdir()
    fields = {"name": HOSTILE_NAME, "platform": HOSTILE_ID, "unit": HOSTILE_ID, "critical_high": 40.0}
    (workspace.home / "conf" / "sensors.yaml").write_text(yaml.safe_dump({"sensors": {HOSTILE_ID: fields}}))
    readings = make_readings(HOSTILE_ID, LENGTH)
    workspace.readings.ingest(readings[:200])
    add_missing_sensors(workspace.engine, [HOSTILE_ID])
    train_fleet(workspace, load_fleet(workspace.engine).match(), list(Kind), plan, jobs=1)
    later = readings[200:]
    workspace.readings.ingest(later.assign(value=later["value"] + 30))
    sensors = workspace.fleet.match(())
    detect_fleet(workspace, sensors)
    forecast_fleet(workspace, sensors)
    watch_fleet(workspace, sensors, now=NOW)
    for alert in list_alerts(workspace):
        set_verdict(workspace, alert.id, AlertVerdict.CONFIRM, by=HOSTILE_ID, now=NOW, note=HOSTILE_NAME)
    return workspace


@pytest.mark.attack(
    "scripts as names of a sensor, a note and a user, in the shift report and the drift reports in a browser",
    "they are shown as text; nothing is run",
)
def test_reports_of_a_sensor_named_as_a_script_run_nothing(hostile_sensor, tmp_path):
    sensors = hostile_sensor.fleet.match(())
    folder = tmp_path / "reports"
    shift = build_shift_report(
        hostile_sensor, start=NOW - timedelta(days=3), end=NOW, author="Ana", words=Translator("en")
    )
    folder.mkdir()
    write_report(shift, folder / "shift.html")
    outcomes = check_fleet(hostile_sensor, sensors, now=NOW, html=folder)
    pages = sorted(folder.glob("*.html"))

    assert AlertType.ANOMALY in {alert.topic.type for alert in list_alerts(hostile_sensor)}
    assert {outcome.status for outcome in outcomes} == {"drifted"}
    assert {FLEET_PAGE, "shift.html"} < {page.name for page in pages}
    assert len(pages) == 4
    with chromium() as browser:
        for path in pages:
            reader = PageReader(browser.new_page(), path.as_uri())
            reader.open("", HOSTILE_ID)
            reader.page.wait_for_load_state("networkidle")
            if path.name in {FLEET_PAGE, "shift.html"}:
                reader.wait_for_text(HOSTILE_NAME)
            assert reader.page.locator("img[onerror]").count() == 0
            assert reader.errors == [], path.name
            assert reader.hosts == {""}, path.name
            reader.page.close()
