"""One comparison of readings with a window: settings, order of the questions, verdict and reasons.

In this order: is there enough history (`blocks`), do readings change at all (`frozen_readings`), have they
drifted, has the window aged (`judgement`).
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from monitoring.drift.blocks import MIN_BLOCKS, MIN_READINGS, HistoryTooShort, WindowBlocks, split_into_blocks
from monitoring.drift.frozen_readings import check_stillness
from monitoring.drift.judgement import DriftFinding, DriftJudgement, judge_block
from monitoring.drift.kinds import (
    GRADUAL_KINDS,
    ORIGIN_BY_KIND,
    DriftKind,
    describe_drift,
    describe_finding,
    describe_slope,
)
from monitoring.drift.onset import fit_onset
from monitoring.drift.statistics import Readings, WindowScale, compute_series, fit_window_scale
from monitoring.drift.verdict import DriftOrigin, DriftVerdict, advice_for
from training.common.sampling import infer_step
from training.common.times import to_datetime, to_times
from training.reasons import Reason, ReasonCode, render_all
from training.settings import Settings

DEFAULT_STEP_SECONDS = 3600.0  # of a window with one reading


class DriftSettings(Settings, file="monitoring", section="drift"):
    """When readings count as drifted from the window their model was trained on."""

    false_alarm_rate: float = Field(0.01, gt=0, le=0.2, description="false alarms per check")
    current: timedelta = Field(
        timedelta(days=2), gt=timedelta(0), description="length of the block that is checked"
    )
    silent_steps: float = Field(12, gt=1, description="steps without a reading until a sensor has no data")
    stale_after: timedelta = Field(
        timedelta(days=60), gt=timedelta(0), description="age above which a model is stale"
    )
    reports: int = Field(
        20, ge=0, description="at most this many drifted models have their own report in a run"
    )


@dataclass(frozen=True)
class DriftComparison:
    """The result of comparing readings with a window. Times are those of the readings."""

    verdict: DriftVerdict
    reasons: tuple[Reason, ...]
    false_alarm_rate: float
    readings: int
    start: datetime | None = None  # of the block that was judged
    end: datetime | None = None
    p_value: float | None = None
    kind: DriftKind | None = None
    origin: DriftOrigin | None = None
    since: datetime | None = None
    blocks: WindowBlocks | None = None
    judgement: DriftJudgement | None = field(default=None, repr=False)
    ruler: WindowScale | None = field(default=None, repr=False)

    @property
    def drifted(self) -> bool:
        """Whether the readings have drifted."""
        return self.verdict is DriftVerdict.DRIFTED

    @property
    def reason(self) -> str:
        """The reasons in English."""
        return render_all(self.reasons)

    @property
    def advice_reasons(self) -> tuple[Reason, ...]:
        """What to do, as data; empty where nothing needs to be done."""
        return advice_for(self.verdict, self.origin)

    @property
    def advice(self) -> str:
        """What to do, in English; empty where nothing needs to be done."""
        return render_all(self.advice_reasons)

    def with_origin(self, origin: DriftOrigin, why: Reason) -> "DriftComparison":
        """The same drift with its likely origin, and the reason for that."""
        return replace(self, origin=origin, reasons=(*self.reasons, why))

    def channel(self, name: str) -> list[DriftFinding]:
        """The findings of one channel: value, course, score, error, missing or step."""
        findings = () if self.judgement is None else self.judgement.findings
        return [finding for finding in findings if finding.statistic.channel == name]

    def channel_verdict(self, name: str) -> tuple[float, tuple[Reason, ...]]:
        """The p of one channel, corrected for all statistics that are compared, and the reasons."""
        findings = self.channel(name)
        if self.judgement is None or not findings:
            p = self.p_value if name == "value" and self.p_value is not None else 1.0
            return p, self.reasons
        p = self.judgement.corrected_p(findings)
        if p <= self.false_alarm_rate:
            return p, self.reasons
        return p, (Reason(ReasonCode.DRIFT_NONE, {"p": _round_p(p)}),)

    def measures(self) -> dict[str, dict[str, Any]]:
        """Every statistic in plain numbers, by name."""
        findings = () if self.judgement is None else self.judgement.findings
        return {
            finding.statistic.name: {
                "channel": finding.statistic.channel,
                "shift": _round_significant(finding.size),
                "bound": _round_significant(finding.bound),
                "p": _round_significant(finding.p),
                "worst_past_p": _round_significant(finding.worst),
                "window": _round_significant(finding.before),
                "now": _round_significant(finding.after),
            }
            for finding in findings
        }


@dataclass(frozen=True)
class DriftComparer:
    """Compares readings under given settings; `unit` is shown in the reasons."""

    settings: DriftSettings
    unit: str = ""
    step: timedelta | None = None

    def of(self, window: Readings, since: Readings, *, sent: Readings | None = None) -> DriftComparison:
        """Judge the readings since a window.

        `sent` holds all readings since, if `since` excludes instrument faults; a stuck sensor shows there.
        """
        sent = since if sent is None else sent
        if not len(sent):
            return self._without_statistics(DriftVerdict.NO_DATA, Reason(ReasonCode.DRIFT_NO_READINGS), 0)
        try:
            blocks = self._split_blocks(window, sent)
        except HistoryTooShort as short:
            return self._without_statistics(DriftVerdict.WITHHELD, short.reason, len(sent))
        checked = sent.between(blocks.checked_from, blocks.checked_to)
        fields: dict[str, Any] = {
            "false_alarm_rate": self.settings.false_alarm_rate,
            "readings": len(checked),
            "start": to_datetime(blocks.checked_from),
            "end": to_datetime(float(checked.seconds[-1])),
            "blocks": blocks,
        }
        stillness_result = check_stillness(window, checked, sent, blocks=blocks.count, unit=self.unit)
        if stillness_result is None or (
            stillness_result.kind is DriftKind.STUCK and stillness_result.p > self.settings.false_alarm_rate
        ):
            return self._compare_statistics(window.between(blocks.start, blocks.end), since, blocks, fields)
        fields["p_value"] = stillness_result.p
        if stillness_result.kind is None:
            return DriftComparison(DriftVerdict.STEADY, (stillness_result.reason,), **fields)
        fields |= {
            "origin": ORIGIN_BY_KIND.get(stillness_result.kind),
            "since": to_datetime(stillness_result.began_at),
        }
        return DriftComparison(
            DriftVerdict.DRIFTED, (stillness_result.reason,), kind=stillness_result.kind, **fields
        )

    def _split_blocks(self, window: Readings, since: Readings) -> WindowBlocks:
        if not len(window):
            raise HistoryTooShort(Reason(ReasonCode.DRIFT_EMPTY_WINDOW))
        blocks = split_into_blocks(
            window.seconds,
            (float(since.seconds[0]), float(since.seconds[-1])),
            step=self._step_seconds(window),
            length=self.settings.current.total_seconds(),
        )
        reading_count = len(window.between(blocks.start, blocks.end))
        if reading_count < MIN_BLOCKS * MIN_READINGS / 2:
            counts = {"readings": reading_count, "blocks": blocks.count}
            raise HistoryTooShort(Reason(ReasonCode.DRIFT_THIN_WINDOW, counts))
        return blocks

    def _compare_statistics(
        self, window: Readings, since: Readings, blocks: WindowBlocks, fields: dict[str, Any]
    ) -> DriftComparison:
        rate = self.settings.false_alarm_rate
        checked = since.between(blocks.checked_from, blocks.checked_to)
        scale = fit_window_scale(window, step=blocks.step)
        judgement = judge_block(compute_series(window, checked, blocks, scale), blocks, rate=rate)
        fields |= {"p_value": judgement.p, "judgement": judgement, "ruler": scale}
        if judgement.drifted(rate):
            description = describe_drift(judgement, scale, unit=self.unit)
            drift_onset = fit_onset(
                since, blocks, scale, window, judgement.finding_for(description.statistic)
            )
            if drift_onset.per_day is not None and description.kind in GRADUAL_KINDS:
                description = describe_slope(description, drift_onset.per_day * scale.robust, self.unit)
            return DriftComparison(
                DriftVerdict.DRIFTED,
                (description.reason,),
                kind=description.kind,
                origin=ORIGIN_BY_KIND.get(description.kind),
                since=to_datetime(drift_onset.began_at),
                **fields,
            )
        strongest = describe_finding(judgement.strongest, scale, unit=self.unit)
        # Directly behind its window nothing can have aged; the block is within what the window predicts.
        if judgement.aged(rate) and blocks.lag_seconds >= blocks.length:
            values = {"duration": blocks.lag_seconds, "reason": strongest}
            return DriftComparison(DriftVerdict.AGED, (Reason(ReasonCode.DRIFT_AGED, values),), **fields)
        values = {"reason": strongest, "p": _round_p(judgement.p)}
        return DriftComparison(DriftVerdict.STEADY, (Reason(ReasonCode.DRIFT_NONE_FOR, values),), **fields)

    def _without_statistics(self, verdict: DriftVerdict, reason: Reason, readings: int) -> DriftComparison:
        return DriftComparison(verdict, (reason,), self.settings.false_alarm_rate, readings)

    def _step_seconds(self, window: Readings) -> float:
        if self.step is not None:
            return self.step.total_seconds()
        inferred = infer_step(to_times(window.seconds))
        return DEFAULT_STEP_SECONDS if inferred is None else inferred.total_seconds()


def _round_significant(value: float) -> float:
    return float(f"{value:.4g}")


def _round_p(p: float) -> float:
    return float(f"{p:.2g}")
