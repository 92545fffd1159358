"""One comparison of readings with a window: settings, verdict, and everything that was found.

Knows in which order to ask: is there enough, does anything move at all, has it drifted, has the window aged.
Leaves each question to its room.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from monitoring.drift.blocks import FEWEST_BLOCKS, FEWEST_READINGS, Blocks, TooShort, blocks_of
from monitoring.drift.frozen_readings import stillness
from monitoring.drift.judgement import Finding, Judgement, judge
from monitoring.drift.kinds import (
    ADVICE,
    ORIGINS,
    RETRAIN_AGED,
    SLOW,
    DriftKind,
    name_drift,
    slowly,
    words_of,
)
from monitoring.drift.onset import moment_of, onset
from monitoring.drift.statistics import Readings, Ruler, ruler_of, series_of
from monitoring.drift.store import Origin, Verdict
from serving.recent_readings import to_times
from training.common.formatting import format_count, format_duration
from training.quality.sampling import infer_step
from training.settings import Settings

UNKNOWN_STEP = 3600.0  # seconds, of a window with one reading


class DriftSettings(Settings, file="monitoring", section="drift"):
    """When readings count as drifted from the window their model was trained on."""

    false_alarm_rate: float = Field(0.01, gt=0, le=0.2, description="false alarms a check")
    current: timedelta = Field(
        timedelta(days=2), gt=timedelta(0), description="newest readings that are checked, since training"
    )
    silent_steps: float = Field(12, gt=1, description="steps without a reading that are a silence")
    stale_after: timedelta = Field(
        timedelta(days=60), gt=timedelta(0), description="age from which on a model is stale"
    )
    reports: int = Field(20, ge=0, description="most drifted models with a report of their own in a run")


@dataclass(frozen=True)
class Comparison:
    """What came of comparing readings with a window. Times are those of the readings."""

    verdict: Verdict
    reason: str
    false_alarm_rate: float
    readings: int
    start: datetime | None = None  # of the block that was judged
    end: datetime | None = None
    p_value: float | None = None
    kind: DriftKind | None = None
    origin: Origin | None = None
    since: datetime | None = None
    blocks: Blocks | None = None
    judgement: Judgement | None = field(default=None, repr=False)
    ruler: Ruler | None = field(default=None, repr=False)

    @property
    def drifted(self) -> bool:
        """Whether there is drift."""
        return self.verdict is Verdict.DRIFTED

    @property
    def advice(self) -> str:
        """What to do; empty where there is nothing to be done."""
        if self.verdict is Verdict.AGED:
            return RETRAIN_AGED
        return ADVICE[self.origin] if self.drifted else ""

    def by_instrument(self, faults: Sequence[str]) -> "Comparison":
        """The same drift, of which instrument faults are the likelier cause."""
        words = f"{self.reason}; faults of the instrument: {', '.join(faults)}"
        return replace(self, origin=Origin.INSTRUMENT, reason=words)

    def channel(self, name: str) -> list[Finding]:
        """What was found under one heading: value, course, score, error, missing or step."""
        found = () if self.judgement is None else self.judgement.findings
        return [finding for finding in found if finding.statistic.channel == name]

    def told_of(self, name: str) -> tuple[float, str]:
        """The p of one heading, corrected for all that is looked at, and why."""
        found = self.channel(name)
        if self.judgement is None or not found:
            p = self.p_value if name == "value" and self.p_value is not None else 1.0
            return p, self.reason
        p = self.judgement.corrected(found)
        return p, self.reason if p <= self.false_alarm_rate else f"as usual (p {p:.2g})"

    def measures(self) -> dict[str, dict[str, Any]]:
        """Every statistic in plain numbers, by its name."""
        found = () if self.judgement is None else self.judgement.findings
        return {
            finding.statistic.name: {
                "channel": finding.statistic.channel,
                "shift": _rounded(finding.size),
                "bound": _rounded(finding.bound),
                "p": _rounded(finding.p),
                "worst_past_p": _rounded(finding.worst),
                "window": _rounded(finding.before),
                "now": _rounded(finding.after),
            }
            for finding in found
        }


@dataclass(frozen=True)
class Check:
    """One comparison: what it is held to, and how its words are written."""

    settings: DriftSettings
    unit: str = ""
    step: timedelta | None = None

    def of(self, window: Readings, since: Readings, *, sent: Readings | None = None) -> Comparison:
        """Judge what came since a window.

        `sent` is all that was sent since, if `since` leaves out what the instrument got wrong; a sensor that
        is stuck shows there.
        """
        sent = since if sent is None else sent
        if not len(sent):
            return self._without(Verdict.SILENT, "no readings since the window", 0)
        try:
            blocks = self._blocks(window, sent)
        except TooShort as short:
            return self._without(Verdict.WITHHELD, str(short), len(sent))
        checked = sent.between(blocks.checked_from, blocks.checked_to)
        told: dict[str, Any] = {
            "false_alarm_rate": self.settings.false_alarm_rate,
            "readings": len(checked),
            "start": moment_of(blocks.checked_from),
            "end": moment_of(float(checked.seconds[-1])),
            "blocks": blocks,
        }
        still = stillness(window, checked, sent, blocks=blocks.count, unit=self.unit)
        if still is None or (still.kind is DriftKind.STUCK and still.p > self.settings.false_alarm_rate):
            return self._judged(window.between(blocks.start, blocks.end), since, blocks, told)
        told["p_value"] = still.p
        if still.kind is None:
            return Comparison(Verdict.STEADY, still.words, **told)
        told |= {"origin": ORIGINS.get(still.kind), "since": moment_of(still.begun)}
        return Comparison(Verdict.DRIFTED, still.words, kind=still.kind, **told)

    def _blocks(self, window: Readings, since: Readings) -> Blocks:
        if not len(window):
            raise TooShort("the window holds no readings; verdict withheld")
        blocks = blocks_of(
            window.seconds,
            (float(since.seconds[0]), float(since.seconds[-1])),
            step=self._step(window),
            length=self.settings.current.total_seconds(),
        )
        found = len(window.between(blocks.start, blocks.end))
        if found < FEWEST_BLOCKS * FEWEST_READINGS / 2:
            many = format_count(found, "reading")
            raise TooShort(f"window too thin to calibrate: {many} in {blocks.count} blocks; verdict withheld")
        return blocks

    def _judged(self, window: Readings, since: Readings, blocks: Blocks, told: dict[str, Any]) -> Comparison:
        rate = self.settings.false_alarm_rate
        checked = since.between(blocks.checked_from, blocks.checked_to)
        ruler = ruler_of(window, step=blocks.step)
        judgement = judge(series_of(window, checked, blocks, ruler), blocks, rate=rate)
        told |= {"p_value": judgement.p, "judgement": judgement, "ruler": ruler}
        if judgement.drifted(rate):
            said = name_drift(judgement, ruler, unit=self.unit)
            begun = onset(since, blocks, ruler, window, judgement.named(said.statistic))
            if begun.per_day is not None and said.kind in SLOW:
                said = slowly(said, begun.per_day * ruler.robust, self.unit)
            return Comparison(
                Verdict.DRIFTED,
                said.words,
                kind=said.kind,
                origin=ORIGINS.get(said.kind),
                since=moment_of(begun.begun),
                **told,
            )
        loudest = words_of(judgement.loudest, ruler, unit=self.unit)
        # Right behind its window nothing can have aged; the block is within what the window foretells.
        if judgement.aged(rate) and blocks.lag >= blocks.length:
            lag = format_duration(timedelta(seconds=blocks.lag))
            reason = f"the window has aged: {lag} later this sensor moves as far by itself ({loudest})"
            return Comparison(Verdict.AGED, reason, **told)
        return Comparison(Verdict.STEADY, f"as usual ({loudest}, p {judgement.p:.2g})", **told)

    def _without(self, verdict: Verdict, reason: str, readings: int) -> Comparison:
        return Comparison(verdict, reason, self.settings.false_alarm_rate, readings)

    def _step(self, window: Readings) -> float:
        if self.step is not None:
            return self.step.total_seconds()
        inferred = infer_step(to_times(window.seconds))
        return UNKNOWN_STEP if inferred is None else inferred.total_seconds()


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
