"""What models, gates and checks wrote down, told in the reader's words and numbers.

Knows the sentences that are kept with scores, alerts, versions and drift checks: in English, as they were
written. What it does not know stays as it is written.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

from babel.numbers import get_decimal_symbol, get_group_symbol

from monitoring.i18n.translation import Translator

NUMBER_PATTERN = r"[-+]?[\d.,]*\d(?:e[-+]?\d+)?"
BLANK_PATTERNS = {  # what may stand in a blank, by its name
    "value": rf"{NUMBER_PATTERN}(?: [^\s;:,()]+)?",
    "time": rf"{NUMBER_PATTERN} (?:s|min|h|d)",
    "readings": r"[\d,]+ readings?",
    "share": rf"{NUMBER_PATTERN} ?%",
    "moment": r"\d{4}-\d\d-\d\d \d\d:\d\d",
    "size": rf"(?:over )?{NUMBER_PATTERN}",
    "number": NUMBER_PATTERN,
    "name": r"[^:;]+?",
    "rest": r".+?",
}


def _(text: str) -> str:
    """Marks a sentence for the catalogues."""
    return text


# It stands behind another sentence as well.
ADVICE_SENTENCES = (
    _("Retrain."),
    _("Retrain on newer readings."),
    _("Look at the process; retrain once this is the new normal."),
    _("Check and recalibrate the instrument; do not retrain on these readings."),
    _("Compare with a neighbouring instrument: recalibrate if only this one moved, retrain if all did."),
)
# As it was written: as it is told. A blank is named for what stands in it, with a digit behind where there
# are several.
REWORDED_SENTENCES = {
    (
        "no single feature stands out (the loudest at {number1} robust sd); together the "
        "last {number} readings are unlike those learned from"
    ): _("nothing stands out by itself; together the last {number} readings are unlike those learned from"),
    "level {value} is {size} robust sd above its usual course of {value2} at this time": _(
        "{value} is {size} usual deviations above the {value2} that is usual at this time"
    ),
    "level {value} is {size} robust sd below its usual course of {value2} at this time": _(
        "{value} is {size} usual deviations below the {value2} that is usual at this time"
    ),
    "level {value} is {size} robust sd above the usual {value2}": _(
        "{value} is {size} usual deviations above the usual {value2}"
    ),
    "level {value} is {size} robust sd below the usual {value2}": _(
        "{value} is {size} usual deviations below the usual {value2}"
    ),
    "the last {number} readings scatter {size} robust sd more than usual": _(
        "the last {number} readings scatter more than usual, by {size} usual deviations"
    ),
    "the last {number} readings scatter {size} robust sd less than usual": _(
        "the last {number} readings scatter less than usual, by {size} usual deviations"
    ),
    "the last {number} readings run {size} robust sd above the last {number2}": _(
        "the last {number} readings are {size} usual deviations above the last {number2}"
    ),
    "the last {number} readings run {size} robust sd below the last {number2}": _(
        "the last {number} readings are {size} usual deviations below the last {number2}"
    ),
    "{value} is {size} robust sd above what the readings before it foretold": _(
        "{value} is {size} usual deviations above what the readings before it foretold"
    ),
    "{value} is {size} robust sd below what the readings before it foretold": _(
        "{value} is {size} usual deviations below what the readings before it foretold"
    ),
    "changed by {value} in one step, {size} robust sd of its usual step": _(
        "changed by {value} in one step, which is {size} usual deviations of a step"
    ),
    "nothing came since {moment} UTC; it speaks every {time}": _(
        "nothing has come since {moment}; usually a reading comes every {time}"
    ),
    (
        "{number} alerts at once (a flood is {number2} in {time}); the first was {name} at "
        "{moment} UTC: {rest}"
    ): _("{number} alerts at once; the first was {name} at {moment}: {rest}"),
    "level moved by {value} ({number} sd)": _("the level moved by {value} ({number} usual deviations)"),
    "as usual ({rest}, p {number})": _("as usual ({rest})"),
}
# Told as it was written.
KNOWN_SENTENCES = (
    _("the last {number} readings could be foretold {number2} times worse than usual"),
    _("the last {number} readings could be foretold {number2} times better than usual"),
    _("has not moved for {time}, usually at most {time2}"),
    _("has not moved for at least {time}, usually at most {time2}"),
    _("has not moved for {readings}, usually at most {number}"),
    _("has not moved for at least {readings}, usually at most {number}"),
    _("has not moved from {value} for {time} ({readings})"),
    _("{value} is beyond the range, which ends at {value2}"),
    _("{value} came marked as bad"),
    _("in {time} it will probably ({share}) cross the upper critical limit of {value}"),
    _("in {time} it will probably ({share}) cross the lower critical limit of {value}"),
    _("{value} is beyond the upper critical limit of {value2}"),
    _("{value} is beyond the lower critical limit of {value2}"),
    _("passed: {rest}"),
    _("refused: {rest}"),
    _("skill {number} against the naive forecast"),
    _("{share} of truths inside the band"),
    _("no champion to compare with"),
    _("mean error {number}, champion {number2}"),
    _("{number} false alarms a day, at most {number2} allowed"),
    _("finds {share} of injected faults, a robust z-score {share2}"),
    _("finds {share} of faults, champion {share2}"),
    _("catches {number} of {number2} confirmed anomalies, champion {number3}"),
    _("raises {number} of {number2} alarms judged false, champion {number3}"),
    _(
        "raises {number} of {number2} alarms judged false, champion {number3} ({number4} of "
        "its {number5} judged alarms were right)"
    ),
    _("a slow slope, {value} a day"),
    _("a slope, {value} in {time}"),
    _("lowest readings moved by {value}"),
    _("highest readings moved by {value}"),
    _("{share} of the readings missing, {share2} in the window"),
    _("sampling changed: a reading every {time} instead of {time2}"),
    _("noise doubled (x{number})"),
    _("noise halved (x{number})"),
    _("noise grew x{number}"),
    _("noise shrank x{number}"),
    _("spread doubled (x{number})"),
    _("spread halved (x{number})"),
    _("spread grew x{number}"),
    _("spread shrank x{number}"),
    _("daily cycle turned upside down"),
    _("daily cycle lost"),
    _("daily cycle only x{number} as deep"),
    _("daily cycle x{number} as deep"),
    _("anomaly scores rose by {number}"),
    _("forecast errors grew x{number}"),
    _("constant at {value} for {readings}, now {value2} to {value3}"),
    _("stuck at {value} for {readings}"),
    _("so did {name} of {name2}"),
    _("none of the {number} other sensors of {name} moved"),
    _("faults of the instrument: {name}"),
    _("the window has aged: {time} later this sensor moves as far by itself ({rest})"),
    _("no readings since the window"),
    _("the window holds no readings; verdict withheld"),
    _("window too thin to calibrate: {readings} in {number} blocks; verdict withheld"),
    *ADVICE_SENTENCES,
    _("no reading was received"),
    _("no readings yet; run: safeplan load FILE"),
    _("{number} gap, the longest {time} from {moment}"),
    _("{number} gaps, the longest {time} from {moment}"),
    _("{number} good reading of {number2}: too few for a model"),
    _("{number} good readings of {number2}: too few for a model"),
    _("{share} of the time covered at one reading every {time}"),
    _("at rest may be a stop or a dead signal: give {name} a physical range to tell them apart"),
    _("irregular sampling: {share} of the intervals fit no multiple of {time}"),
    _("wrong step: declared every {time}, sends every {time2}"),
    _("tied values: {share} of the readings repeat the one before; the rest moves in steps of {value}"),
    _("constant: never moved from {value}"),
    _("{name}: {readings} ({share}), once {rest} from {moment}"),
    _("{name}: {readings} ({share}), {number} times, the longest {rest} from {moment}"),
    _("{name}: {readings} ({share}), {number} times, such as {rest} from {moment}"),
    _("{time} at {value}"),
    _("{value} between {value2} and {value3}"),
    _("missing value"),
    _("out of range"),
    _("marked bad"),
    _("spike"),
    _("dropout"),
    _("frozen"),
    _("stuck at a limit"),
    _("at rest"),
    _("silent"),
)


class SentenceMatch(NamedTuple):
    """The sentence a text is, by its English words, and what stands in its blanks."""

    text: str
    blanks: Mapping[str, str]


def translate_reason(words: Translator, text: str) -> str:
    """A text in the reader's language, sentence by sentence.

    >>> retold(Words("pt"), "level 16.5 is 4.2 robust sd above the usual 12")
    '16,5 está 4,2 desvios habituais acima do habitual, 12'
    """
    if (found := _match_sentence(text)) is not None:
        return words(
            found.text, **{name: _fill_blank(words, name, said) for name, said in found.blanks.items()}
        )
    for advice in ADVICE_SENTENCES:
        if text.endswith(f" {advice}"):
            return f"{translate_reason(words, text.removesuffix(f' {advice}'))} {words(advice)}"
    if "; " in text:
        return "; ".join(translate_reason(words, part) for part in text.split("; "))
    return text


@lru_cache(maxsize=20_000)
def _match_sentence(text: str) -> SentenceMatch | None:
    for pattern, told in SENTENCE_PATTERNS:
        if (match := pattern.fullmatch(text)) is not None:
            return SentenceMatch(told, match.groupdict())
    return None


def _fill_blank(words: Translator, name: str, said: str) -> str:
    match name.rstrip("0123456789"):
        case "name" | "rest":
            return translate_reason(words, said)
        case "moment":
            return words.moment(datetime.fromisoformat(said))
        case "readings":
            count = int(said.split(maxsplit=1)[0].replace(",", ""))
            return words.plural("{count} reading", "{count} readings", count)
        case _:
            over = said.startswith("over ")
            number = _localize_numbers(words, said.removeprefix("over "))
            return words(_("over {number}"), number=number) if over else number


def _localize_numbers(words: Translator, said: str) -> str:
    """Numbers with the language's own signs, never parted from their unit at the end of a line."""
    signs = {".": get_decimal_symbol(words.language), ",": get_group_symbol(words.language)}
    swapped = re.sub(
        r"(?<![^\W\d_])\d[\d.,]*", lambda match: "".join(signs.get(c, c) for c in match[0]), said
    )
    return re.sub(r"(\d) ?%", "\\1\u00a0%", swapped).replace(" ", "\u00a0")


def _compile_pattern(written: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", written)
    texts, names = parts[::2], parts[1::2]
    blanks = [f"(?P<{name}>{BLANK_PATTERNS[name.rstrip('0123456789')]})" for name in names]
    return re.compile(
        "".join(re.escape(text) + blank for text, blank in zip(texts, [*blanks, ""], strict=True))
    )


SENTENCE_PATTERNS = tuple(
    (_compile_pattern(written), told)
    for written, told in (*REWORDED_SENTENCES.items(), *((text, text) for text in KNOWN_SENTENCES))
)
