"""The result of one command for one sensor and kind: a row of each table, an object of each `--json`.

Holds the fields that all commands share. Does not format them; that is `training.operations.console`.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from training.errors import SafePlanError
from training.kinds import Kind


class OutcomeStatus(StrEnum):
    """The status of an outcome. Batch scoring and drift checks add `BatchStatus` and `DriftVerdict`."""

    FAILED = "failed"  # an engineer must look at it
    # training
    PROMOTED = "promoted"  # the new version is the champion
    WAITING = "waiting"  # a version passed the gate and waits as challenger
    FALLBACK = "fallback"  # the detector was refused by the gate; the rule-based fallback is the champion
    REFUSED = "refused"  # by the gate; the version is the challenger
    UNCHANGED = "unchanged"  # the newest version was trained on the same data
    TUNED = "tuned"  # searched, nothing registered
    # registry
    SERVING = "serving"
    ROLLED_BACK = "rolled back"
    NO_MODEL = "no model"
    # monitoring
    WATCHED = "watched"
    POSTPONED = "waits for the next night"  # the night's CPU budget is spent


@dataclass(frozen=True)
class Outcome:
    """One sensor, one kind, one command."""

    sensor_id: str
    kind: Kind | None
    status: StrEnum
    model: str | None = None
    version: int | None = None
    alias: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether an engineer must look at it."""
        return self.status == OutcomeStatus.FAILED

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "sensor_id": self.sensor_id,
            "kind": self.kind.value if self.kind else None,
            "model": self.model,
            "version": self.version,
            "alias": self.alias,
            "metrics": dict(self.metrics),
            "status": self.status.value,
            "error": self.error,
            **self.detail,
        }


def failed_outcome(
    sensor_id: str, kind: Kind | None, error: Exception, *, task: str, log: logging.Logger
) -> Outcome:
    """The outcome of a task that an error ended; the trace of an unexpected one goes to the log."""
    message = str(error)
    if not isinstance(error, SafePlanError):
        log.error("%s of the %s of %s failed", task, kind, sensor_id, exc_info=error)
        message = f"{type(error).__name__}: {error}"
    return Outcome(sensor_id=sensor_id, kind=kind, status=OutcomeStatus.FAILED, error=message)


def summary(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many outcomes have each status.

    >>> summary([Outcome("a", None, OutcomeStatus.PROMOTED), Outcome("b", None, OutcomeStatus.FAILED)])
    {'promoted': 1, 'failed': 1}
    """
    return dict(Counter(outcome.status.value for outcome in outcomes))
