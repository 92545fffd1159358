"""Kill -9 at any point of a command: the next run continues, and each result is stored once."""

import signal
import sqlite3
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from tests.support.installation import (
    ROOT,
    CommandResult,
    CommandServer,
    Installation,
    copy_installation,
    run_process,
)
from tests.support.sampling import LONG
from tests.support.workspaces import make_readings

pytestmark = pytest.mark.slow

QUICK = {"SAFEPLAN_TUNING_TRIALS": "1", "SAFEPLAN_FORECASTER_HORIZON_STEPS": "3"}

Key = tuple[str, str]


def send(installation: Installation, sensors: int) -> set[Key]:
    """Load readings of this many sensors; return the models that must be registered in the end."""
    names = [f"PT-{number:02d}" for number in range(sensors)]
    sent = pd.concat(make_readings(name, 100, seed=seed) for seed, name in enumerate(names))
    installation.run("load", installation.write("plant.csv", sent))
    return {(name, kind) for name in names for kind in ("detector", "forecaster")}


def train(installation: Installation, *, die_at: int = 0) -> CommandResult:
    """`safeplan train` in one process, which dies at its n-th commit if `die_at` is not 0."""
    command = ["train", "--json", "--jobs", "1"]
    return CommandServer.shared().run(
        command, installation.environment(**QUICK, DIE_AT=str(die_at)), installation.home
    )


def train_with_workers(installation: Installation, *, die_at: int, mark: str) -> CommandResult:
    """The same with two workers, in processes that share nothing with this one."""
    command = [sys.executable, "-m", "tests.support.kill_on_commit", "train", "--json", "--jobs", "2"]
    extra = {**QUICK, "DIE_AT": str(die_at), "PYTHONPATH": str(ROOT), "MARK": mark}
    return run_process(command, installation.environment(**extra), installation.home)


def registered(home: Path) -> dict[Key, list[tuple[int, str]]]:
    """Version and validation status of each sensor and kind, read from the tables."""
    query = """
        SELECT s.value, k.value, v.version, t.value FROM model_versions v
        JOIN model_version_tags s ON s.name = v.name AND s.version = v.version AND s.key = 'sensor_id'
        JOIN model_version_tags k ON k.name = v.name AND k.version = v.version AND k.key = 'kind'
        JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = 'validation_status'
    """
    result: dict[Key, list[tuple[int, str]]] = {}
    for sensor, kind, version, status in mlflow_rows(home, query):
        result.setdefault((sensor, kind), []).append((version, status))
    return result


def mlflow_rows(home: Path, query: str) -> list[tuple]:
    """Rows of MLflow's database."""
    return rows_of(home / "mlflow.db", query)


def own_rows(home: Path, query: str) -> list[tuple]:
    """Rows of the database of SafePlan."""
    return rows_of(home / "safeplan.db", query)


def rows_of(path: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def assert_complete(home: Path, every: set[Key]) -> None:
    """One version per sensor and kind, with one alias and status; no open run, nothing incomplete."""
    versions = registered(home)
    assert set(versions) == every
    assert {len(of_key) for of_key in versions.values()} == {1}
    assert {status for ((_, status),) in versions.values()} <= {"passed", "refused"}
    aliases = mlflow_rows(home, "SELECT name, alias FROM registered_model_aliases")
    assert len({name for name, _ in aliases}) == len(aliases) == len(every)
    assert {alias for _, alias in aliases} <= {"champion", "challenger"}
    alive = "lifecycle_stage = 'active'"
    assert mlflow_rows(home, f"SELECT run_uuid FROM runs WHERE {alive} AND status <> 'FINISHED'") == []
    children = mlflow_rows(
        home,
        f"""SELECT e.name, t.value, count(*) FROM runs r JOIN experiments e USING (experiment_id)
            JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'sensor_id'
            WHERE r.{alive} GROUP BY 1, 2""",
    )
    assert {count for *_, count in children} == {1}
    assert len(children) == len(every)
    models = mlflow_rows(home, f"SELECT name, count(*) FROM logged_models WHERE {alive} GROUP BY 1")
    assert {count for _, count in models} == {1}


def processes_marked(mark: str) -> set[int]:
    """Processes whose environment contains a word."""
    result = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                result.add(int(folder.name))
        except OSError:
            continue
    return result


@pytest.mark.fault(
    "kill -9 during a training of 12 sensors with workers, twice", "the third run trains what is missing"
)
def test_after_two_kills_the_third_run_trains_only_what_is_missing(empty_installation):
    every, mark = send(empty_installation, 12), uuid.uuid4().hex
    assert train_with_workers(empty_installation, die_at=150, mark=mark).code == -signal.SIGKILL
    deadline = time.monotonic() + 20
    while (orphans := processes_marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.2)
    first = registered(empty_installation.home)
    assert train(empty_installation, die_at=200).code == -signal.SIGKILL
    second = registered(empty_installation.home)

    third = train(empty_installation)

    assert not orphans, "workers are still running after their training was killed"
    assert third.code == 0, third.stderr
    assert 0 < len(first) < len(second) < len(every)
    assert_complete(empty_installation.home, every)
    complete = {key for key, ((_, status),) in second.items() if status != "pending"}
    assert {key for key, status in third.statuses.items() if status == "unchanged"} == complete


@pytest.mark.fault(
    "two trainings of the same sensors at once, as two processes",
    "each version is registered once; the second process reports it",
)
def test_two_trainings_at_once_register_each_version_once(empty_installation):
    every = send(empty_installation, 3)

    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda mark: train_with_workers(empty_installation, die_at=0, mark=mark), ("a", "b"))
        )

    statuses = [status for result in both for status in result.statuses.values()]
    assert {result.code for result in both} <= {0, 1}
    assert sum(status in {"promoted", "refused"} for status in statuses) == len(every)
    assert set(statuses) <= {"promoted", "refused", "unchanged", "failed"}
    for result in both:
        failed = [outcome for outcome in result.document["sensors"] if outcome["status"] == "failed"]
        assert all("train" in outcome["error"] for outcome in failed), failed
    assert_complete(empty_installation.home, every)


