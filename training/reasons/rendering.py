"""Render reasons as text: one renderer, with numbers, units and times as the reader's language writes them.

English is here, other languages are `monitoring.i18n.translation.Translator`. Does not hold the texts; those
are in `training.reasons.english`.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Protocol

from training.common.formatting import format_count, format_duration, format_percent, format_value
from training.reasons.english import TEMPLATES
from training.reasons.reason import Reason

SEPARATOR = "; "


class Language(Protocol):
    """How one language writes a text and the values in it."""

    def __call__(self, text: str, /) -> str:
        """The text in this language."""

    def quantity(self, value: float, unit: str | None) -> str:
        """A value with its unit."""

    def duration(self, seconds: float) -> str:
        """A length of time."""

    def share(self, share: float) -> str:
        """A share in [0, 1] as a percentage."""

    def moment(self, at: datetime, /) -> str:
        """A time (naive UTC) with its zone."""

    def decimal(self, value: float, digits: int) -> str:
        """A number with at most this many significant digits."""

    def counted(self, count: int, thing: str) -> str:
        """A number of things; `thing` is the English singular: reading or gap."""


class EnglishLanguage:
    """English, times in UTC: what is stored and what the endpoint answers."""

    def __call__(self, text: str, /) -> str:
        """The text as it is."""
        return text

    def quantity(self, value: float, unit: str | None) -> str:
        """A value with its unit: `38.2 bar`."""
        return format_value(value, unit or None)

    def duration(self, seconds: float) -> str:
        """The largest fitting unit: `90 min`."""
        return format_duration(timedelta(seconds=seconds))

    def share(self, share: float) -> str:
        """A percentage, never rounded to all or nothing: `0.001 %`."""
        return format_percent(share, 1)

    def moment(self, at: datetime, /) -> str:
        """`2026-01-31 06:00 UTC`."""
        return f"{at:%Y-%m-%d %H:%M} UTC"

    def decimal(self, value: float, digits: int) -> str:
        """Thousands are separated by commas."""
        return f"{float(f'{value:.{digits}g}'):,.15g}"

    def counted(self, count: int, thing: str) -> str:
        """The English plural."""
        return format_count(count, thing)


ENGLISH = EnglishLanguage()


def render(reason: Reason, language: Language = ENGLISH, *, unit: str | None = None) -> str:
    """One reason as a sentence without a full stop; `unit` is used where the reason holds none.

    >>> from training.reasons.codes import ReasonCode
    >>> render(Reason(ReasonCode.LEVEL_ABOVE, {"value": 16.5, "size": 4.21, "normal": 12.0}), unit="bar")
    'value 16.5 bar is 4.2 robust SDs above normal (12 bar)'
    """
    unit = reason.values.get("unit") or unit
    parts = []
    for literal, name, form in _parsed(language(TEMPLATES[reason.code])):
        parts.append(literal)
        if name:
            parts.append(FORMATS[form](reason.values[name], language, unit))
    return "".join(parts)


def render_all(reasons: Iterable[Reason], language: Language = ENGLISH, *, unit: str | None = None) -> str:
    """Reasons joined by semicolons; empty for none. Advice, a sentence of its own, follows without one."""
    text = ""
    for reason in reasons:
        sentence = render(reason, language, unit=unit)
        separator = ". " if reason.code.name.startswith("ADVICE") else SEPARATOR
        text = f"{text}{separator}{sentence}" if text else sentence
    return text


@lru_cache(maxsize=4_096)
def _parsed(template: str) -> tuple[tuple[str, str, str], ...]:
    """The parts of a template: text, then the name and format of the value behind it."""
    pieces = re.split(r"\{(\w+):(\w+)\}", template)
    names, forms = [*pieces[1::3], ""], [*pieces[2::3], ""]
    return tuple(zip(pieces[::3], names, forms, strict=True))


def _signed(value: float, language: Language, unit: str | None) -> str:
    return f"{'-' if value < 0 else '+'}{language.quantity(abs(float(f'{value:.3g}')), unit)}"


def _size(value: float, language: Language, _: str | None) -> str:
    """One decimal and at most three digits: 4.2, 17.3, 5,030."""
    return language.decimal(round(value, 1) if abs(value) < 100 else value, 3)


def _time(value: datetime | str, language: Language, _: str | None) -> str:
    return language.moment(value if isinstance(value, datetime) else datetime.fromisoformat(value))


def _reasons(value: Reason | Iterable[Reason], language: Language, unit: str | None) -> str:
    return render_all([value] if isinstance(value, Reason) else value, language, unit=unit)


FORMATS: dict[str, Callable[[Any, Language, str | None], str]] = {
    "quantity": lambda value, language, unit: language.quantity(value, unit),
    "signed": _signed,
    "size": _size,
    "factor": lambda value, language, _: language.decimal(value, 3),
    "number": lambda value, language, _: language.decimal(value, 4),
    "count": lambda value, language, _: language.decimal(round(value), 15),
    "readings": lambda value, language, _: language.counted(round(value), "reading"),
    "gaps": lambda value, language, _: language.counted(round(value), "gap"),
    "percent": lambda value, language, _: language.share(value),
    "duration": lambda value, language, _: language.duration(value),
    "time": _time,
    "list": lambda value, _, __: ", ".join(value),
    "text": lambda value, _, __: str(value),
    "reason": _reasons,
}
