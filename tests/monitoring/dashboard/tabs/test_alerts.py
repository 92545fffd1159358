"""Alerts on the page: who needs a human comes first, and a verdict given here is the command line's."""

from datetime import timedelta

import pandas as pd
import pytest

from monitoring.alerts.kinds import AlertType, AlertVerdict
from monitoring.dashboard import url_state
from monitoring.watch.operator_actions import acknowledge, list_alerts, set_verdict, shelve
from monitoring.watch.watcher import watch_fleet
from serving.batch import detect_fleet
from serving.predictions.store import PredictionStore
from tests.support.dashboard_app import NEWEST, SECRET, button, ingest_anomalous_reading, page_text
from tests.support.workspaces import make_readings

LATER = NEWEST + timedelta(hours=1, minutes=10)


@pytest.fixture
def alerting_workspace(dashboard_workspace):
    """PT-1 was odd an hour after the others' newest reading, and the watch has raised an alert."""
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1", "TT-1"]))
    watch_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1", "TT-1"]), now=LATER)
    return dashboard_workspace


def alert_of(workspace, kind=AlertType.ANOMALY):
    (result,) = list_alerts(workspace, ["PT-1", "TT-1"], kinds=[kind], alive=None)
    return result


def crossing(workspace, expected):
    """A forecast of TT-1, whose upper critical limit is 25.5, is kept and watched."""
    ahead = [NEWEST + timedelta(hours=step) for step in range(1, len(expected) + 1)]
    frame = pd.DataFrame(
        {
            "sensor_id": "TT-1",
            "origin": NEWEST,
            "timestamp": ahead,
            "predicted_value": expected,
            "lower_bound": [value - 2 for value in expected],
            "upper_bound": [value + 2 for value in expected],
            "model_version": "1",
        }
    )
    PredictionStore(workspace.engine).save_forecasts(frame, made_at=NEWEST)
    watch_fleet(workspace, workspace.fleet.match(["TT-1"]), now=LATER)


def test_an_open_alert_comes_first_and_leads_to_its_sensor(page, alerting_workspace):
    app = page()

    text = page_text(app)
    assert "▲ danger" in text
    assert "Anomaly:" in text
    assert "1 danger" in text
    assert "odd reading" not in text
    app.button(key="look-0").click().run()
    assert (app.query_params["view"], app.query_params["sensor"]) == ("anomalies", "PT-1")


def test_the_worst_alert_comes_first_and_a_seen_one_after_its_equals(page, alerting_workspace):
    crossing(alerting_workspace, [20.0, 22.0, 26.0])
    app = page()
    text = page_text(app)
    assert text.index("◆ critical") < text.index("▲ danger")
    assert "1 critical, 1 danger" in text
    assert app.button(key="look-0").help == "Open TT-1"

    acknowledge(alerting_workspace, alert_of(alerting_workspace).id, by="Ana", now=LATER)
    url_state.shared_state().alerts.refresh()

    assert "seen by Ana" in page_text(page())


def test_a_shelved_alert_is_not_listed(page, alerting_workspace):
    shelve(
        alerting_workspace, alert_of(alerting_workspace).id, LATER + timedelta(hours=1), by="Ana", now=LATER
    )

    assert "danger" not in page_text(page()).replace("1 danger", "")


def test_the_life_of_an_alert_is_told_from_its_opening(page, alerting_workspace):
    acknowledge(alerting_workspace, alert_of(alerting_workspace).id, by="Ana", now=LATER)

    text = page_text(page("/?view=anomalies&sensor=PT-1"))

    assert "2026-01-09 08:05 · opened · danger" in text
    assert "2026-01-09 08:10 · acknowledged · by Ana" in text
    assert text.index("opened") < text.index("acknowledged")


@pytest.mark.parametrize(
    ("verdict", "label"), [("confirm", "Confirm"), ("false", "False alarm"), ("maintenance", "Maintenance")]
)
def test_a_verdict_given_on_the_page_is_in_the_table(page, alerting_workspace, verdict, label):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")
    number = alert_of(alerting_workspace).id
    app.text_input(key=f"note-{number}").input("new gasket")

    button(app, label).click().run()

    result = alert_of(alerting_workspace)
    assert (result.verdict, result.verdict_by, result.note) == (verdict, "ole", "new gasket")
    text = page_text(app)
    assert f"Alert {number}:" in text
    assert "Verdict:" in text
    labels = alerting_workspace.labels.of("PT-1")
    assert [one.anomalous for one in labels] == {"confirm": [True], "false": [False]}.get(verdict, [])


def test_who_has_seen_an_alert_says_so_on_the_page(page, alerting_workspace):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")

    button(app, "Seen").click().run()

    assert alert_of(alerting_workspace).acknowledged_by == "ole"
    assert not [one for one in app.button if one.label == "Seen"]


@pytest.mark.parametrize("reader", [None, "eva"])
def test_who_may_not_judge_has_no_button(page, alerting_workspace, reader):
    app = page("/?view=anomalies&sensor=PT-1", reader=reader)

    assert "danger" in page_text(app)
    assert not [one for one in app.button if one.label in {"Confirm", "False alarm", "Maintenance", "Seen"}]


def test_a_token_withdrawn_between_drawing_and_click_judges_nothing(page, alerting_workspace):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")
    url_state.shared_state().tokens = type(url_state.shared_state().tokens)(given=SECRET + "another")

    button(app, "Confirm").click().run()

    assert "does not allow this any more" in page_text(app)
    assert alert_of(alerting_workspace).verdict is None


def test_an_alert_that_is_over_is_listed_with_its_verdict(page, alerting_workspace):
    set_verdict(
        alerting_workspace,
        alert_of(alerting_workspace).id,
        AlertVerdict.FALSE,
        by="Ana",
        now=LATER,
        note="a test",
    )
    alerting_workspace.readings.ingest(make_readings("PT-1", 260).tail(58))
    detect_fleet(alerting_workspace, alerting_workspace.fleet.match(["PT-1"]))
    watch_fleet(
        alerting_workspace, alerting_workspace.fleet.match(["PT-1"]), now=NEWEST + timedelta(hours=90)
    )

    app = page("/?view=anomalies&sensor=PT-1")

    assert any("earlier alert" in one.label for one in app.expander)
    tables = [one.value for one in app.dataframe if "verdict" in one.value]
    assert "false alarm · Ana · a test" in tables[0]["verdict"].tolist()


def test_a_forecast_alert_says_when_and_how_probably(page, alerting_workspace):
    crossing(alerting_workspace, [20.0, 22.0, 26.0])

    text = page_text(page("/?view=forecast&sensor=TT-1"))

    assert "◆ critical" in text
    assert "Will probably (69 %) cross 25.5 degC at 2026-01-09 10:00" in text


def test_a_verdict_is_told_in_portuguese(page, alerting_workspace):
    set_verdict(alerting_workspace, alert_of(alerting_workspace).id, AlertVerdict.FALSE, by="Ana", now=LATER)

    text = page_text(page("/?view=anomalies&sensor=PT-1&lang=pt"))

    assert "alarme falso" in text
    assert "perigo" in text
