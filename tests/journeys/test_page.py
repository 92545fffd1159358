"""The dashboard in a real browser, beside a real MLflow server and the endpoint."""

import shutil
import sys
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
from playwright.sync_api import Browser, WebSocketRoute
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.support.browser import TIMEOUT, UNREACHABLE, PageReader, chromium, save_times
from tests.support.fleet_copies import copy_sensors
from tests.support.held_training import RELEASE_FILE
from tests.support.installation import (
    BIN,
    Installation,
    copy_installation,
    free_port,
    post_json,
    running_server,
)
from tests.support.workspaces import make_readings

pytestmark = pytest.mark.slow

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
    "Overview": "Action required",
    "Trends": "Download CSV",
    "Forecasting": "Forecast reliability",
    "Anomaly Detection": "Current status",
    "Model Status": "Detectors serving",
    "Training": "Requirements",
}
DRAWING_MESSAGES = {"delta", "script_finished"}
FADED = """() => [...document.querySelectorAll('[data-stale=true]')]
  .filter(e => getComputedStyle(e).opacity !== '1').length"""
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text(encoding="utf-8")


@dataclass(frozen=True)
class ServedInstallation:
    """An installation with dashboard, endpoint and MLflow server."""

    installation: Installation
    page: str
    endpoint: str
    mlflow: str

    def serving_version(self, sensor_id: str) -> str:
        """The version that the endpoint scores a reading with."""
        rows = [{"sensor_id": sensor_id, "timestamp": str(NEWEST + timedelta(hours=1)), "value": 20.0}]
        response = post_json(f"{self.endpoint}/invocations", {"dataframe_records": rows})
        return str(response["predictions"][0]["detector_version"])


