"""The dashboard page without a browser: what each tab shows, and what its buttons do."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from monitoring.dashboard import url_state
from monitoring.dashboard.server import SCRIPT
from monitoring.dashboard.training_requests import TrainingRequest, TrainingStore
from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from serving.batch import detect_fleet
from tests.support.dashboard_app import NEWEST, PATIENCE, SECRET, button, ingest_anomalous_reading, page_text
from training.data.sensor_store import add_missing_sensors
from training.errors import RegistryError
from training.kinds import Kind, Promotion
from training.outcomes import Outcome, OutcomeStatus
from training.reasons import render_all
from training.registry.audit import entries
from training.storage.leases import Owner


def test_the_overview_comes_first_with_what_requires_action(page, dashboard_workspace):
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1", "TT-1"]))

    app = page()

    text = page_text(app)
    assert "Action required" in text
    assert "anomalous reading" in text
    assert "Enough readings for both models; none has been trained yet." in text
    table = app.dataframe[0].value
    assert table["sensor"].tolist()[0] == "PT-1"
    assert table["status"].tolist()[0] == "● deviating"
    assert table.set_index("sensor").loc["NEW-1", "status"] == "○ not monitored"
    assert "Sensors monitored ● 2 of 3 1 not monitored" in " ".join(text.split())
    assert table.set_index("sensor").loc["PT-1", "models"] == "v1 / v1"


def test_a_concern_opens_its_sensor(page, dashboard_workspace):
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1"]))
    app = page()

    button(app, "Open", "PT-1").click().run()

    assert app.query_params["view"] == "anomalies"
    assert app.query_params["sensor"] == "PT-1"
    assert "Wellhead pressure" in page_text(app)


def test_an_empty_installation_names_the_command_to_run(page, dashboard_workspace):
    dashboard_workspace.readings.engine.dispose()
    (dashboard_workspace.home / "safeplan.db").unlink()
    for name in ("safeplan.db-wal", "safeplan.db-shm"):
        (dashboard_workspace.home / name).unlink(missing_ok=True)
    (dashboard_workspace.home / "conf" / "sensors.yaml").unlink()

    for view in ("fleet", "forecast", "anomalies", "models", "training"):
        assert "safeplan load" in page_text(page(f"/?view={view}"))


def test_a_forecast_shows_its_summary_limits_and_quality(page):
    app = page("/?view=forecast&sensor=TT-1&steps=48")

    text = page_text(app)
    assert "Forecast at the end" in text
    assert "Direction" in text
    assert "cross the critical high limit 25.5 °C" in text
    for measure in ("MAPE", "RMSE", "MAE", "MASE", "Coverage", "Skill"):
        assert measure in text
    assert app.number_input(key="steps-box").value == 48
    assert "Forecast components" in [expander.label for expander in app.expander]


def test_a_sensor_without_a_forecaster_shows_the_naive_forecast_with_a_notice(page):
    text = page_text(page("/?view=forecast&sensor=NEW-1"))

    assert "No forecaster serves this sensor; this is the naive forecast." in text


def test_an_anomaly_shows_score_reason_and_normal_range(page, dashboard_workspace):
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1"]))

    text = page_text(page("/?view=anomalies&sensor=PT-1"))

    assert "● deviating" in text
    assert "clear anomaly" in text
    assert "mean ± SD" in text
    assert "SD above the mean" in text
    assert "Anomalies in this period" in text


def test_a_sensor_without_scores_names_the_command_to_run(page):
    assert "safeplan detect NEW-1" in page_text(page("/?view=anomalies&sensor=NEW-1"))


def test_model_status_shows_coverage_versions_and_gate(page):
    app = page("/?view=models&sensor=PT-1")

    text = page_text(app)
    assert "2 of 3" in text
    table = app.dataframe[0].value.set_index("sensor")
    assert table.loc["PT-1", "detector"].startswith("✓ v1 serving")
    assert table.loc["NEW-1", "forecaster"] == "- none"
    assert table.loc["PT-1", "grade"] in "ABCD"
    assert "trained on data up to" in text
    assert "Log in to" in text


def test_a_version_is_promoted_and_rolled_back_by_a_role_that_may(page, dashboard_workspace):
    app = page("/?view=models&sensor=PT-1", reader="ana")
    app.selectbox(key="promote-detector").set_value(2).run()
    button_ = app.button(key="do-promote-detector")
    assert button_.label == "Promote v2"

    button_.click().run()

    assert dashboard_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 2
    assert "pt-1-detector v2 is now serving." in page_text(app)
    app.button(key="do-rollback-detector").click().run()
    assert dashboard_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1
    assert [
        (entry.who, entry.version) for entry in entries(dashboard_workspace.engine, sensor_id="PT-1")[:2]
    ] == [
        ("ana", 1),
        ("ana", 2),
    ]


def test_a_refused_version_is_promoted_only_explicitly(page, dashboard_workspace):
    version = dashboard_workspace.registry.version("pt-1-detector", 2)
    dashboard_workspace.registry.tag(
        version, gate="refused: blind", gate_status="refused", validation_status="refused"
    )
    app = page("/?view=models&sensor=PT-1", reader="ana")
    app.selectbox(key="promote-detector").set_value(2).run()

    app.button(key="do-promote-detector").click().run()
    assert "refused: blind" in page_text(app)
    assert dashboard_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1

    app.checkbox(key="anyway-detector").check().run()
    app.button(key="do-promote-detector").click().run()
    assert dashboard_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 2


@pytest.mark.parametrize("reader", [None, "eva", "ole"])
def test_a_role_that_may_not_promote_has_no_button(page, reader):
    app = page("/?view=models&sensor=PT-1", reader=reader)

    assert not [candidate for candidate in app.button if "romote" in candidate.label]
    assert ("Log in to" if reader is None else "Your role only allows") in page_text(app)


@pytest.mark.parametrize("reader", [None, "eva"])
def test_a_role_that_may_not_train_has_no_button(page, reader):
    app = page("/?view=training", reader=reader)

    assert not [candidate for candidate in app.button if "Train" in candidate.label]


def test_a_token_withdrawn_before_the_click_does_nothing(page, dashboard_workspace):
    app = page("/?view=models&sensor=PT-1", reader="ana")
    url_state.shared_state().tokens = type(url_state.shared_state().tokens)(given=SECRET + "another")

    app.button(key="do-promote-detector").click().run()

    assert "no longer allows this" in page_text(app)
    assert dashboard_workspace.registry.champion("PT-1", Kind.DETECTOR).number == 1


def test_logging_in_and_out(page):
    app = page("/?view=training")

    app.text_input(key="login-box").input("wrong")
    button(app, "Log in").click().run()
    assert "Unknown token." in page_text(app)

    app.text_input(key="login-box").input(SECRET + "ole")
    button(app, "Log in").click().run()
    assert "Your role allows you to view, train and review alerts." in page_text(app)
    assert button(app, "Train 2 models")

    button(app, "Log out").click().run()
    assert "Log in to" in page_text(app)


def test_a_token_is_neither_on_the_page_nor_in_the_address(page):
    app = page("/?view=models", reader="ana")

    assert SECRET not in page_text(app)
    assert not any(SECRET in str(value) for value in app.query_params.values())


def test_without_tokens_the_page_is_read_only_and_names_the_setting(page, monkeypatch):
    monkeypatch.delenv("SAFEPLAN_TOKENS")

    app = page("/?view=models&sensor=PT-1")

    assert "Set SAFEPLAN_TOKENS" in page_text(app)
    assert not [candidate for candidate in app.button if "romote" in candidate.label]


def test_a_training_is_started_with_the_selection(page, dashboard_workspace, monkeypatch):
    requests = []
    monkeypatch.setattr(
        "monitoring.dashboard.tabs.training.start_training",
        lambda _, request, **options: requests.append((request, options["by"])),
    )
    app = page("/?view=training", reader="ole")

    app.multiselect(key="train-sensors").set_value(["NEW-1", "TT-1"]).run()
    app.number_input(key="train-trials").set_value(7)
    app.selectbox(key="train-promotion").set_value("manual")
    button(app, "Train 4 models").click().run()

    [(request, by)] = requests
    assert (request.sensor_ids, request.trials, request.promotion) == (
        ("NEW-1", "TT-1"),
        7,
        Promotion.MANUAL,
    )
    assert request.kinds == (Kind.DETECTOR, Kind.FORECASTER)
    assert by == "ole"


def test_requirements_show_what_is_missing_and_for_how_long(page, dashboard_workspace):
    few = dashboard_workspace.readings.between("PT-1").head(12).assign(sensor_id="FEW-1")
    dashboard_workspace.readings.ingest(few[["sensor_id", "timestamp", "value"]])

    add_missing_sensors(dashboard_workspace.engine, ["FEW-1", "EMPTY-1"])
    app = page("/?view=training", reader="ole")

    app.multiselect(key="train-sensors").set_value(["FEW-1", "EMPTY-1", "PT-1"]).run()

    table = app.dataframe[0].value.set_index("sensor")
    assert "wait for 18 more valid readings (about 18 h)" in table.loc["FEW-1", "todo"]
    assert "wait for 38 more" in table.loc["FEW-1", "todo"]
    assert "safeplan load" in table.loc["EMPTY-1", "todo"]
    assert table.loc["PT-1", "detector"] == "✓ can be trained (v1)"
    assert table.loc["FEW-1", "grade"] == "F"


def test_a_training_in_progress_is_shown_to_everybody(page, dashboard_workspace):
    store = TrainingStore(dashboard_workspace.engine)

    training = store.add(
        TrainingRequest(("PT-1", "TT-1"), (Kind.DETECTOR,)), by="ana", now=url_state.shared_state().clock()
    )
    store.claim(training.id, Owner.this_process())
    store.record_outcome(
        training.id, Outcome("PT-1", Kind.DETECTOR, OutcomeStatus.PROMOTED, version=3), now=NEWEST
    )

    app = page("/?view=training", reader="ole")

    assert "Training in progress" in page_text(app)
    assert "started by ana" in page_text(app)
    [bar] = app.get("progress")
    assert bar.proto.value == 50
    assert "1 of 2 models" in bar.proto.text
    assert button(app, "Train 2 models").disabled

    store.record_outcome(
        training.id,
        Outcome("TT-1", Kind.DETECTOR, OutcomeStatus.FAILED, error="12 good readings"),
        now=NEWEST,
    )
    store.finish(training.id, now=url_state.shared_state().clock())
    app.run()

    text = page_text(app)
    assert "Last training" in text
    assert "1 promoted, 1 failed" in text
    assert "1 model failed" in text


def test_an_interrupted_training_shows_how_to_resume_it(page, dashboard_workspace):

    store = TrainingStore(dashboard_workspace.engine)
    training = store.add(TrainingRequest(("PT-1",), (Kind.DETECTOR,)), by="ana", now=NEWEST)

    assert "Interrupted." in page_text(page("/?view=training"))
    assert not store.training(training.id).is_running(url_state.shared_state().clock())


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/?", "Action required"),
        ("/?view=forecast&sensor=PT-1", "Forecast reliability"),
        ("/?view=anomalies&sensor=PT-1", "Current status"),
        ("/?view=models", "Detectors serving"),
        ("/?view=training", "Requirements"),
    ],
)
def test_every_tab_is_translated(page, dashboard_workspace, address, text):
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1"]))

    shown = page_text(page(f"{address}&lang=pt"))

    assert Translator("pt")(text) in shown
    assert text not in shown


def test_a_stored_reason_is_shown_in_the_language_of_the_reader(page, dashboard_workspace):
    ingest_anomalous_reading(dashboard_workspace)
    detect_fleet(dashboard_workspace, dashboard_workspace.fleet.match(["PT-1"]))

    english, portuguese = (
        page(f"/?lang={language}").dataframe[0].value.set_index("sensor").loc["PT-1", "reason"]
        for language in ("en", "pt")
    )

    assert english
    assert portuguese
    assert english != portuguese


def test_times_are_in_the_time_zone_of_the_site(page, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_SITE_ZONE", "America/Sao_Paulo")

    assert "2026-01-09 04:00" in page_text(page())


@pytest.mark.parametrize(
    "address", ["/?view=nowhere", "/?view=forecast&sensor=NOBODY&steps=-3&hours=1e9&lang=xx"]
)
def test_impossible_values_in_the_address_are_ignored(page, address):
    assert page_text(page(address))


def test_a_click_survives_a_request_with_the_address_before_it(page):
    """The timer of a fragment fires between a click and the arrival of the new address in the browser."""
    app = page("/?view=forecast&sensor=PT-1")
    app.selectbox(key="sensor-box").set_value("TT-1").run()

    app.query_params["sensor"] = "PT-1"
    app.session_state["sent-address"] = {"view": "forecast", "sensor": "TT-1"}  # not confirmed yet
    app.run()

    assert app.selectbox(key="sensor-box").value == "TT-1"


def test_the_back_button_changes_the_choices(page):
    app = page("/?view=forecast&sensor=PT-1")
    app.selectbox(key="sensor-box").set_value("TT-1").run()
    app.run()

    app.query_params["sensor"] = "PT-1"
    app.run()

    assert app.selectbox(key="sensor-box").value == "PT-1"


def test_choices_are_written_into_the_address(page):
    app = page("/?view=forecast&sensor=PT-1")

    app.selectbox(key="sensor-box").set_value("TT-1").run()
    app.number_input(key="steps-box").set_value(12).run()

    assert app.query_params["sensor"] == "TT-1"
    assert app.query_params["steps"] == "12"


@pytest.mark.attack(
    "a sensor whose name is a script, on every tab of the page", "it is shown as text; nothing is run"
)
def test_a_name_is_shown_as_text(page, dashboard_workspace):
    evil = "<script>alert(1)</script>"
    rows = dashboard_workspace.readings.between("PT-1").assign(sensor_id=evil)
    dashboard_workspace.readings.ingest(rows[["sensor_id", "timestamp", "value"]])

    add_missing_sensors(dashboard_workspace.engine, [evil])
    for view in ("fleet", "forecast", "anomalies", "models", "training"):
        app = page(f"/?view={view}&sensor={evil}")
        bodies = [block.proto.body for block in app.get("html")]
        assert not any("<script" in body for body in bodies)
        assert not any("<script" in block.value and "\\<script" not in block.value for block in app.markdown)


def test_readings_are_shown_while_the_registry_is_unreachable(page, dashboard_workspace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    st.cache_resource.clear()
    app = AppTest.from_file(str(SCRIPT), default_timeout=PATIENCE)
    app.run()

    assert not app.exception
    assert app.dataframe[0].value["sensor"].tolist()


@pytest.mark.fault(
    "the registry or the database unreachable while the page is open",
    "the error is shown in the part concerned",
)
@pytest.mark.parametrize(
    ("view", "broken"),
    [
        ("models", "training.registry.model_registry.Registry.versions"),
        ("anomalies", "monitoring.alerts.store.AlertStore.find"),
    ],
)
def test_a_failing_part_shows_its_error(page, monkeypatch, view, broken):

    def unreachable(*_, **__):
        raise RegistryError("no response from 127.0.0.1:9")

    monkeypatch.setattr(broken, unreachable)

    app = page(f"/?view={view}&sensor=PT-1")

    assert not app.exception
    assert "no response from" in app.error[0].value


def test_links_lead_to_the_run_and_the_version(page, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_PAGE_MLFLOW", "http://127.0.0.1:5000/")

    app = page("/?view=models&sensor=PT-1")

    links = [block.proto.url for block in app.get("link_button")]
    assert "http://127.0.0.1:5000/#/models/pt-1-detector/versions/1" in links
    assert any(
        re.fullmatch(r"http://127.0.0.1:5000/#/experiments/\d+/runs/[0-9a-f]{32}", link) for link in links
    )


@pytest.fixture
def drifted() -> DriftCheck:
    """A check of the detector of PT-1 that found drift."""
    return DriftCheck(
        sensor_id="PT-1",
        model_type="ANOMALY_DETECTOR",
        checked_at=NEWEST,
        model_version="1",
        start=NEWEST - timedelta(days=2),
        end=NEWEST,
        readings=48,
        verdict=DriftVerdict.DRIFTED,
        reason="the level moved by 3 bar",
        false_alarm_rate=0.01,
        since=NEWEST - timedelta(days=1),
        advice="retrain it",
        quality={"alarms_per_day": 3.5},
        run_id="0123456789abcdef",
    )


def test_drift_that_both_models_of_a_sensor_show_is_one_concern(page, dashboard_workspace, drifted):
    forecaster = replace(drifted, model_type="FORECASTER", cost=9.0, reason="the level moved by 9 bar")
    DriftCheckStore(dashboard_workspace.engine).save([drifted, forecaster])

    app = page()

    assert len([1 for candidate in app.button if "drift-PT-1" in (candidate.key or "")]) == 1
    assert "the level moved by 9 bar" in page_text(app)
    assert "the level moved by 3 bar" not in page_text(app)


def test_a_drift_verdict_is_shown_with_the_models(page, dashboard_workspace, drifted, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_PAGE_MLFLOW", "http://127.0.0.1:5000/")
    DriftCheckStore(dashboard_workspace.engine).save([drifted])

    app = page("/?view=models&sensor=PT-1")

    assert app.dataframe[0].value.set_index("sensor").loc["PT-1", "drift"] == "▲ drifted"
    text = page_text(app)
    assert "the level moved by 3 bar" in text
    for part in (
        "since 2026-01-08 07:00",
        "v1 checked at 2026-01-09 07:00",
        "3.5 recent alarms per day",
        render_all(drifted.advice_reasons),
    ):
        assert part in text
    links = [block.proto.url for block in app.get("link_button")]
    assert any(link.endswith("/runs/0123456789abcdef") for link in links)
    assert "the level moved by 3 bar" in page_text(page("/"))
