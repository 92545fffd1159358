"""What numbers mean, in words: how good a forecast is for this sensor, how odd a score is.

Knows bounds and sentences. A measure in the sensor's unit is told beside the range in which the sensor moves,
for 3 degrees are little on a furnace and much in a room.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite

from monitoring.drift.store import Verdict
from monitoring.i18n.translation import Words
from training.kinds import Kind

GOOD, NOTE, POOR = 0, 1, 2  # weights of the page's signs


@dataclass(frozen=True)
class Told:
    """A measure with what it means."""

    label: str
    value: str
    weight: int
    words: str
    help: str = ""


def forecast_quality(_: Words, metrics: Mapping[str, float], unit: str, spread: float) -> list[Told]:
    """The grades of a forecaster on held-out readings; `spread` is the range in which the sensor moves."""
    known = {name: value for name, value in metrics.items() if value is not None and isfinite(value)}
    told = [
        _skill(_, known),
        _in_unit(_, _("MAE"), known.get("mae"), unit, spread),
        _in_unit(_, _("RMSE"), known.get("rmse"), unit, spread),
        _mape(_, known),
        _mase(_, known),
        _coverage(_, known),
    ]
    return [one for one in told if one is not None]


def score_words(_: Words, score: float) -> tuple[int, str]:
    """How odd a score is."""
    for bound, weight, word in (
        (0.3, 0, _("normal")),
        (0.6, 1, _("worth a look")),
        (0.9, 3, _("probably an anomaly")),
    ):
        if score < bound:
            return weight, word
    return 4, _("certainly an anomaly")


def direction_words(_: Words, direction: str) -> str:
    """Where a forecast goes, with an arrow."""
    return {"rising": f"↗ {_('rising')}", "falling": f"↘ {_('falling')}", "stable": f"→ {_('stable')}"}[
        direction
    ]


def volatility_words(_: Words, volatility: float, spread: float) -> str:
    """How much a forecast moves, beside how much the sensor does."""
    share = volatility / spread if spread > 0 else 0.0
    if share < 0.05:
        return _("hardly moves")
    return _("moves as usual") if share < 0.35 else _("swings widely")


def lasting(_: Words, time: timedelta) -> str:
    """A length of time in its largest fitting unit.

    >>> lasting(Words(), timedelta(minutes=90)), lasting(Words("pt"), timedelta(days=3))
    ('90 min', '3 d')
    """
    seconds = time.total_seconds()
    for size, name in ((86_400, _("d")), (3_600, _("h")), (60, _("min"))):
        if seconds >= 2 * size or seconds == size:
            return f"{_.number(seconds / size, 3)} {name}"
    return f"{_.number(seconds, 3)} {_('s')}"


def drift_words(_: Words, verdict: Verdict) -> tuple[int, str]:
    """What a drift check came to, with its weight."""
    return {
        Verdict.STEADY: (0, _("steady")),
        Verdict.WITHHELD: (1, _("too little history")),
        Verdict.SILENT: (1, _("no reading came")),
        Verdict.AGED: (2, _("window has aged")),
        Verdict.DRIFTED: (3, _("drifted")),
    }[verdict]


def grades_words(_: Words, kind: Kind, metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """The two grades that tell most of a version: label, value, what it is."""
    if kind is Kind.DETECTOR:
        asked = (
            ("recall_mean", _("Faults found"), _("of known faults put into held-out readings")),
            ("false_alarms_per_day", _("False alarms a day"), _("on the untouched readings")),
        )
    else:
        asked = (
            ("skill", _("Skill"), _("error below the best naive forecast's")),
            ("coverage", _("Coverage"), _("later readings inside the band; 95 % promised")),
        )
    shown = []
    for name, label, below in asked:
        value = metrics.get(name)
        if value is not None and isfinite(value):
            told = _.number(value, 2) if name.endswith("per_day") else _.percent(value)
            shown.append((label, told, below))
    return shown


def kind_name(_: Words, kind: str) -> str:
    """What a kind of model is called."""
    return {"detector": _("detector"), "forecaster": _("forecaster")}[kind]


def _skill(_: Words, known: Mapping[str, float]) -> Told | None:
    skill = known.get("skill")
    if skill is None:
        return None
    weight, words = NOTE, _("hardly better than the naive forecast")
    if skill <= 0:
        weight, words = POOR, _("no better than the naive forecast")
    elif skill >= 0.1:
        weight, words = GOOD, _("clearly better than the naive forecast")
    help_ = _("the error below that of the best naive forecast (the last value, or a day or a week ago)")
    return Told(_("Skill"), f"{'+' if skill > 0 else ''}{_.percent(skill)}", weight, words, help_)


def _in_unit(_: Words, label: str, error: float | None, unit: str, spread: float) -> Told | None:
    if error is None:
        return None
    help_ = _("the mean error; with RMSE, large misses weigh more. The range is where 90 % of readings lie")
    value = f"{_.number(error, 3)} {unit}".strip()
    if spread <= 0:
        return Told(label, value, NOTE, "", help_)
    share = error / spread
    weight = GOOD if share < 0.05 else NOTE if share < 0.15 else POOR
    size = (_("small"), _("moderate"), _("large"))[weight]
    words = _("{size}: {share} of its range", size=size, share=_.percent(share))
    return Told(label, value, weight, words, help_)


def _mape(_: Words, known: Mapping[str, float]) -> Told | None:
    mape, share = known.get("mape"), known.get("mape_share_used", 1.0)
    help_ = _("the mean error in percent of the reading; readings near zero are left out")
    if mape is None or share == 0:
        return Told(_("MAPE"), "-", NOTE, _("cannot be said near zero"), help_)
    weight = GOOD if mape < 10 else NOTE if mape < 20 else POOR
    words = (_("good"), _("fair"), _("poor"))[weight]
    if share < 0.9:
        weight, words = max(weight, NOTE), _("rests on {share} of the readings", share=_.percent(share))
    return Told(_("MAPE"), f"{_.number(mape, 3)} %", weight, words, help_)


def _mase(_: Words, known: Mapping[str, float]) -> Told | None:
    mase = known.get("mase")
    if mase is None:
        return None
    weight = GOOD if mase < 0.8 else NOTE if mase < 1.1 else POOR
    words = (
        _("better than repeating yesterday"),
        _("like repeating yesterday"),
        _("worse than repeating yesterday"),
    )
    help_ = _("the mean error in units of the change from one day to the next; below 1 is good")
    return Told(_("MASE"), _.number(mase, 3), weight, words[weight], help_)


def _coverage(_: Words, known: Mapping[str, float]) -> Told | None:
    coverage = known.get("coverage")
    if coverage is None:
        return None
    weight, words = GOOD, _("the band keeps its word")
    if coverage < 0.9:
        weight, words = (POOR if coverage < 0.8 else NOTE), _("the band is too narrow")
    elif coverage > 0.99:
        weight, words = NOTE, _("the band is wider than needed")
    help_ = _("the share of later readings inside the band; 95 % are promised")
    return Told(_("Coverage"), _.percent(coverage), weight, words, help_)