@pytest.fixture(scope="module")
def served_installation(
    tmp_path_factory: pytest.TempPathFactory, trained_twice: Installation
) -> Iterator[ServedInstallation]:
    """PT-1 has champions and a detector awaiting approval; NEW-1 and a hostile name have readings only."""
    home = tmp_path_factory.mktemp("page")
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
    installation = copy_installation(trained_twice, home, **quick)
    readings = pd.concat([make_readings("NEW-1", 80), make_readings(EVIL, 60)])
    installation.run("load", installation.write("plant.csv", readings))
    installation.run("detect", "PT-1", "--since", "2026-01-16")
    served = Installation(home, {**quick, "MLFLOW_TRACKING_URI": mlflow})
    tracking = [
        *(str(BIN / "mlflow"), "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(ports[2])),
        *("--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}"),
    ]
    safeplan, held = str(BIN / "safeplan"), [sys.executable, "-m", "tests.support.held_training"]
    open_to_all = {"SAFEPLAN_TOKENS": ""}
    with ExitStack() as stack:
        start = stack.enter_context
        # The workers for language models take 2 GB that are not needed here.
        lean = installation.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false")
        start(running_server(tracking, lean, home, f"{mlflow}/health"))
        others = [
            running_server([*held, "dashboard", "--port", str(ports[0])], served.environment(), home, page),
            running_server(
                [safeplan, "serve", "--port", str(ports[1])],
                served.environment(**open_to_all),
                home,
                f"{endpoint}/ready",
            ),
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(start, others))
        yield ServedInstallation(served, page, endpoint, mlflow)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as launched:
        yield launched


@pytest.fixture
def reader(browser: Browser, served_installation: ServedInstallation) -> Iterator[PageReader]:
    """A reader; afterwards the browser has reported no error and contacted no other host."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    page_reader = PageReader(context.new_page(), served_installation.page)
    yield page_reader
    context.close()
    assert page_reader.errors == []
    assert page_reader.hosts <= {page_reader.base.removeprefix("http://"), ""}


def test_each_tab_opens(reader):
    reader.open("/", VIEWS["Overview"])
    for name, expected_text in list(VIEWS.items())[1:]:
        reader.tab(name, expected_text)
        reader.settle()
    reader.tab("Overview", VIEWS["Overview"])
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


def test_a_login_survives_reloads_and_links_until_logout(reader):
    reader.open("/?lang=en", VIEWS["Overview"])
    reader.log_in(TOKEN, "ana")
    reader.settle()

    reader.open("/?view=models&lang=en", VIEWS["Model Status"])
    reader.page.get_by_role("button", name="ana · engineer").click()
    reader.page.get_by_role("button", name="Log out").click()
    reader.page.get_by_role("button", name="Log in").first.wait_for()
    reader.settle()
    reader.open("/?view=training&lang=en", VIEWS["Training"])

    reader.page.get_by_role("button", name="Log in").first.wait_for()


def test_a_training_started_on_the_page_ends_in_a_new_registered_version(reader, served_installation):
    reader.open("/?view=training&lang=en", VIEWS["Training"])
    reader.log_in(TOKEN, "ana")
    reader.page.get_by_role("button", name="Clear all").click()
    reader.page.get_by_label("Sensors to train").fill("NEW-1")
    reader.page.get_by_role("option", name="NEW-1").first.click()
    reader.page.keyboard.press("Escape")
    reader.page.get_by_role("button", name="Train 2 models").click()
    reader.wait_for_text("Training in progress")

    reader.page.reload()
    reader.wait_for_text("Training in progress")
    reader.wait_for_text("0 of 2 models")
    reader.screenshot("training-in-progress")

    (served_installation.installation.home / RELEASE_FILE).touch()
    reader.wait_for_text("Last training")
    status = served_installation.installation.run("status", "NEW-1")
    assert {status.of("NEW-1", kind)["version"] for kind in ("detector", "forecaster")} == {1}
    reader.open("/?view=models&sensor=NEW-1", "Detectors serving")
    reader.page.get_by_role("link", name="new-1-detector v1").wait_for()
    audit = served_installation.installation.run("audit", "NEW-1").document
    assert "ana" in str(audit)


def test_a_promotion_in_the_mlflow_ui_shows_on_the_page_and_in_the_endpoint(
    reader, browser, served_installation
):
    assert served_installation.serving_version("PT-1") == "1"
    reader.open("/?view=models&sensor=PT-1", "Detectors serving")
    with browser.new_context(viewport={"width": 1400, "height": 900}) as context:
        ui = context.new_page()
        ui.set_default_timeout(TIMEOUT)
        ui.goto(reader.page.get_by_role("link", name="pt-1-detector").get_attribute("href"))
        ui.goto(f"{served_installation.mlflow}/#/models/pt-1-detector/versions/2")
        ui.get_by_title("Edit aliases").click()
        dialog = ui.get_by_role("dialog").last
        dialog.get_by_role("combobox").fill("champion")
        dialog.get_by_role("combobox").press("Enter")
        dialog.get_by_role("button", name="Save aliases").click()
        dialog.wait_for(state="hidden")

    reader.page.get_by_role("link", name="pt-1-detector v2").wait_for()
    deadline = time.monotonic() + TIMEOUT / 1000
    while served_installation.serving_version("PT-1") != "2" and time.monotonic() < deadline:
        time.sleep(0.3)
    assert served_installation.serving_version("PT-1") == "2"
    reader.screenshot("promoted")


def send_anomalous_reading(installation: Installation) -> None:
    """Load and score a reading of 900 of PT-1; repeating it changes nothing."""
    anomalous = make_readings("PT-1", 401).tail(1).assign(value=900.0)
    installation.run("load", installation.write("anomalous.csv", anomalous))
    installation.run("detect", "PT-1")


def test_a_new_reading_is_shown_without_a_reload(reader, served_installation):
    reader.open("/?view=anomalies&sensor=PT-1", "Current status")

    send_anomalous_reading(served_installation.installation)

    reader.wait_for_text("clear anomaly")
    reader.screenshot("anomaly")


def test_an_alert_is_opened_and_confirmed_by_clicks(reader, served_installation):
    send_anomalous_reading(served_installation.installation)
    served_installation.installation.run(
        "alerts", "watch", "--as-of", f"{NEWEST + timedelta(hours=1, minutes=10):%Y-%m-%dT%H:%M}"
    )
    reader.open("/", VIEWS["Overview"])
    reader.page.locator(".st-key-concerns").get_by_text("danger").first.wait_for()
    reader.screenshot("fleet-with-an-alert")
    reader.page.get_by_role("button", name="Open", exact=True).first.click()
    reader.wait_for_text("Current status")
    reader.wait_for_text("new alert")
    reader.log_in(TOKEN, "ana")

    # The reading is beyond the critical limit too, which has an alert of its own.
    alerts = served_installation.installation.run("alerts", "list", "PT-1", "--all").document["alerts"]
    assert sorted(alert["type"] for alert in alerts) == ["ANOMALY", "LIMIT"]
    (number,) = [alert["id"] for alert in alerts if alert["type"] == "ANOMALY"]
    card = reader.page.locator(f".st-key-alert-{number}")
    card.get_by_label("Comment (optional)").fill("cable cut")
    card.get_by_role("button", name="Confirm anomaly").click()

    reader.wait_for_text("Verdict: confirmed")
    reader.wait_for_text("cable cut")
    reader.screenshot("alert-judged")
    alerts = served_installation.installation.run("alerts", "list", "PT-1", "--all").document["alerts"]
    (alert,) = [alert for alert in alerts if alert["id"] == number]
    assert (alert["verdict"], alert["verdict_by"], alert["note"]) == ("confirm", "ana", "cable cut")


@pytest.mark.attack(
    "a sensor whose name is a script, on every tab of the page", "it is shown as text; nothing is run"
)
def test_a_sensor_named_as_a_script_runs_nothing(reader):
    reader.open("/?sensor=%3Cscript%3Ealert(1)%3C/script%3E", "All sensors")
    for name, expected_text in list(VIEWS.items())[1:]:
        reader.tab(name, "has been scored yet" if name == "Anomaly Detection" else expected_text)
        reader.settle()
        if name == "Trends":
            reader.wait_for_text(EVIL)
        elif name != "Training":
            reader.page.get_by_role("heading", name=EVIL).first.wait_for()


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(reader):
    reader.open("/?sensor=PT-1", VIEWS["Overview"])
    reader.log_in(TOKEN, "ana")
    for name, expected_text in VIEWS.items():
        reader.tab(name, expected_text)
        reader.settle()
        nameless = [node for node in reader.focusable_nodes() if not node["name"].strip()]
        assert nameless == [], name
        assert reader.page.evaluate(UNREACHABLE) == [], name

    reader.page.get_by_role("tab", name="Training").focus()
    reader.page.keyboard.press("ArrowLeft")
    reader.page.keyboard.press("Enter")
    reader.wait_for_text(VIEWS["Model Status"])


def test_a_slow_refresh_fades_nothing(browser, served_installation):
    """Streamlit fades what is being redrawn to a third; a reader could not read it on a slow machine."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    holding = False

    def hold_after_start(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def pass_on(message: str | bytes) -> None:
            assert isinstance(message, bytes)
            # The start of a run arrives, what it draws and its end do not.
            if not holding or ForwardMsg.FromString(message).WhichOneof("type") not in DRAWING_MESSAGES:
                socket.send(message)

        server.on_message(pass_on)

    page.route_web_socket("**/_stcore/stream", hold_after_start)
    reader = PageReader(page, served_installation.page)
    reader.open("/?sensor=PT-1&view=models", VIEWS["Model Status"])
    reader.settle()
    page.add_style_tag(content="* { transition: none !important; }")

    holding = True
    page.locator("[data-stale=true]").first.wait_for(state="attached")

    assert page.evaluate(FADED) == 0
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_enough_contrast_in_both_themes(browser, served_installation, scheme):
    """WCAG AA: 4.5 to 1 against the background."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
    reader = PageReader(context.new_page(), served_installation.page)
    reader.open("/?sensor=PT-1", VIEWS["Overview"])
    reader.log_in(TOKEN, "ana")
    faint = []
    for name, expected_text in VIEWS.items():
        reader.tab(name, expected_text)
        reader.screenshot(f"{name.lower().replace(' ', '-')}-{scheme}")
        faint += [f"{name}: {text}" for text in reader.page.evaluate(CONTRASTS)]
    context.close()
    assert faint == []


def test_a_tablet_needs_no_horizontal_scrolling(browser, served_installation):
    context = browser.new_context(viewport={"width": 820, "height": 1180})
    reader = PageReader(context.new_page(), served_installation.page)
    reader.open("/?sensor=PT-1", VIEWS["Overview"])
    for name, expected_text in VIEWS.items():
        reader.tab(name, expected_text)
        reader.screenshot(f"{name.lower().replace(' ', '-')}-tablet")
        assert reader.page.evaluate("document.querySelector('.stMain').scrollWidth") <= 820
    context.close()


@pytest.mark.fault(
    "a fleet of 5,000 sensors on the page, in a browser", "listed, found by typing and shown on every tab"
)
def test_five_thousand_sensors_are_shown_on_every_tab(browser, served_installation, tmp_path_factory):
    """Durations are logged, not asserted: the machine may be busy."""
    home = tmp_path_factory.mktemp("many")
    shutil.copytree(served_installation.installation.home, home, dirs_exist_ok=True)
    ids = copy_sensors(home, ["PT-1", "NEW-1"], 2_500, since="2026-01-16")
    port = free_port()
    installation = Installation(home, {})
    line = [str(BIN / "safeplan"), "dashboard", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with running_server(line, installation.environment(), home, address):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        first = PageReader(context.new_page(), address)
        first.open("/", VIEWS["Overview"])
        reader = PageReader(context.new_page(), address)
        reader.open("/?view=models", VIEWS["Model Status"])
        reader.open("/", VIEWS["Overview"])
        reader.wait_for_text("5,003")
        reader.wait_for_text("All sensors")
        for name, expected_text in list(VIEWS.items())[1:]:
            reader.settle()
            reader.tab(name, expected_text)
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
        reader.tab("Overview", VIEWS["Overview"])
        save_times(
            "page-times-5003-sensors", {"first view after the start": first.times["open /"], **reader.times}
        )
        reader.screenshot("fleet-5003-sensors")
        assert reader.errors == []
        context.close()
    assert len(ids) == 5_000