@pytest.mark.long
@pytest.mark.fault(
    "kill -9 at the writes of train (a sample of them at each change, each one by `make test-long`)",
    "the next run continues; each version, run and alias exists once",
)
def test_a_training_killed_at_its_changes_is_completed(empty_installation, record_losses, sample):
    """Each run gets further than the one before, in a long run by one commit, until one reaches the end."""
    every = send(empty_installation, 1)
    kills = 0
    for die_at in sample(range(1, 100), 33):
        result = train(empty_installation, die_at=die_at)
        if result.code != -signal.SIGKILL:
            break
        kills += 1
        assert {len(versions) for versions in registered(empty_installation.home).values()} <= {1}

    assert result.code == 0, result.stderr
    assert kills > (10 if LONG else 3)
    assert_complete(empty_installation.home, every)
    record_losses(lost=len(every - set(registered(empty_installation.home))), doubled=0)


def killed_until_done(installation: Installation, *command: str) -> tuple[CommandResult, int]:
    """Run a command until it ends, killing each run one commit later; its result and the number of kills."""
    for die_at in range(1, 100):
        environment = installation.environment(**QUICK, DIE_AT=str(die_at))
        result = CommandServer.shared().run([*command, "--json"], environment, installation.home)
        if result.code != -signal.SIGKILL:
            return result, die_at - 1
    raise AssertionError(f"{command} did not end within 99 commits")


@pytest.fixture
def two_versions(trained_twice: Installation, tmp_path: Path) -> Installation:
    """PT-1 with a second detector that waits for approval."""
    return copy_installation(trained_twice, tmp_path / "copy")


def aliases_of_detector(home: Path) -> dict[str, int]:
    return dict(
        mlflow_rows(home, "SELECT alias, version FROM registered_model_aliases WHERE name = 'pt-1-detector'")
    )


@pytest.mark.fault(
    "kill -9 at each write of promote", "one champion at any time, and in the end the right one"
)
def test_a_promotion_killed_anywhere_leaves_one_champion(two_versions):
    command = ("promote", "PT-1", "--kind", "detector", "--version", "2", "--anyway")

    for die_at in range(1, 30):
        environment = two_versions.environment(DIE_AT=str(die_at))
        result = CommandServer.shared().run([*command, "--json"], environment, two_versions.home)
        assert aliases_of_detector(two_versions.home).get("champion") in (1, 2)
        if result.code != -signal.SIGKILL:
            break

    assert (result.code, die_at > 2) == (0, True), result.stderr
    assert aliases_of_detector(two_versions.home)["champion"] == 2
    assert (
        len(own_rows(two_versions.home, "SELECT * FROM audit WHERE action = 'promoted' AND version = 2")) == 1
    )


@pytest.mark.fault(
    "kill -9 at each write of rollback", "one champion at any time; the next rollback is complete"
)
def test_a_rollback_killed_anywhere_leaves_one_champion(two_versions):
    two_versions.run("promote", "PT-1", "--kind", "detector", "--version", "2", "--anyway")

    for die_at in range(1, 30):
        environment = two_versions.environment(DIE_AT=str(die_at))
        command = ["rollback", "PT-1", "--kind", "detector", "--json"]
        result = CommandServer.shared().run(command, environment, two_versions.home)
        aliases = aliases_of_detector(two_versions.home)
        assert aliases["champion"] in (1, 2)
        if result.code == 0:
            break

    assert set(aliases.values()) == {1, 2}


@pytest.mark.parametrize("command", ["detect", "forecast"])
@pytest.mark.fault(
    "kill -9 at each write of detect and forecast", "the next run writes what is missing, once"
)
def test_scoring_killed_anywhere_stores_each_prediction_once(trained, tmp_path, command, record_losses):
    undisturbed, killed = (copy_installation(trained, tmp_path / name) for name in ("undisturbed", "killed"))
    undisturbed.run(command, **QUICK)

    ended, kills = killed_until_done(killed, command)

    query = (
        "SELECT sensor_id, model_type, timestamp, origin, model_version, anomaly_score FROM ml_predictions"
    )
    expected, result = own_rows(undisturbed.home, query), own_rows(killed.home, query)
    assert (ended.code, kills > 0) == (0, True), ended.stderr
    record_losses(lost=len(set(expected) - set(result)), doubled=len(result) - len(set(result)))
    assert set(result) == set(expected)


@pytest.mark.fault("kill -9 at each write of load", "loading the file again adds what is missing")
def test_a_load_killed_anywhere_is_completed_by_the_next(empty_installation, record_losses):
    sent = pd.concat(make_readings(f"PT-{number}", 100, seed=number) for number in range(3))
    path = empty_installation.write("plant.csv", sent)

    ended, kills = killed_until_done(empty_installation, "load", path)

    (stored,) = own_rows(
        empty_installation.home, "SELECT count(*), count(DISTINCT sensor_id) FROM sensor_readings"
    )
    assert (ended.code, kills > 0) == (0, True), ended.stderr
    record_losses(lost=len(sent) - stored[0], doubled=0)
    assert stored == (300, 3)
