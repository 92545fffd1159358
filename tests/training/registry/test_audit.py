"""The audit log: every change of an alias is recorded once, and no secret is recorded."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from tests.support.workspaces import ingest_readings, parse_time
from training.common.users import current_user
from training.data.sensor_store import load_fleet
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.operations.promotion import promote_version, roll_back
from training.pipeline.fleet import train_fleet
from training.reasons import load_reasons, render_all
from training.registry.audit import (
    UNKNOWN_USER,
    AuditEntry,
    current_settings,
    entries,
    record_entry,
    record_external_changes,
    record_settings_changes,
)
from training.registry.model_registry import CHAMPION, Listing

NOW = parse_time("2026-11-22T12:00")
PT_1 = Sensor(id="PT-1")


@pytest.fixture
def train(workspace, plan, training_stub):
    """A function that trains one more version of PT-1's forecaster."""
    ingest_readings(workspace, "PT-1")

    def once(promotion=Promotion.MANAGED):
        sensors = load_fleet(workspace.engine).match()
        chosen = replace(plan, promotion=promotion)
        return train_fleet(workspace, sensors, [Kind.FORECASTER], chosen, jobs=1, fresh=True)

    return once


def recorded(workspace):
    return [(entry.who, entry.action, entry.version) for entry in reversed(entries(workspace.engine))]


def test_a_promotion_by_the_gate_is_recorded_with_its_reasons(workspace, train, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_USER", "nightly")

    train()

    (entry,) = entries(workspace.engine)
    assert (entry.who, entry.action, entry.sensor_id) == ("nightly, by the gate", "promoted", "PT-1")
    assert (entry.subject, entry.version) == ("pt-1-forecaster", 1)
    assert entry.detail["gate"] == render_all(load_reasons(entry.detail["gate_reasons"]))


def test_promotion_and_rollback_are_recorded_with_user_and_former_champion(workspace, train):
    train()
    train(Promotion.MANUAL)

    promote_version(workspace, PT_1, Kind.FORECASTER, who="ana", now=NOW)
    roll_back(workspace, PT_1, Kind.FORECASTER, who="bruno", now=NOW)

    assert recorded(workspace)[1:] == [("ana", "promoted", 2), ("bruno", "rolled back", 1)]
    assert [entry.detail["before"] for entry in entries(workspace.engine)[:2]] == [2, 1]


def test_an_alias_moved_in_mlflow_is_recorded_once(workspace, train):
    train()
    train(Promotion.MANUAL)
    workspace.mlflow.set_registered_model_alias("pt-1-forecaster", CHAMPION, "2")

    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)
    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)

    assert recorded(workspace)[1:] == [(UNKNOWN_USER, "promoted", 2)]


def test_an_alias_deleted_in_mlflow_is_recorded(workspace, train):
    train()
    workspace.mlflow.delete_registered_model_alias("pt-1-forecaster", CHAMPION)

    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)

    assert recorded(workspace)[-1] == (UNKNOWN_USER, "withdrawn", None)


@pytest.mark.fault("eight processes that notice one promotion", "recorded once")
def test_a_change_that_many_processes_notice_is_recorded_once(engine):
    listings = {number: listing(f"m-{number}", 1) for number in range(5)}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: record_external_changes(engine, listings, now=NOW), range(8)))

    assert sorted(entry.subject for entry in entries(engine)) == [f"m-{number}" for number in range(5)]


def test_a_change_to_an_older_version_is_a_rollback(engine):
    record_external_changes(engine, {1: listing("m", 3)}, now=NOW)

    (entry,) = record_external_changes(engine, {1: listing("m", 2)}, now=NOW)

    assert (entry.action, entry.version, entry.detail) == ("rolled back", 2, {"before": 3})


def test_entries_are_selected_by_sensor_and_time_newest_first(engine):
    for hour, sensor_id in enumerate(["PT-1", "PT-2", "PT-1"]):
        record_entry(
            engine, AuditEntry(parse_time(f"2026-11-22T0{hour}:00"), "ana", "acknowledged", sensor_id)
        )

    assert [entry.at.hour for entry in entries(engine, sensor_id="PT-1")] == [2, 0]
    assert [entry.at.hour for entry in entries(engine, since=parse_time("2026-11-22T01:00"))] == [2, 1]
    assert [entry.at.hour for entry in entries(engine, limit=1)] == [2]


def test_changed_settings_are_recorded_with_old_and_new_values(engine, tmp_path):
    conf = {"SAFEPLAN_CONF": str(tmp_path)}
    (tmp_path / "training.yaml").write_text("tuning: {trials: 40}\n")
    first = record_settings_changes(engine, "train", who="ana", now=NOW, environ=conf)
    again = record_settings_changes(engine, "train", who="ana", now=NOW, environ=conf)
    (tmp_path / "training.yaml").write_text("tuning: {trials: 60, seed: 1}\n")

    changed = record_settings_changes(engine, "train", who="bruno", now=NOW, environ=conf)

    assert (first.detail["changed"], again) == ({}, None)
    assert changed.detail["changed"] == {
        "training.tuning.seed": [None, "1"],
        "training.tuning.trials": ["40", "60"],
    }


def test_settings_are_compared_per_command(engine, tmp_path):
    conf = {"SAFEPLAN_CONF": str(tmp_path)}
    for _ in range(3):
        record_settings_changes(engine, "detect", who="cron", now=NOW, environ=conf)
        record_settings_changes(
            engine, "train", who="ana", now=NOW, environ=conf | {"SAFEPLAN_TUNING_TRIALS": "9"}
        )

    assert len(entries(engine)) == 2


@pytest.mark.parametrize(
    "environ",
    [
        {"SAFEPLAN_TOKENS": "s3cret-s3cret-s3cret"},
        {"SAFEPLAN_DATABASE_URL": "postgresql://me:s3cret@db/plant"},
        {"SAFEPLAN_TRACKING_URI": "https://me:s3cret@mlflow"},
        {"SAFEPLAN_CHANNELS_URLS": "[mailto://me:s3cret@mail]"},
    ],
    ids=lambda environ: next(iter(environ)),
)
@pytest.mark.attack("reading secrets from the audit log", "they are never written there")
def test_no_secret_is_recorded(environ):
    result = current_settings(environ)

    assert set(environ) <= set(result)
    assert "s3cret" not in str(result)


def test_a_long_setting_is_recorded_as_a_digest():
    one, other = (current_settings({"SAFEPLAN_X": "x" * 300 + end})["SAFEPLAN_X"] for end in "ab")

    assert one != other
    assert len(one) < 30


def test_the_user_is_that_of_the_environment_or_the_system():
    assert current_user({"SAFEPLAN_USER": "ana"}) == "ana"
    assert current_user({})


def listing(name, champion):
    return Listing(name.upper(), Kind.DETECTOR, name, {CHAMPION: champion})
