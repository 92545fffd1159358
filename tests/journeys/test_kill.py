"""Kill -9 at any point of a retraining: the next run goes on, and each result is there once."""

import shutil
import signal
import sqlite3
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest

from tests.support.installation import ROOT, CommandResult, CommandServer, Installation, run_process
from tests.support.workspaces import make_readings
from training.operations.registry_backup import rename_paths as put_paths

pytestmark = pytest.mark.slow

QUICK = {"SAFEPLAN_TUNING_TRIALS": "1", "SAFEPLAN_FORECASTER_HORIZON_STEPS": "3"}

Key = tuple[str, str]


def send(installation: Installation, sensors: int) -> set[Key]:
    """Readings of so many sensors arrive; what must be registered in the end."""
    names = [f"PT-{number:02d}" for number in range(sensors)]
    sent = pd.concat(make_readings(name, 100, seed=seed) for seed, name in enumerate(names))
    installation.run("load", installation.write("plant.csv", sent))
    return {(name, kind) for name in names for kind in ("detector", "forecaster")}


def train(installation: Installation, *, die_at: int = 0) -> CommandResult:
    """`safeplan train` in one process that may be told to die."""
    line = ["train", "--json", "--jobs", "1"]
    return CommandServer.shared().run(
        line, installation.environment(**QUICK, DIE_AT=str(die_at)), installation.home
    )


def train_with_workers(installation: Installation, *, die_at: int, mark: str) -> CommandResult:
    """The same with two workers, none of which shares anything with this process."""
    line = [sys.executable, "-m", "tests.support.kill_on_commit", "train", "--json", "--jobs", "2"]
    more = {**QUICK, "DIE_AT": str(die_at), "PYTHONPATH": str(ROOT), "MARK": mark}
    return run_process(line, installation.environment(**more), installation.home)


def registered(home: Path) -> dict[Key, list[tuple[int, str]]]:
    """Versions and verdicts of each sensor and kind, straight from the tables."""
    query = """
        SELECT s.value, k.value, v.version, t.value FROM model_versions v
        JOIN model_version_tags s ON s.name = v.name AND s.version = v.version AND s.key = 'sensor_id'
        JOIN model_version_tags k ON k.name = v.name AND k.version = v.version AND k.key = 'kind'
        JOIN model_version_tags t ON t.name = v.name AND t.version = v.version AND t.key = 'validation_status'
    """
    result: dict[Key, list[tuple[int, str]]] = {}
    for sensor, kind, version, verdict in ask(home, query):
        result.setdefault((sensor, kind), []).append((version, verdict))
    return result


