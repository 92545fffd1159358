"""The registry in any order: train, promote, roll back, delete, retire, and crash between any two writes.

A few plain variables model the rules; they are compared with MLflow's own store.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from mlflow import MlflowClient
from mlflow.models import infer_signature

from training.artifacts.model_files import DATA, MODEL_FOLDER, digest_folder, write_json
from training.errors import NoChampion
from training.kinds import Kind
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Registry, Version
from training.registry.packaging import MLmodelTemplate
from training.registry.publishing import Publisher
from training.registry.version_files import fetch_files

KIND = Kind.DETECTOR
WRITES = ("set_", "delete_", "create_")


class RegistryDied(BaseException):
    """The simulated death of the process; no code may catch it."""


class DyingClient:
    """A client that dies before its n-th write; 0: never."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.left = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)
        return self._mortal(method) if name.startswith(WRITES) else method

    def _mortal(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def die_or_write(*args: Any, **kwargs: Any) -> Any:
            if self.left == 1:
                raise RegistryDied
            self.left = max(0, self.left - 1)
            return write(*args, **kwargs)

        return die_or_write

    @contextmanager
    def dying(self, at: int) -> Iterator[list[bool]]:
        """Die before the n-th write of the block; the list is empty if it died."""
        completed: list[bool] = []
        self.left = at
        try:
            yield completed
            completed.append(True)
        except RegistryDied:
            pass
        finally:
            self.left = 0


sensor_numbers = count()


class RegistryStateMachine(RuleBasedStateMachine):
    """One sensor's registered model, changed by users and crashes."""

    client: MlflowClient
    cache: Any
    content: Mapping[str, str]  # source, run and logged model; every version has the same small files
    digest: str

    def __init__(self) -> None:
        super().__init__()
        self.mortal = DyingClient(self.client)
        self.registry = Registry(self.mortal)  # type: ignore[arg-type]
        self.sensor_id = f"PT-{next(sensor_numbers)}"
        self.name = f"pt-{self.sensor_id[3:]}-detector"
        self.alive: dict[int, Version] = {}
        self.may_serve: set[int | None] = {None}  # several only after a crash

    def settle(self) -> int | None:
        """The champion, which must be one of those that may serve; from now on only it may."""
        number = self.aliases().get(CHAMPION)
        assert number in self.may_serve
        self.may_serve = {number}
        return number

    def aliases(self) -> dict[str, int]:
        """The aliases; none before the first version."""
        return self.registry.aliases(self.name) if self.alive else {}

    @rule(die_at=st.integers(0, 3))
    def train(self, die_at: int) -> None:
        """Register a version with all its tags; it exists completely or not at all."""
        with self.mortal.dying(die_at):
            version = self.registry.register(
                self.sensor_id,
                KIND,
                tags={"sensor_id": self.sensor_id, "kind": KIND.value, "model_sha256": self.digest},
                **self.content,
            )
            self.alive[version.number] = version

    @precondition(lambda self: self.alive)
    @rule(place=st.integers(0, 20), die_at=st.integers(0, 5))
    def promote(self, place: int, die_at: int) -> None:
        """Make any version the champion."""
        version = self.pick(place)
        before = self.settle()
        with self.mortal.dying(die_at) as completed:
            self.registry.promote(version)
        self.may_serve = {version.number} if completed else {before, version.number}

    @precondition(lambda self: self.alive)
    @rule(place=st.integers(0, 20))
    def challenge(self, place: int) -> None:
        """Make any version the challenger."""
        version = self.pick(place)
        self.registry.set_challenger(version)
        assert self.aliases()[CHALLENGER] == version.number

    @precondition(lambda self: self.alive)
    @rule(die_at=st.integers(0, 6))
    def roll_back(self, die_at: int) -> None:
        """Return to the previous champion; if there is none, nothing changes."""
        before = self.settle()
        to = self.aliases().get(PREVIOUS)
        with self.mortal.dying(die_at) as completed:
            try:
                returned = self.registry.rollback(self.sensor_id, KIND)
            except NoChampion:
                self.may_serve = {before}
                return
            assert returned.number == to
        self.may_serve = {to} if completed else {before, to}

    @precondition(lambda self: self.alive)
    @rule(place=st.integers(0, 20))
    def delete(self, place: int) -> None:
        """Delete any version in the MLflow UI, with its aliases."""
        version = self.pick(place)
        before = self.settle()
        self.client.delete_model_version(version.name, str(version.number))
        del self.alive[version.number]
        self.may_serve = {None if before == version.number else before}

    @precondition(lambda self: self.alive)
    @rule(keep=st.integers(1, 4), die_at=st.integers(0, 3))
    def retire(self, keep: int, die_at: int) -> None:
        """Delete old versions, but none with an alias and none of the newest."""
        held = set(self.aliases().values())
        newest = sorted(self.alive)[-keep:]
        with self.mortal.dying(die_at) as completed:
            self.registry.delete_old_versions(self.sensor_id, KIND, keep=keep)
        remaining = {version.number for version in self.registry.versions(self.sensor_id, KIND)}
        assert held | set(newest) <= remaining <= set(self.alive)
        if completed:
            assert remaining == held | set(newest)
        self.alive = {number: self.alive[number] for number in remaining}

    def pick(self, place: int) -> Version:
        """One of the existing versions."""
        numbers = sorted(self.alive)
        return self.alive[numbers[place % len(numbers)]]

    @invariant()
    def the_aliases_point_at_versions_with_intact_files(self) -> None:
        """Each alias points at an existing version, and the champion's files are intact."""
        number = self.settle()
        assert set(self.aliases().values()) <= set(self.alive)
        if number is not None:
            fetch_files(self.alive[number], self.cache)


@pytest.mark.fault(
    "train, promote, roll back, delete and retire in any order, each interrupted at any write",
    "exactly one champion or none, never a broken one",
)
def test_any_order_leaves_one_intact_champion_or_none(mlflow_client, tracker, tmp_path):
    files = tmp_path / "package" / DATA / MODEL_FOLDER
    files.mkdir(parents=True)
    write_json({"content": 1}, files / "model.json")
    example = pd.DataFrame({"value": [1.0]})
    run = tracker.open(KIND.experiment, "PT-1", {})
    template = MLmodelTemplate.create(
        requirements=["mlflow"], signature=infer_signature(example, example), example=example
    )
    model = Publisher(tracker.client).upload_model(
        run, tmp_path / "package", "probe", template=template, example=example, params={}
    )
    tracker.finish(run.run_id)
    RegistryStateMachine.client, RegistryStateMachine.cache = mlflow_client, tmp_path / "cache"
    RegistryStateMachine.content = {"source": model.source, "run_id": run.run_id, "model_id": model.model_id}
    RegistryStateMachine.digest = digest_folder(files)

    run_state_machine_as_test(
        RegistryStateMachine,
        settings=settings(
            max_examples=10,
            stateful_step_count=20,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
