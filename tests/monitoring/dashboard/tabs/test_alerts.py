"""Alerts on the page: the most severe comes first, and a verdict given here is the command line's."""

from datetime import timedelta

import pandas as pd
import pytest

from monitoring.alerts.kinds import AlertChange, AlertType, AlertVerdict
from monitoring.dashboard import url_state
from monitoring.i18n.translation import Translator
from monitoring.notify.message import change_name
from monitoring.watch.operator_actions import acknowledge, list_alerts, set_verdict, shelve
from monitoring.watch.watcher import watch_fleet
from serving.batch import detect_fleet
from serving.predictions.store import PredictionStore
from tests.support.dashboard_app import NEWEST, SECRET, button, ingest_anomalous_reading, page_text
from tests.support.workspaces import make_readings
from training.common.clock import utc_now

LATER = NEWEST + timedelta(hours=1, minutes=10)


@pytest.fixture
def alerting_workspace(dashboard_workspace):
    """PT-1 was anomalous one hour after the newest reading of the others, and an alert is open."""
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1", "TT-1"]))
    watch_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1", "TT-1"]), now=LATER)
    return dashboard_workspace


def alert_of(workspace, kind=AlertType.ANOMALY):
    (result,) = list_alerts(workspace, ["PT-1", "TT-1"], kinds=[kind], alive=None)
    return result


def store_forecast(workspace, expected):
    """Store and watch a forecast of TT-1, whose critical high limit is 25.5."""
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


def test_an_open_alert_comes_first_and_opens_its_sensor(page, alerting_workspace):
    app = page()

    text = page_text(app)
    assert "▲ danger" in text
    assert "Anomaly:" in text
    assert "1 danger" in text
    assert "anomalous reading" not in text
    button(app, "Open", "PT-1").click().run()
    assert (app.query_params["view"], app.query_params["sensor"]) == ("anomalies", "PT-1")


def test_the_most_severe_alert_comes_first_and_an_acknowledged_one_last(page, alerting_workspace):
    store_forecast(alerting_workspace, [20.0, 22.0, 26.0])
    app = page()
    text = page_text(app)
    assert text.index("◆ critical") < text.index("▲ danger")
    assert "1 critical, 1 danger" in text
    assert button(app, "Open", "TT-1").help == "Open TT-1"

    acknowledge(alerting_workspace, alert_of(alerting_workspace).id, by="Ana", now=LATER)
    url_state.shared_state().alerts.refresh()

    assert "acknowledged by Ana" in page_text(page())


def test_a_shelved_alert_requires_no_action(page, alerting_workspace):
    alert = alert_of(alerting_workspace)
    opened = [button.key for button in page().button if str(button.key).endswith(f"-{alert.id}")]
    shelve(alerting_workspace, alert.id, LATER + timedelta(hours=1), by="Ana", now=LATER)
    url_state.shared_state().alerts.refresh()

    keys = [button.key for button in page().button]

    assert len(opened) == 1
    assert opened[0] not in keys


def test_the_events_of_an_alert_are_listed_in_order(page, alerting_workspace):
    acknowledge(alerting_workspace, alert_of(alerting_workspace).id, by="Ana", now=LATER)

    text = page_text(page("/?view=anomalies&sensor=PT-1"))

    opened, acknowledged = (
        change_name(Translator(), change) for change in (AlertChange.OPENED, AlertChange.ACKNOWLEDGED)
    )
    first = text.index(f"2026-01-09 08:05 · {opened} · danger")
    assert first < text.index(f"2026-01-09 08:10 · {acknowledged} · by Ana")


@pytest.mark.parametrize(
    ("verdict", "label"),
    [("confirm", "Confirm anomaly"), ("false", "False alarm"), ("maintenance", "Maintenance")],
)
def test_a_verdict_given_on_the_page_is_stored(page, alerting_workspace, verdict, label):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")
    number = alert_of(alerting_workspace).id
    app.text_input(key=f"note-{number}").input("new gasket")

    button(app, label).click().run()

    result = alert_of(alerting_workspace)
    assert (result.verdict, result.verdict_by, result.note) == (verdict, "ole", "new gasket")
    text = page_text(app)
    assert f"Alert {number}:" in text
    assert "Verdict:" in text
    assert app.text_input(key=f"note-{number}").value == "", "a second click would store the comment again"
    labels = alerting_workspace.labels.of("PT-1")
    assert [label.anomalous for label in labels] == {"confirm": [True], "false": [False]}.get(verdict, [])


