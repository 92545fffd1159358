"""What became of one sensor and kind in one command: the row of every table, the object of every `--json`.

Knows the field names that all commands share. Knows no models.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.kinds import Kind

FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """One sensor, one kind, one command."""

    sensor_id: str
    kind: Kind | None
    status: str
    model: str | None = None
    version: int | None = None
    alias: str | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether a human must look at this one."""
        return self.status == FAILED

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return {
            "sensor_id": self.sensor_id,
            "kind": self.kind.value if self.kind else None,
            "model": self.model,
            "version": self.version,
            "alias": self.alias,
            "metrics": dict(self.metrics),
            "status": self.status,
            "error": self.error,
            **self.detail,
        }


def summary(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """How many outcomes of each status.

    >>> summary([Outcome("a", None, "promoted"), Outcome("b", None, "failed")])
    {'promoted': 1, 'failed': 1}
    """
    counts: dict[str, int] = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    return counts
