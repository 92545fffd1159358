"""Instrument or process: what the other sensors of a platform did at the same time.

Knows platforms and onsets. A sensor without neighbours is left as it was found.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from monitoring.drift.kinds import LEFT_TO_NEIGHBOURS
from monitoring.drift.result import Checked
from monitoring.drift.store import Origin, Verdict

FEWEST = 3  # other sensors on the platform, to say that only this one moved
JUDGED = frozenset({Verdict.STEADY, Verdict.AGED, Verdict.DRIFTED})
TOGETHER = timedelta(days=1)  # onsets that near each other have one cause


def with_neighbours(checked: Sequence[Checked]) -> list[Checked]:
    """The same checks; where a drift may be either, its platform decides."""
    return [_told(one, checked) for one in checked]


def _told(one: Checked, everyone: Sequence[Checked]) -> Checked:
    comparison = one.comparison
    undecided = comparison.drifted and comparison.origin is None and comparison.kind in LEFT_TO_NEIGHBOURS
    if not undecided or not one.sensor.platform:
        return one
    others: dict[str, bool] = {}
    for other in everyone:
        near = other.sensor.platform == one.sensor.platform and other.sensor.id != one.sensor.id
        if near and other.comparison.verdict in JUDGED:
            others[other.sensor.id] = others.get(other.sensor.id, False) or _with(one, other)
    if together := sorted(name for name, moved in others.items() if moved):
        words = f"so did {', '.join(together[:3])} of {one.sensor.platform}"
        return _decided(one, Origin.PROCESS, words)
    if len(others) >= FEWEST:
        words = f"none of the {len(others)} other sensors of {one.sensor.platform} moved"
        return _decided(one, Origin.INSTRUMENT, words)
    return one


def _with(one: Checked, other: Checked) -> bool:
    mine, theirs = one.comparison.since, other.comparison.since
    together = mine is not None and theirs is not None and abs(mine - theirs) <= TOGETHER
    return other.comparison.drifted and together


def _decided(one: Checked, origin: Origin, why: str) -> Checked:
    comparison = replace(one.comparison, origin=origin, reason=f"{one.comparison.reason}; {why}")
    check = replace(
        one.check, origin=comparison.origin, reason=comparison.reason, advice=comparison.advice or None
    )
    return replace(one, comparison=comparison, check=check)
