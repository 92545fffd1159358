"""The Trends tab: sensors and period of the address, steps to alerts, times of the site, export."""

from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest

from monitoring.alerts.alert import Alert, AlertEvidence, AlertTopic, Transition
from monitoring.alerts.kinds import AlertChange, AlertState, AlertType, AlertVerdict, Severity
from monitoring.alerts.maintenance import MaintenanceWindow, add_maintenance
from monitoring.alerts.store import AlertStore
from monitoring.dashboard.tabs.trends import export_csv, format_sensors, parse_sensors
from monitoring.dashboard.theme import DARK_PALETTE
from monitoring.dashboard.trend_chart import TrendPanel, trend_figure
from monitoring.dashboard.url_state import CHOICES_KEY
from monitoring.i18n.translation import Translator
from tests.support.dashboard_app import NEWEST, page_text
from training.data.sensors import Sensor
from training.storage.database import writing

SENSOR = Sensor(id="PT-1", name="Wellhead pressure", unit="bar", critical_high=26)


def store_alert(workspace, began, *, hours=1):
    """One closed anomaly alert of PT-1, confirmed."""
    alert = Alert(
        topic=AlertTopic(AlertType.ANOMALY, "PT-1", platform="P-48"),
        severity=Severity.DANGER,
        state=AlertState.CLOSED,
        began_at=began,
        opened_at=began,
        last_at=began + timedelta(hours=hours),
        changed_at=began,
        evidence=AlertEvidence(value=24.0, reason="high"),
        returned_at=began + timedelta(hours=hours),
        closed_at=began + timedelta(hours=hours),
        verdict=AlertVerdict.CONFIRM,
    )
    with writing(workspace.engine) as connection:
        transition = Transition(alert).with_event(AlertChange.OPENED, began)
        AlertStore(workspace.engine).save(connection, transition, now=began)


def figure_of(page):
    (chart,) = page.get("plotly_chart")
    return chart.proto.spec


def test_the_address_decides_sensors_and_period(page):
    shown = page("/?view=trends&sensors=TT-1,PT-1&trend=custom&from=2026-01-08T06:00&until=2026-01-08T18:00")

    assert shown.multiselect[0].value == ["TT-1", "PT-1"]
    figure = figure_of(shown)
    assert '"range":["2026-01-08T06:00:00","2026-01-08T18:00:00"]' in figure
    assert "Wellhead pressure" in figure


def test_a_value_of_the_address_that_is_not_possible_is_ignored(page):
    shown = page("/?view=trends&sensors=nobody,PT-1&trend=custom&from=yesterday&until=2026-99-99")

    assert shown.multiselect[0].value == ["PT-1"]
    assert len(shown.get("plotly_chart")) == 1


def test_an_empty_period_is_explained(page):
    shown = page("/?view=trends&trend=custom&from=2026-01-09T06:00&until=2026-01-08T06:00")

    assert "end must be after its start" in page_text(shown)


def test_steps_lead_to_the_previous_and_the_next_alert(page, dashboard_workspace):
    first, second = NEWEST - timedelta(days=5), NEWEST - timedelta(days=2)
    for began in (first, second):
        store_alert(dashboard_workspace, began)

    shown = page("/?view=trends&sensors=PT-1&trend=24")
    previous = next(b for b in shown.button if "Previous alert" in b.label)
    at_second = previous.click().run()
    begun_before = pd.Timestamp(at_second.session_state[CHOICES_KEY]["from"])
    at_first = next(b for b in at_second.button if "Previous alert" in b.label).click().run()

    assert second - timedelta(hours=6) == begun_before
    assert pd.Timestamp(at_first.session_state[CHOICES_KEY]["from"]) == first - timedelta(hours=6)
    assert [b.disabled for b in at_first.button if "Previous alert" in b.label] == [True]


def test_alerts_verdicts_and_maintenance_are_drawn_at_the_wall_clock_of_the_site(workspace):
    _ = Translator("pt", "America/Sao_Paulo")
    began = NEWEST - timedelta(hours=5)
    store_alert(workspace, began)
    work = MaintenanceWindow(NEWEST - timedelta(hours=2), NEWEST, "seal", "Ana", sensor_id="PT-1")
    (alert,) = AlertStore(workspace.engine).find()
    readings = pd.DataFrame({"timestamp": [began, NEWEST], "value": [20.0, 25.0]})
    panel = TrendPanel(SENSOR, readings, (), [alert], [work])

    layout = (figure := trend_figure(DARK_PALETTE, _, [panel], NEWEST - timedelta(hours=8), NEWEST))["layout"]

    spans = [shape for shape in layout["shapes"] if shape["type"] == "rect"]
    assert [span["x0"] for span in spans] == [
        NEWEST - timedelta(hours=2 + 3),
        began - timedelta(hours=3),
    ]
    assert layout["xaxis"]["title"]["text"] == "America/Sao_Paulo (UTC-03:00)"
    (marker,) = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    assert "anomalia confirmada" in marker["text"][0]


def test_panels_share_one_time_axis(workspace):
    readings = pd.DataFrame({"timestamp": [NEWEST], "value": [20.0]})
    panels = [TrendPanel(Sensor(id=f"PT-{n}"), readings, (), (), ()) for n in range(3)]

    figure = trend_figure(DARK_PALETTE, Translator(), panels, NEWEST - timedelta(hours=8), NEWEST)

    assert [trace["yaxis"] for trace in figure["data"]] == ["y", "y2", "y3"]
    assert {trace["xaxis"] for trace in figure["data"]} == {"x"}
    domains = [figure["layout"][axis]["domain"] for axis in ("yaxis3", "yaxis2", "yaxis")]
    assert all(low[1] < high[0] for low, high in pairwise(domains))


@pytest.mark.parametrize("ids", [["PT-1"], ["a,b", "c%2C", "ü/1"]])
def test_sensor_ids_survive_the_address(ids):
    assert parse_sensors(format_sensors(ids), ids) == ids


def test_the_export_holds_every_reading_in_utc(page, dashboard_workspace):
    page("/?view=trends&sensors=PT-1")

    text = export_csv([SENSOR], NEWEST - timedelta(hours=2), NEWEST).decode().splitlines()

    assert text[0] == "sensor_id,timestamp,value,data_quality,unit"
    assert text[1].startswith("PT-1,2026-01-09T05:00:00.000000Z,")
    assert len(text) == 3


def test_maintenance_of_the_platform_is_drawn_for_its_sensors(page, dashboard_workspace):
    work = MaintenanceWindow(NEWEST - timedelta(hours=2), NEWEST, "seal", "Ana", platform="P-48")
    add_maintenance(dashboard_workspace, work, now=NEWEST)

    with_work = figure_of(page("/?view=trends&sensors=PT-1")).count('"rect"')
    without = figure_of(page("/?view=trends&sensors=TT-1")).count('"rect"')

    assert (with_work, without) == (1, 0)
