"""A reason: why a reading, model, sensor or job is judged as it is, as a code with values.

Converts to and from JSON. Does not hold the texts (`training.reasons.english`) or fill them in
(`training.reasons.rendering`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from training.reasons.codes import ReasonCode


@dataclass(frozen=True)
class Reason:
    """A code with the values that its text shows: numbers in the sensor's unit, durations in seconds.

    Values are what JSON holds, naive UTC times, or other reasons; lists become tuples. A time is stored as
    ISO 8601 and stays text when it is read.

    >>> Reason(ReasonCode.GATE_COVERAGE, {"coverage": 0.95}).as_dict()
    {'code': 'gate_coverage', 'coverage': 0.95}
    """

    code: ReasonCode
    values: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A reason that was stored and read must equal the one that was made.
        if any(isinstance(value, list) for value in self.values.values()):
            values = {name: tuple(v) if isinstance(v, list) else v for name, v in self.values.items()}
            object.__setattr__(self, "values", values)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `code` names the reason."""
        return {"code": self.code.value, **{name: _plain(value) for name, value in self.values.items()}}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Reason":
        """The inverse of `as_dict`.

        Raises:
            ValueError: the code is unknown to this version of the program.
        """
        values = {name: _restored(value) for name, value in content.items() if name != "code"}
        return cls(ReasonCode(content["code"]), values)


def dump_reasons(reasons: Iterable[Reason]) -> str | None:
    """Reasons as JSON text for a column or a tag; None where there are none."""
    contents = [reason.as_dict() for reason in reasons]
    return json.dumps(contents, ensure_ascii=False, separators=(",", ":")) if contents else None


def load_reasons(stored: str | list[dict[str, Any]] | None) -> tuple[Reason, ...]:
    """The inverse of `dump_reasons`; empty where there are none that this version of the program knows.

    Rows of 0.1.0, codes of a newer version and altered JSON give none: show the text stored beside it.
    """
    try:
        contents = json.loads(stored) if isinstance(stored, str) else stored
        return tuple(Reason.from_dict(content) for content in contents or ())
    except (ValueError, TypeError, KeyError):
        return ()


def _plain(value: Any) -> Any:
    if isinstance(value, Reason):
        return value.as_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "code" in value:
        return Reason.from_dict(value)
    if isinstance(value, list):
        return tuple(_restored(item) for item in value)
    return value
