"""Figures in words: forecast quality, anomaly scores, drift verdicts, and the names of model kinds.

Errors in a sensor's unit are rated relative to the range of its readings: 3 degrees are little on a furnace
and much in a room. Layout is in `tabs`; reasons are rendered by `Translator.reason_text`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator, unit_symbol
from training.kinds import Kind

GOOD_WEIGHT, NOTE_WEIGHT, POOR_WEIGHT = 0, 1, 2  # severities, as in `theme.Palette.of`


@dataclass(frozen=True)
class RatedMeasure:
    """A measure with its rating."""

    label: str
    value: str
    weight: int
    rating: str
    help: str = ""


def forecast_quality(
    _: Translator, metrics: Mapping[str, float], unit: str, spread: float
) -> list[RatedMeasure]:
    """The measures of a forecaster on held-out readings, rated.

    `spread` is the range between the 5th and the 95th percentile of the sensor's readings.
    """
    finite_metrics = {name: value for name, value in metrics.items() if value is not None and isfinite(value)}
    measures = [
        _rate_skill(_, finite_metrics),
        _rate_error(_, _("MAE"), finite_metrics.get("mae"), unit, spread),
        _rate_error(_, _("RMSE"), finite_metrics.get("rmse"), unit, spread),
        _rate_mape(_, finite_metrics),
        _rate_mase(_, finite_metrics),
        _rate_coverage(_, finite_metrics),
    ]
    return [measure for measure in measures if measure is not None]


def score_text(_: Translator, score: float) -> tuple[int, str]:
    """The severity of a score, and its wording; critical is for limits, which no score reaches."""
    for bound, weight, text in (
        (0.3, 0, _("normal")),
        (0.6, 1, _("elevated")),
        (0.9, 2, _("probable anomaly")),
    ):
        if score < bound:
            return weight, text
    return 3, _("clear anomaly")


def direction_text(_: Translator, direction: str) -> str:
    """The direction of a forecast, with an arrow."""
    return {"rising": f"↗ {_('rising')}", "falling": f"↘ {_('falling')}", "stable": f"→ {_('stable')}"}[
        direction
    ]


def volatility_text(_: Translator, volatility: float, spread: float) -> str:
    """How much a forecast varies, relative to the range of the readings."""
    share = volatility / spread if spread > 0 else 0.0
    if share < 0.05:
        return _("nearly constant")
    return _("normal variation") if share < 0.35 else _("strong variation")


def drift_verdict_text(_: Translator, verdict: DriftVerdict) -> tuple[int, str]:
    """The severity of a drift verdict, and its name."""
    return {
        DriftVerdict.STEADY: (0, _("no drift")),
        DriftVerdict.WITHHELD: (1, _("too little history")),
        DriftVerdict.NO_DATA: (1, _("no data")),
        DriftVerdict.AGED: (2, _("training data too old")),
        DriftVerdict.DRIFTED: (3, _("drifted")),
    }[verdict]


def grade_cards(_: Translator, kind: Kind, metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """The two main measures of a version: label, value, note."""
    if kind is Kind.DETECTOR:
        measures = (
            ("recall_mean", _("Faults detected"), _("of the faults injected into held-out readings")),
            ("false_alarms_per_day", _("False alarms per day"), _("on the same readings without faults")),
        )
    else:
        measures = (
            ("skill", _("Skill"), _("error reduction over the best naive forecast")),
            ("coverage", _("Coverage"), _("of later readings inside the interval; 95 % promised")),
        )
    cards = []
    for name, label, note in measures:
        value = metrics.get(name)
        if value is not None and isfinite(value):
            value_text = _.number(value, 2) if name.endswith("per_day") else _.percent(value)
            cards.append((label, value_text, note))
    return cards


def kind_name(_: Translator, kind: str) -> str:
    """The name of a kind of model."""
    return {"detector": _("detector"), "forecaster": _("forecaster")}[kind]


def _rate_skill(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    skill = metrics.get("skill")
    if skill is None:
        return None
    weight, meaning = NOTE_WEIGHT, _("slightly better than the naive forecast")
    if skill <= 0:
        weight, meaning = POOR_WEIGHT, _("no better than the naive forecast")
    elif skill >= 0.1:
        weight, meaning = GOOD_WEIGHT, _("clearly better than the naive forecast")
    help_ = _("error reduction over the best naive forecast (last value, or that of a day or a week ago)")
    return RatedMeasure(_("Skill"), f"{'+' if skill > 0 else ''}{_.percent(skill)}", weight, meaning, help_)


def _rate_error(
    _: Translator, label: str, error: float | None, unit: str, spread: float
) -> RatedMeasure | None:
    if error is None:
        return None
    help_ = _("mean error; RMSE weighs large errors more. The range holds 90 % of the readings")
    value = f"{_.number(error, 3)} {unit_symbol(unit)}".strip()
    if spread <= 0:
        return RatedMeasure(label, value, NOTE_WEIGHT, "", help_)
    share = error / spread
    weight = GOOD_WEIGHT if share < 0.05 else NOTE_WEIGHT if share < 0.15 else POOR_WEIGHT
    size = (_("small"), _("moderate"), _("large"))[weight]
    meaning = _("{size}: {share} of the range", size=size, share=_.percent(share))
    return RatedMeasure(label, value, weight, meaning, help_)


def _rate_mape(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    mape, share = metrics.get("mape"), metrics.get("mape_share_used", 1.0)
    help_ = _("mean error in percent of the reading; readings near zero are excluded")
    if mape is None or share == 0:
        return RatedMeasure(_("MAPE"), "-", NOTE_WEIGHT, _("undefined near zero"), help_)
    weight = GOOD_WEIGHT if mape < 10 else NOTE_WEIGHT if mape < 20 else POOR_WEIGHT
    meaning = (_("good"), _("fair"), _("poor"))[weight]
    if share < 0.9:
        weight, meaning = (
            max(weight, NOTE_WEIGHT),
            _("from {share} of the readings", share=_.percent(share)),
        )
    return RatedMeasure(_("MAPE"), f"{_.number(mape, 3)} %", weight, meaning, help_)


def _rate_mase(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    mase = metrics.get("mase")
    if mase is None:
        return None
    weight = GOOD_WEIGHT if mase < 0.8 else NOTE_WEIGHT if mase < 1.1 else POOR_WEIGHT
    meanings = (
        _("better than repeating the previous day"),
        _("like repeating the previous day"),
        _("worse than repeating the previous day"),
    )
    help_ = _("mean error relative to the change from one day to the next; below 1 is good")
    return RatedMeasure(_("MASE"), _.number(mase, 3), weight, meanings[weight], help_)


def _rate_coverage(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    coverage = metrics.get("coverage")
    if coverage is None:
        return None
    weight, meaning = GOOD_WEIGHT, _("interval adequate")
    if coverage < 0.9:
        weight, meaning = (POOR_WEIGHT if coverage < 0.8 else NOTE_WEIGHT), _("interval too narrow")
    elif coverage > 0.99:
        weight, meaning = NOTE_WEIGHT, _("interval wider than needed")
    help_ = _("share of later readings inside the interval; 95 % are promised")
    return RatedMeasure(_("Coverage"), _.percent(coverage), weight, meaning, help_)