def ask(home: Path, query: str) -> list[tuple]:
    connection = sqlite3.connect(home / "mlflow.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def hold_to_the_end(home: Path, every: set[Key]) -> None:
    """One version a sensor and kind, with one alias and its verdict; no run open, no half of anything."""
    versions = registered(home)
    assert set(versions) == every
    assert {len(found) for found in versions.values()} == {1}
    assert {verdict for ((_, verdict),) in versions.values()} <= {"passed", "refused"}
    aliases = ask(home, "SELECT name, alias FROM registered_model_aliases")
    assert len({name for name, _ in aliases}) == len(aliases) == len(every)
    assert {alias for _, alias in aliases} <= {"champion", "challenger"}
    alive = "lifecycle_stage = 'active'"
    assert ask(home, f"SELECT run_uuid FROM runs WHERE {alive} AND status <> 'FINISHED'") == []
    children = ask(
        home,
        f"""SELECT e.name, t.value, count(*) FROM runs r JOIN experiments e USING (experiment_id)
            JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'sensor_id'
            WHERE r.{alive} GROUP BY 1, 2""",
    )
    assert {count for *_, count in children} == {1}
    assert len(children) == len(every)
    models = ask(home, f"SELECT name, count(*) FROM logged_models WHERE {alive} GROUP BY 1")
    assert {count for _, count in models} == {1}


def processes_marked(mark: str) -> set[int]:
    """Processes whose environment holds a word."""
    result = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                result.add(int(folder.name))
        except OSError:
            continue
    return result


@pytest.mark.fault(
    "kill -9 in a training of 12 sensors with workers, twice", "the third run trains what is missing"
)
def test_killed_twice_the_third_run_trains_only_what_is_missing(empty_installation):
    every, mark = send(empty_installation, 12), uuid.uuid4().hex
    assert train_with_workers(empty_installation, die_at=150, mark=mark).code == -signal.SIGKILL
    until = time.monotonic() + 20
    while (orphans := processes_marked(mark)) and time.monotonic() < until:
        time.sleep(0.2)
    first = registered(empty_installation.home)
    assert train(empty_installation, die_at=200).code == -signal.SIGKILL
    second = registered(empty_installation.home)

    third = train(empty_installation)

    assert not orphans, "workers outlived the training that was killed"
    assert third.code == 0, third.stderr
    assert 0 < len(first) < len(second) < len(every)
    hold_to_the_end(empty_installation.home, every)
    done = {key for key, ((_, verdict),) in second.items() if verdict != "pending"}
    assert {key for key, status in third.statuses.items() if status == "unchanged"} == done


@pytest.mark.fault(
    "two trainings of the same sensors at once, as two processes",
    "each version is there once; whoever is second says so",
)
def test_two_trainings_at_once_register_each_version_once(empty_installation):
    every = send(empty_installation, 3)

    with ThreadPoolExecutor(2) as pool:
        both = list(
            pool.map(lambda mark: train_with_workers(empty_installation, die_at=0, mark=mark), ("a", "b"))
        )

    ends = [status for one in both for status in one.statuses.values()]
    assert {one.code for one in both} <= {0, 1}
    assert sum(status in {"promoted", "refused"} for status in ends) == len(every)
    assert set(ends) <= {"promoted", "refused", "unchanged", "failed"}
    for one in both:
        failed = [outcome for outcome in one.document["sensors"] if outcome["status"] == "failed"]
        assert all("train" in outcome["error"] for outcome in failed), failed
    hold_to_the_end(empty_installation.home, every)


@pytest.mark.fault(
    "kill -9 at each write of train", "the next run goes on; each version, run and alias is there once"
)
def test_killed_at_one_change_after_the_other(empty_installation, record_losses):
    """Each life gets one change of a table further than the one before, until one reaches the end."""
    every = send(empty_installation, 1)
    lives = 0
    while (answer := train(empty_installation, die_at=lives + 1)).code == -signal.SIGKILL:
        lives += 1
        assert lives < 100
        assert {len(found) for found in registered(empty_installation.home).values()} <= {1}

    assert answer.code == 0, answer.stderr
    assert lives > 10
    hold_to_the_end(empty_installation.home, every)
    record_losses(lost=len(every - set(registered(empty_installation.home))), doubled=0)


def killed_until_done(installation: Installation, *command: str) -> tuple[CommandResult, int]:
    """Run a command again and again, each time killed one change later, until it ends by itself."""
    for life in range(1, 100):
        environment = installation.environment(**QUICK, DIE_AT=str(life))
        answer = CommandServer.shared().run([*command, "--json"], environment, installation.home)
        if answer.code != -signal.SIGKILL:
            return answer, life - 1
    raise AssertionError(f"{command} was killed at 99 changes and never ended")


@pytest.fixture
def two_versions(trained: Installation, tmp_path: Path) -> Installation:
    """A copy of the trained house, with a second detector that waits for a human."""
    shutil.copytree(trained.home, tmp_path / "house")
    installation = Installation(tmp_path / "house", {})
    move_artifacts(installation.home, trained.home)
    installation.run("train", "--kind", "detector", "--fresh", "--promote", "manual", "--jobs", "1", **QUICK)
    return installation


def move_artifacts(home: Path, old: Path) -> None:
    """MLflow remembers whole paths."""
    put_paths(home / "mlflow.db", str(old / "mlartifacts"), str(home / "mlartifacts"))


def aliases_of_detector(home: Path) -> dict[str, int]:
    return dict(ask(home, "SELECT alias, version FROM registered_model_aliases WHERE name = 'pt-1-detector'"))


def own(home: Path, query: str) -> list[tuple]:
    """What our own database answers."""
    connection = sqlite3.connect(home / "safeplan.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.fault(
    "kill -9 at each write of promote", "there is one champion at every moment, and in the end the right one"
)
def test_a_promotion_killed_anywhere_leaves_one_champion(two_versions):
    command = ("promote", "PT-1", "--kind", "detector", "--version", "2", "--anyway")

    for life in range(1, 30):
        environment = two_versions.environment(DIE_AT=str(life))
        answer = CommandServer.shared().run([*command, "--json"], environment, two_versions.home)
        assert aliases_of_detector(two_versions.home).get("champion") in (1, 2)
        if answer.code != -signal.SIGKILL:
            break

    assert (answer.code, life > 2) == (0, True), answer.stderr
    assert aliases_of_detector(two_versions.home)["champion"] == 2
    assert len(own(two_versions.home, "SELECT * FROM audit WHERE action = 'promoted' AND version = 2")) == 1


@pytest.mark.fault(
    "kill -9 at each write of rollback", "one champion at every moment; the next roll-back is a whole one"
)
def test_a_roll_back_killed_anywhere_leaves_one_champion(two_versions):
    two_versions.run("promote", "PT-1", "--kind", "detector", "--version", "2", "--anyway")

    for life in range(1, 30):
        environment = two_versions.environment(DIE_AT=str(life))
        line = ["rollback", "PT-1", "--kind", "detector", "--json"]
        answer = CommandServer.shared().run(line, environment, two_versions.home)
        result = aliases_of_detector(two_versions.home)
        assert result["champion"] in (1, 2)
        if answer.code == 0:
            break

    assert set(result.values()) == {1, 2}


@pytest.mark.parametrize("command", ["detect", "forecast"])
@pytest.mark.fault(
    "kill -9 at each write of detect and forecast", "the next run writes what is missing, once"
)
def test_scoring_killed_anywhere_keeps_each_prediction_once(trained, tmp_path, command, record_losses):
    shutil.copytree(trained.home, tmp_path / "undisturbed")
    shutil.copytree(trained.home, tmp_path / "killed")
    for name in ("undisturbed", "killed"):
        move_artifacts(tmp_path / name, trained.home)
    Installation(tmp_path / "undisturbed", {}).run(command, **QUICK)

    answer, lives = killed_until_done(Installation(tmp_path / "killed", {}), command)

    query = (
        "SELECT sensor_id, model_type, timestamp, origin, model_version, anomaly_score FROM ml_predictions"
    )
    expected, result = own(tmp_path / "undisturbed", query), own(tmp_path / "killed", query)
    assert (answer.code, lives > 0) == (0, True), answer.stderr
    record_losses(lost=len(set(expected) - set(result)), doubled=len(result) - len(set(result)))
    assert set(result) == set(expected)


@pytest.mark.fault("kill -9 at each write of load", "loading the file again adds what is missing")
def test_a_load_killed_anywhere_is_completed_by_the_next(empty_installation, record_losses):
    sent = pd.concat(make_readings(f"PT-{number}", 100, seed=number) for number in range(3))
    path = empty_installation.write("plant.csv", sent)

    answer, lives = killed_until_done(empty_installation, "load", path)

    (stored,) = own(
        empty_installation.home, "SELECT count(*), count(DISTINCT sensor_id) FROM sensor_readings"
    )
    assert (answer.code, lives > 0) == (0, True), answer.stderr
    record_losses(lost=len(sent) - stored[0], doubled=0)
    assert stored == (300, 3)
