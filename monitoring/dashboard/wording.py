"""What numbers mean, in words: how good a forecast is for this sensor, how odd a score is.

Knows bounds and sentences. A measure in the sensor's unit is told beside the range in which the sensor moves,
for 3 degrees are little on a furnace and much in a room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite

from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from training.kinds import Kind

GOOD_WEIGHT, NOTE_WEIGHT, POOR_WEIGHT = 0, 1, 2  # weights of the page's signs


@dataclass(frozen=True)
class RatedMeasure:
    """A measure with what it means."""

    label: str
    value: str
    weight: int
    words: str
    help: str = ""


def forecast_quality(
    _: Translator, metrics: Mapping[str, float], unit: str, spread: float
) -> list[RatedMeasure]:
    """The grades of a forecaster on held-out readings; `spread` is the range in which the sensor moves."""
    finite_metrics = {name: value for name, value in metrics.items() if value is not None and isfinite(value)}
    measures = [
        _rate_skill(_, finite_metrics),
        _rate_error(_, _("MAE"), finite_metrics.get("mae"), unit, spread),
        _rate_error(_, _("RMSE"), finite_metrics.get("rmse"), unit, spread),
        _rate_mape(_, finite_metrics),
        _rate_mase(_, finite_metrics),
        _rate_coverage(_, finite_metrics),
    ]
    return [one for one in measures if one is not None]


def score_text(_: Translator, score: float) -> tuple[int, str]:
    """How odd a score is."""
    for bound, weight, text in (
        (0.3, 0, _("normal")),
        (0.6, 1, _("worth a look")),
        (0.9, 3, _("probably an anomaly")),
    ):
        if score < bound:
            return weight, text
    return 4, _("certainly an anomaly")


def direction_text(_: Translator, direction: str) -> str:
    """Where a forecast goes, with an arrow."""
    return {"rising": f"↗ {_('rising')}", "falling": f"↘ {_('falling')}", "stable": f"→ {_('stable')}"}[
        direction
    ]


def volatility_text(_: Translator, volatility: float, spread: float) -> str:
    """How much a forecast moves, beside how much the sensor does."""
    share = volatility / spread if spread > 0 else 0.0
    if share < 0.05:
        return _("hardly moves")
    return _("moves as usual") if share < 0.35 else _("swings widely")


def duration_text(_: Translator, time: timedelta) -> str:
    """A length of time in its largest fitting unit.

    >>> lasting(Words(), timedelta(minutes=90)), lasting(Words("pt"), timedelta(days=3))
    ('90 min', '3 d')
    """
    seconds = time.total_seconds()
    for size, name in ((86_400, _("d")), (3_600, _("h")), (60, _("min"))):
        if seconds >= 2 * size or seconds == size:
            return f"{_.number(seconds / size, 3)} {name}"
    return f"{_.number(seconds, 3)} {_('s')}"


def drift_verdict_text(_: Translator, verdict: DriftVerdict) -> tuple[int, str]:
    """What a drift check came to, with its weight."""
    return {
        DriftVerdict.STEADY: (0, _("steady")),
        DriftVerdict.WITHHELD: (1, _("too little history")),
        DriftVerdict.NO_DATA: (1, _("no reading came")),
        DriftVerdict.AGED: (2, _("window has aged")),
        DriftVerdict.DRIFTED: (3, _("drifted")),
    }[verdict]


def grade_cards(_: Translator, kind: Kind, metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """The two grades that tell most of a version: label, value, what it is."""
    if kind is Kind.DETECTOR:
        requested = (
            ("recall_mean", _("Faults found"), _("of known faults put into held-out readings")),
            ("false_alarms_per_day", _("False alarms a day"), _("on the untouched readings")),
        )
    else:
        requested = (
            ("skill", _("Skill"), _("error below the best naive forecast's")),
            ("coverage", _("Coverage"), _("later readings inside the band; 95 % promised")),
        )
    cards = []
    for name, label, below in requested:
        value = metrics.get(name)
        if value is not None and isfinite(value):
            value_text = _.number(value, 2) if name.endswith("per_day") else _.percent(value)
            cards.append((label, value_text, below))
    return cards


def kind_name(_: Translator, kind: str) -> str:
    """What a kind of model is called."""
    return {"detector": _("detector"), "forecaster": _("forecaster")}[kind]


def _rate_skill(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    skill = metrics.get("skill")
    if skill is None:
        return None
    weight, meaning = NOTE_WEIGHT, _("hardly better than the naive forecast")
    if skill <= 0:
        weight, meaning = POOR_WEIGHT, _("no better than the naive forecast")
    elif skill >= 0.1:
        weight, meaning = GOOD_WEIGHT, _("clearly better than the naive forecast")
    help_ = _("the error below that of the best naive forecast (the last value, or a day or a week ago)")
    return RatedMeasure(_("Skill"), f"{'+' if skill > 0 else ''}{_.percent(skill)}", weight, meaning, help_)


def _rate_error(
    _: Translator, label: str, error: float | None, unit: str, spread: float
) -> RatedMeasure | None:
    if error is None:
        return None
    help_ = _("the mean error; with RMSE, large misses weigh more. The range is where 90 % of readings lie")
    value = f"{_.number(error, 3)} {unit}".strip()
    if spread <= 0:
        return RatedMeasure(label, value, NOTE_WEIGHT, "", help_)
    share = error / spread
    weight = GOOD_WEIGHT if share < 0.05 else NOTE_WEIGHT if share < 0.15 else POOR_WEIGHT
    size = (_("small"), _("moderate"), _("large"))[weight]
    meaning = _("{size}: {share} of its range", size=size, share=_.percent(share))
    return RatedMeasure(label, value, weight, meaning, help_)


def _rate_mape(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    mape, share = metrics.get("mape"), metrics.get("mape_share_used", 1.0)
    help_ = _("the mean error in percent of the reading; readings near zero are left out")
    if mape is None or share == 0:
        return RatedMeasure(_("MAPE"), "-", NOTE_WEIGHT, _("cannot be said near zero"), help_)
    weight = GOOD_WEIGHT if mape < 10 else NOTE_WEIGHT if mape < 20 else POOR_WEIGHT
    meaning = (_("good"), _("fair"), _("poor"))[weight]
    if share < 0.9:
        weight, meaning = (
            max(weight, NOTE_WEIGHT),
            _("rests on {share} of the readings", share=_.percent(share)),
        )
    return RatedMeasure(_("MAPE"), f"{_.number(mape, 3)} %", weight, meaning, help_)


def _rate_mase(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    mase = metrics.get("mase")
    if mase is None:
        return None
    weight = GOOD_WEIGHT if mase < 0.8 else NOTE_WEIGHT if mase < 1.1 else POOR_WEIGHT
    meanings = (
        _("better than repeating yesterday"),
        _("like repeating yesterday"),
        _("worse than repeating yesterday"),
    )
    help_ = _("the mean error in units of the change from one day to the next; below 1 is good")
    return RatedMeasure(_("MASE"), _.number(mase, 3), weight, meanings[weight], help_)


def _rate_coverage(_: Translator, metrics: Mapping[str, float]) -> RatedMeasure | None:
    coverage = metrics.get("coverage")
    if coverage is None:
        return None
    weight, meaning = GOOD_WEIGHT, _("the band keeps its word")
    if coverage < 0.9:
        weight, meaning = (POOR_WEIGHT if coverage < 0.8 else NOTE_WEIGHT), _("the band is too narrow")
    elif coverage > 0.99:
        weight, meaning = NOTE_WEIGHT, _("the band is wider than needed")
    help_ = _("the share of later readings inside the band; 95 % are promised")
    return RatedMeasure(_("Coverage"), _.percent(coverage), weight, meaning, help_)
