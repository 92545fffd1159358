"""The page in a real browser, beside a real MLflow server and the endpoint: each tab does its job."""

import re
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest
import yaml
from playwright.sync_api import Browser

from tests.support.browser import PATIENCE, UNREACHABLE, PageReader, chromium, save_times
from tests.support.fleet_copies import copy_sensors
from tests.support.installation import BIN, Installation, free_port, post_json, running_server
from tests.support.workspaces import make_readings

# One town for all of them: they go to one worker.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("town")]

TOKEN = "0123456789abcdef-ana"
EVIL = "<script>alert(1)</script>"
NEWEST = pd.Timestamp("2026-01-17T15:00")  # the 400th hour of the year
SENSORS = {
    "PT-1": {
        "name": "Wellhead pressure",
        "platform": "P-48",
        "type": "pressure",
        "unit": "bar",
        "critical_high": 27.0,
    },
    "NEW-1": {"name": "Flow line temperature", "platform": "P-50", "type": "temperature", "unit": "degC"},
    EVIL: {"name": EVIL, "platform": "<b>P</b>"},
}
VIEWS = {
    "Fleet": "Needs a human now",
    "Forecasting": "How far this can be believed",
    "Anomaly Detection": "Status now",
    "Model Status": "Detectors serving",
    "Training": "What is needed",
}


