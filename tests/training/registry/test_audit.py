"""Who changed what: every move of an alias is written once, whoever made it, and secrets never are."""

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
    """Train one more version of PT-1's forecaster."""
    ingest_readings(workspace, "PT-1")

    def once(promotion=Promotion.MANAGED):
        sensors = load_fleet(workspace.engine).match()
        chosen = replace(plan, promotion=promotion)
        return train_fleet(workspace, sensors, [Kind.FORECASTER], chosen, jobs=1, fresh=True)

    return once


def told(workspace):
    return [(deed.who, deed.action, deed.version) for deed in reversed(entries(workspace.engine))]


def test_what_the_gate_promotes_is_written_down(workspace, train, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_USER", "nightly")

    train()

    (deed,) = entries(workspace.engine)
    assert (deed.who, deed.action, deed.sensor_id) == ("nightly, by the gate", "promoted", "PT-1")
    assert (deed.subject, deed.version) == ("pt-1-forecaster", 1)
    assert deed.detail["gate"].startswith("passed")


def test_a_promotion_and_a_roll_back_say_who_made_them_and_what_served_before(workspace, train):
    train()
    train(Promotion.MANUAL)

    promote_version(workspace, PT_1, Kind.FORECASTER, who="ana", now=NOW)
    roll_back(workspace, PT_1, Kind.FORECASTER, who="bruno", now=NOW)

    assert told(workspace)[1:] == [("ana", "promoted", 2), ("bruno", "rolled back", 1)]
    assert [deed.detail["before"] for deed in entries(workspace.engine)[:2]] == [2, 1]


def test_an_alias_moved_in_mlflow_is_noticed_once(workspace, train):
    train()
    train(Promotion.MANUAL)
    workspace.mlflow.set_registered_model_alias("pt-1-forecaster", CHAMPION, "2")

    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)
    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)

    assert told(workspace)[1:] == [(UNKNOWN_USER, "promoted", 2)]


def test_an_alias_deleted_in_mlflow_is_noticed(workspace, train):
    train()
    workspace.mlflow.delete_registered_model_alias("pt-1-forecaster", CHAMPION)

    record_external_changes(workspace.engine, workspace.registry.listings(), now=NOW)

    assert told(workspace)[-1] == (UNKNOWN_USER, "withdrawn", None)


@pytest.mark.fault("eight processes that notice one promotion", "written once")
def test_many_processes_that_notice_a_move_write_it_once(engine):
    listings = {number: listing(f"m-{number}", 1) for number in range(5)}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: record_external_changes(engine, listings, now=NOW), range(8)))

    assert sorted(deed.subject for deed in entries(engine)) == [f"m-{number}" for number in range(5)]


def test_a_return_to_an_older_version_is_a_roll_back(engine):
    record_external_changes(engine, {1: listing("m", 3)}, now=NOW)

    (deed,) = record_external_changes(engine, {1: listing("m", 2)}, now=NOW)

    assert (deed.action, deed.version, deed.detail) == ("rolled back", 2, {"before": 3})


def test_entries_are_found_by_sensor_and_time_newest_first(engine):
    for hour, sensor_id in enumerate(["PT-1", "PT-2", "PT-1"]):
        record_entry(
            engine, AuditEntry(parse_time(f"2026-11-22T0{hour}:00"), "ana", "acknowledged", sensor_id)
        )

    assert [deed.at.hour for deed in entries(engine, sensor_id="PT-1")] == [2, 0]
    assert [deed.at.hour for deed in entries(engine, since=parse_time("2026-11-22T01:00"))] == [2, 1]
    assert [deed.at.hour for deed in entries(engine, limit=1)] == [2]


def test_settings_are_written_when_they_change_and_say_from_what_to_what(engine, tmp_path):
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


def test_commands_with_different_environments_do_not_take_turns_in_the_audit(engine, tmp_path):
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
@pytest.mark.attack("reading secrets from the audit", "never written there")
def test_no_secret_is_written(environ):
    result = current_settings(environ)

    assert set(environ) <= set(result)
    assert "s3cret" not in str(result)


def test_a_long_setting_is_told_apart_by_its_digest():
    one, other = (current_settings({"SAFEPLAN_X": "x" * 300 + end})["SAFEPLAN_X"] for end in "ab")

    assert one != other
    assert len(one) < 30


def test_the_user_is_who_the_environment_says_or_the_system():
    assert current_user({"SAFEPLAN_USER": "ana"}) == "ana"
    assert current_user({})


def listing(name, champion):
    return Listing(name.upper(), Kind.DETECTOR, name, {CHAMPION: champion})