def test_an_alert_is_acknowledged_on_the_page(page, alerting_workspace):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")

    button(app, "Acknowledge").click().run()

    assert alert_of(alerting_workspace).acknowledged_by == "ole"
    assert not [candidate for candidate in app.button if candidate.label == "Acknowledge"]


@pytest.mark.parametrize("reader", [None, "eva"])
def test_a_role_that_may_not_review_has_no_button(page, alerting_workspace, reader):
    app = page("/?view=anomalies&sensor=PT-1", reader=reader)

    assert "danger" in page_text(app)
    assert not {candidate.label for candidate in app.button} & {
        "Confirm anomaly",
        "False alarm",
        "Maintenance",
        "Acknowledge",
    }


def test_a_token_withdrawn_before_the_click_stores_no_verdict(page, alerting_workspace):
    app = page("/?view=anomalies&sensor=PT-1", reader="ole")
    url_state.shared_state().tokens = type(url_state.shared_state().tokens)(given=SECRET + "another")

    button(app, "Confirm anomaly").click().run()

    assert "no longer allows this" in page_text(app)
    assert alert_of(alerting_workspace).verdict is None


def test_a_closed_alert_is_listed_with_its_verdict(page, alerting_workspace):
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

    assert any("closed alert" in expander.label for expander in app.expander)
    tables = [table.value for table in app.dataframe if "verdict" in table.value]
    assert "false alarm · Ana · a test" in tables[0]["verdict"].tolist()


def test_a_forecast_alert_shows_time_and_probability(page, alerting_workspace):
    store_forecast(alerting_workspace, [20.0, 22.0, 26.0])

    text = page_text(page("/?view=forecast&sensor=TT-1"))

    assert "◆ critical" in text
    assert (
        "forecast to exceed the critical high limit of 25.5 °C in 3 h (probability 69 %): 2026-01-09 10:00"
        in text
    )


def test_a_verdict_is_translated(page, alerting_workspace):
    set_verdict(alerting_workspace, alert_of(alerting_workspace).id, AlertVerdict.FALSE, by="Ana", now=LATER)

    text = page_text(page("/?view=anomalies&sensor=PT-1&lang=pt"))

    assert Translator("pt")("false alarm") in text
    assert Translator("pt")("danger") in text


def test_an_alert_is_acknowledged_from_the_overview(page, alerting_workspace):
    alert = alert_of(alerting_workspace)

    app = page(reader="ole")
    app.button(key=f"ack-row-{alert.id}").click().run()

    assert f"Alert {alert.id} acknowledged by ole." in page_text(app)
    assert alert_of(alerting_workspace).acknowledged_by == "ole"
    assert not [b for b in app.button if b.key == f"ack-row-{alert.id}"]


def test_several_alerts_are_acknowledged_at_once(page, alerting_workspace):
    store_forecast(alerting_workspace, [30.0])

    page(reader="ole").button(key="ack-shown").click().run()

    assert {a.acknowledged_by for a in list_alerts(alerting_workspace, ["PT-1", "TT-1"])} == {"ole"}


def test_a_shelved_alert_stays_in_view_until_it_is_unshelved(page, alerting_workspace):
    alert = alert_of(alerting_workspace)
    page("/?view=anomalies&sensor=PT-1", reader="ole").button(key=f"shelve-8-{alert.id}").click().run()

    overview = page(reader="ole")
    assert "shelved by ole until" in page_text(overview)
    overview.button(key=f"unshelve-{alert.id}").click().run()

    assert "No alert is shelved." in page_text(overview)
    assert alert_of(alerting_workspace).shelved_until is None


def test_a_reader_without_the_role_sees_shelved_alerts_and_no_buttons(page, alerting_workspace):
    alert = alert_of(alerting_workspace)
    shelve(alerting_workspace, alert.id, utc_now() + timedelta(hours=1), by="Ana", now=utc_now())

    app = page()

    assert "shelved by Ana until" in page_text(app)
    assert not [b for b in app.button if b.key and b.key.startswith(("ack-", "unshelve-"))]