CONTRASTS = Path(__file__).with_name("contrasts.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class ServedInstallation:
    """A house with everything around it."""

    house: Installation
    page: str
    endpoint: str
    mlflow: str

    def scored_by(self, sensor_id: str) -> str:
        """The version that the endpoint scores a reading with."""
        rows = [{"sensor_id": sensor_id, "timestamp": str(NEWEST + timedelta(hours=1)), "value": 20.0}]
        answer = post_json(f"{self.endpoint}/invocations", {"dataframe_records": rows})
        return str(answer["predictions"][0]["detector_version"])


@pytest.fixture(scope="module")
def served_installation(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> Iterator[ServedInstallation]:
    """PT-1 with champions and a detector that waits, NEW-1 and an evil one with readings only; all served."""
    home = tmp_path_factory.mktemp("town")
    shutil.copy(empty_mlflow, home / "mlflow.db")
    (home / "conf").mkdir()
    (home / "conf" / "sensors.yaml").write_text(yaml.safe_dump({"sensors": SENSORS}), encoding="utf-8")
    ports = free_port(), free_port(), free_port()
    page, endpoint, mlflow = (f"http://127.0.0.1:{port}" for port in ports)
    quick = {
        "SAFEPLAN_TOKENS": f"ana:promote:{TOKEN}",
        "SAFEPLAN_PAGE_REFRESH": "1",
        "SAFEPLAN_PAGE_MODELS_REFRESH": "1",
        "SAFEPLAN_FOLLOW_EVERY": "1",
        "SAFEPLAN_TUNING_TRIALS": "2",
        "SAFEPLAN_GATE_MIN_SKILL": "-9",
        "SAFEPLAN_GATE_MIN_COVERAGE": "0",
    }
    installation = Installation(home, quick)
    trained_workspace = pd.concat(
        [make_readings("PT-1", 400), make_readings("NEW-1", 80), make_readings(EVIL, 60)]
    )
    installation.run("load", installation.write("plant.csv", trained_workspace))
    installation.run("train", "PT-1", "--jobs", "1")
    installation.run("train", "PT-1", "--kind", "detector", "--jobs", "1", "--fresh", "--promote", "manual")
    installation.run("detect", "PT-1", "--since", "2026-01-16")
    there = Installation(home, {**quick, "MLFLOW_TRACKING_URI": mlflow})
    tracking = [
        *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(ports[2])),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
    ]
    safeplan = str(BIN / "safeplan")
    open_to_all = {"SAFEPLAN_TOKENS": ""}
    with ExitStack() as stack:
        start = stack.enter_context
        # Its workers for language models take 2 GB that nobody here needs.
        lean = installation.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        start(running_server(tracking, lean, home, f"{mlflow}/health"))
        others = [
            running_server([safeplan, "dashboard", "--port", str(ports[0])], there.environment(), home, page),
            running_server(
                [safeplan, "serve", "--port", str(ports[1])],
                there.environment(**open_to_all),
                home,
                f"{endpoint}/ready",
            ),
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, others))
        yield ServedInstallation(there, page, endpoint, mlflow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all."""
    with chromium() as launched:
        yield launched


@pytest.fixture
def reader(browser: Browser, served_installation: ServedInstallation) -> Iterator[PageReader]:
    """Somebody at the page; afterwards, nothing went wrong in the browser and nobody else was asked."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    made = PageReader(context.new_page(), served_installation.page)
    yield made
    context.close()
    assert made.errors == []
    assert made.hosts <= {made.base.removeprefix("http://"), ""}


def test_each_tab_does_its_job(reader):
    reader.open("/", VIEWS["Fleet"])
    for name, awaited in list(VIEWS.items())[1:]:
        reader.tab(name, awaited)
        reader.settle()
    reader.tab("Fleet", VIEWS["Fleet"])
    save_times("page-times", reader.times)


def test_a_view_can_be_sent_to_a_colleague(reader, browser, served_installation):
    reader.open("/?view=forecast&sensor=PT-1", "Direction")
    reader.page.get_by_label("Steps ahead").fill("36")
    reader.page.get_by_label("Steps ahead").press("Enter")
    reader.page.wait_for_url("**steps=36**")
    reader.page.get_by_role("radio", name="24 h").click()
    reader.page.wait_for_url("**hours=24**")

    context = browser.new_context()
    colleague = PageReader(context.new_page(), "")
    colleague.open(reader.page.url, "Direction")

    assert colleague.page.get_by_label("Steps ahead").input_value() == "36"
    assert colleague.page.get_by_role("radio", name="24 h").is_checked()
    context.close()


def test_a_training_started_on_the_page_ends_in_a_new_registered_version(reader, served_installation):
    reader.open("/?view=training&lang=en", VIEWS["Training"])
    reader.log_in(TOKEN, "ana")
    reader.page.get_by_role("button", name="Clear all").click()
    reader.page.get_by_label("Sensors to train").fill("NEW-1")
    reader.page.get_by_role("option", name="NEW-1").first.click()
    reader.page.keyboard.press("Escape")
    # Two models take three seconds: it may have ended before the page is drawn.
    reported = re.compile("Training goes on|The last training")
    reader.until(reader.page.get_by_role("button", name="Train 2 models").click, reported)

    reader.page.reload()
    reader.wait_for_text(reported)
    reader.screenshot("training-goes-on")

    reader.wait_for_text("The last training")
    status = served_installation.house.run("status", "NEW-1")
    assert {status.of("NEW-1", kind)["version"] for kind in ("detector", "forecaster")} == {1}
    reader.open("/?view=models&sensor=NEW-1", "Detectors serving")
    reader.page.get_by_role("link", name="new-1-detector v1").wait_for()
    audit = served_installation.house.run("audit", "NEW-1").document
    assert "ana" in str(audit)


def test_a_promotion_in_the_mlflow_ui_shows_on_the_page_and_in_the_endpoint(
    reader, browser, served_installation
):
    assert served_installation.scored_by("PT-1") == "1"
    reader.open("/?view=models&sensor=PT-1", "Detectors serving")
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        ui = context.new_page()
        ui.set_default_timeout(PATIENCE)
        ui.goto(reader.page.get_by_role("link", name="pt-1-detector").get_attribute("href"))
        ui.goto(f"{served_installation.mlflow}/#/models/pt-1-detector/versions/2")
        ui.get_by_title("Edit aliases").click()
        dialog = ui.get_by_role("dialog").last
        dialog.get_by_role("combobox").fill("champion")
        dialog.get_by_role("combobox").press("Enter")
        dialog.get_by_role("button", name="Save aliases").click()
        dialog.wait_for(state="hidden")

    reader.page.get_by_role("link", name="pt-1-detector v2").wait_for()
    until = time.monotonic() + 30
    while served_installation.scored_by("PT-1") != "2" and time.monotonic() < until:
        time.sleep(0.3)
    assert served_installation.scored_by("PT-1") == "2"
    reader.screenshot("promoted")


def send_anomalous_reading(town: ServedInstallation) -> None:
    """PT-1 reads 900, and is scored; doing it twice changes nothing."""
    odd = make_readings("PT-1", 401).tail(1).assign(value=900.0)
    town.house.run("load", town.house.write("odd.csv", odd))
    town.house.run("detect", "PT-1")


def test_what_comes_in_is_seen_without_a_reload(reader, served_installation):
    reader.open("/?view=anomalies&sensor=PT-1", "Status now")

    send_anomalous_reading(served_installation)

    reader.wait_for_text("certainly an anomaly")
    reader.screenshot("anomaly")


def test_an_alert_is_looked_at_and_judged_on_the_page(reader, served_installation):
    """From what needs a human to the verdict in the table, by clicks alone."""
    send_anomalous_reading(served_installation)
    served_installation.house.run(
        "alerts", "watch", "--as-of", f"{NEWEST + timedelta(hours=1, minutes=10):%Y-%m-%dT%H:%M}"
    )
    reader.open("/", VIEWS["Fleet"])
    reader.page.locator(".st-key-concerns").get_by_text("danger").first.wait_for()
    reader.screenshot("fleet-with-an-alert")
    reader.page.get_by_role("button", name="Look").first.click()
    reader.wait_for_text("Status now")
    reader.wait_for_text("opened")
    reader.log_in(TOKEN, "ana")

    reader.page.get_by_label("What it was").fill("cable cut")
    reader.page.get_by_role("button", name="Confirm").click()

    reader.wait_for_text("Verdict: confirmed")
    reader.wait_for_text("cable cut")
    reader.screenshot("alert-judged")
    (alert,) = served_installation.house.run("alerts", "list", "PT-1", "--all").document["alerts"]
    assert (alert["verdict"], alert["verdict_by"], alert["note"]) == ("confirm", "ana", "cable cut")


@pytest.mark.attack(
    "a sensor whose name is a script, on every tab of the page", "it is shown as text; nothing is run"
)
def test_a_sensor_called_script_runs_nothing(reader):
    reader.open("/?sensor=%3Cscript%3Ealert(1)%3C/script%3E", "Every sensor")
    for name, awaited in list(VIEWS.items())[1:]:
        reader.tab(name, "No reading of this sensor was scored" if name == "Anomaly Detection" else awaited)
        reader.settle()
        if name != "Training":
            reader.page.get_by_role("heading", name=EVIL).first.wait_for()


def test_whatever_takes_the_focus_has_a_name_and_the_keyboard_reaches_it(reader):
    reader.open("/?sensor=PT-1", VIEWS["Fleet"])
    reader.log_in(TOKEN, "ana")
    for name, awaited in VIEWS.items():
        reader.tab(name, awaited)
        reader.settle()
        nameless = [one for one in reader.focusable_nodes() if not one["name"].strip()]
        assert nameless == [], name
        assert reader.page.evaluate(UNREACHABLE) == [], name

    reader.page.get_by_role("tab", name="Training").focus()
    reader.page.keyboard.press("ArrowLeft")
    reader.page.keyboard.press("Enter")
    reader.wait_for_text(VIEWS["Model Status"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_in_both_themes(browser, served_installation, scheme):
    """AA: 4.5 to 1, for every text that is shown, against what is behind it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    reader = PageReader(context.new_page(), served_installation.page)
    reader.open("/?sensor=PT-1", VIEWS["Fleet"])
    reader.log_in(TOKEN, "ana")
    faint = []
    for name, awaited in VIEWS.items():
        reader.tab(name, awaited)
        reader.screenshot(f"{name.lower().replace(' ', '-')}-{scheme}")
        faint += [f"{name}: {found}" for found in reader.page.evaluate(CONTRASTS)]
    context.close()
    assert faint == []


def test_a_tablet_shows_everything_without_scrolling_sideways(browser, served_installation):
    context = browser.new_context(viewport={"width": 820, "height": 1180})
    reader = PageReader(context.new_page(), served_installation.page)
    reader.open("/?sensor=PT-1", VIEWS["Fleet"])
    for name, awaited in VIEWS.items():
        reader.tab(name, awaited)
        reader.screenshot(f"{name.lower().replace(' ', '-')}-tablet")
        assert reader.page.evaluate("document.querySelector('.stMain').scrollWidth") <= 820
    context.close()


@pytest.mark.fault(
    "a fleet of 5,000 sensors on the page, in a browser", "listed, found by typing and shown on every tab"
)
def test_five_thousand_sensors_are_no_burden(browser, served_installation, tmp_path_factory):
    """Times go into the log; they are not asserted, for the machine may be busy."""
    home = tmp_path_factory.mktemp("many")
    shutil.copytree(served_installation.house.home, home, dirs_exist_ok=True)
    ids = copy_sensors(home, ["PT-1", "NEW-1"], 2_500, since="2026-01-16")
    port = free_port()
    installation = Installation(home, {})
    line = [str(BIN / "safeplan"), "dashboard", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running_server(line, installation.environment(), home, address):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        first = PageReader(context.new_page(), address)
        first.open("/", VIEWS["Fleet"])
        reader = PageReader(context.new_page(), address)
        reader.open("/?view=models", VIEWS["Model Status"])  # the registry has been read
        reader.open("/", VIEWS["Fleet"])
        reader.wait_for_text("5,003")
        reader.wait_for_text("Every sensor")
        for name, awaited in list(VIEWS.items())[1:]:
            reader.settle()
            reader.tab(name, awaited)
        reader.settle()
        reader.tab("Forecasting", VIEWS["Forecasting"])
        with reader.timed("a sensor found by typing"):
            box = reader.page.get_by_role("combobox", name="Sensor")
            box.fill("PT-1-2499")
            reader.page.get_by_role("option", name="PT-1-2499").first.click()
            reader.page.wait_for_url("**sensor=PT-1-2499**")
            reader.page.get_by_role("heading", name="PT-1-2499").first.wait_for()
        for name in ("Forecasting", "Anomaly Detection", "Model Status"):
            reader.settle()
            reader.tab(name, VIEWS[name])
            reader.page.get_by_role("heading", name="PT-1-2499").first.wait_for()
        reader.settle()
        reader.tab("Fleet", VIEWS["Fleet"])
        save_times(
            "page-times-5003-sensors", {"first view after the start": first.times["open /"], **reader.times}
        )
        reader.screenshot("fleet-5003-sensors")
        assert reader.errors == []
        context.close()
    assert len(ids) == 5_000
