"""The words of pages and reports in the reader's language: gettext catalogues, numbers and times.

Knows `conf/locale/<language>.po` and how a language writes a number and a moment. Code is written in English;
a sentence that a catalogue lacks stays English. Texts that models and people wrote are data and stay as they
are.
"""

import gettext
import io
import os
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import PoFileError, read_po
from babel.numbers import format_decimal
from pydantic import field_validator

from training.errors import ConfigurationError
from training.settings import PACKAGED_CONF, Settings, conf_folder, load_settings

ENGLISH = "en"
# How a day is written in a control room; the hour is always of 24.
DATETIME_PATTERNS = {"en": "yyyy-MM-dd HH:mm", "pt": "dd/MM/yyyy HH:mm"}


class SiteSettings(Settings, file="monitoring", section="site"):
    """Who reads pages and reports, and by which clock they live."""

    language: str = ENGLISH
    zone: str = "UTC"

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, IsADirectoryError) as error:
            raise ValueError("no time zone has this name; one looks like America/Sao_Paulo") from error
        return name


class Translator:
    """One language and one clock, by which sentences, numbers and moments are written.

    >>> _ = Words("pt")
    >>> _("critical"), _.number(1234.5), _.moment(datetime(2026, 1, 31, 6))
    ('crítico', '1.234,5', '31/01/2026 06:00')
    """

    def __init__(self, language: str = ENGLISH, zone: str = "UTC") -> None:
        self.language = language
        self.zone = ZoneInfo(zone)
        self._catalogue = load_catalogue(language)
        self._locale = Locale.parse(language)

    def __call__(self, text: str, **values: object) -> str:
        """A sentence; `{name}` in it is filled with the value of that name."""
        return self._catalogue.gettext(text).format(**values)

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """A sentence about a number of things; `{count}` in it is that number.

        >>> Words("pt").plural("{count} alert", "{count} alerts", 1200)
        '1.200 alertas'
        """
        return self._catalogue.ngettext(one, many, count).format(count=self.number(count), **values)

    def number(self, value: float, digits: int = 5) -> str:
        """A number with so many significant digits, or all that are before its point."""
        rounded = float(f"{value:.{digits}g}") if abs(value) < 10**digits else round(value)
        return format_decimal(rounded, locale=self._locale, decimal_quantization=False)

    def percent(self, share: float) -> str:
        """A share in [0, 1] as a whole percentage.

        >>> Words().percent(0.815)
        '82 %'
        """
        return f"{self.number(round(100 * share))} %"

    def moment(self, at: datetime, pattern: str | None = None) -> str:
        """A time (naive UTC) by the reader's clock."""
        used_pattern = pattern or DATETIME_PATTERNS.get(self.language, DATETIME_PATTERNS[ENGLISH])
        return format_datetime(
            at.replace(tzinfo=UTC).astimezone(self.zone), used_pattern, locale=self._locale
        )


def load_translator(language: str | None = None, zone: str | None = None) -> Translator:
    """The words of a language by a clock; what is not said is as conf/monitoring.yaml has it.

    Raises:
        ConfigurationError: there is no such catalogue.
    """
    site = load_settings(SiteSettings)
    return Translator(language or site.language, zone or site.zone)


def available_languages() -> tuple[str, ...]:
    """Those that can be chosen, English first."""
    codes = {path.stem for folder in _catalogue_folders() for path in folder.glob("*.po")}
    return (ENGLISH, *sorted(codes - {ENGLISH}))


def load_catalogue(language: str) -> gettext.NullTranslations:
    """One language's sentences: those shipped, over them the plant's own from its conf folder.

    Raises:
        ConfigurationError: there is no such catalogue, or it cannot be read.
    """
    if language not in available_languages():
        raise ConfigurationError(
            f"There are no words for {language!r}; there are for {', '.join(available_languages())}. "
            "Set site.language to one of them, or write conf/locale/<language>.po."
        )
    translations: gettext.NullTranslations = gettext.NullTranslations()
    for folder in _catalogue_folders():
        path = folder / f"{language}.po"
        if path.exists():
            loaded = _load_translations(path, path.stat().st_mtime_ns)
            loaded.add_fallback(translations)
            translations = loaded
    return translations


def _catalogue_folders() -> tuple[Path, ...]:
    """Where catalogues lie; the last one wins."""
    site_folder = conf_folder(os.environ) / "locale"
    shipped = PACKAGED_CONF / "locale"
    return (shipped,) if site_folder.resolve() == shipped.resolve() else (shipped, site_folder)


def _load_translations(path: Path, changed: int) -> gettext.GNUTranslations:
    return gettext.GNUTranslations(io.BytesIO(_compile_catalogue(path, changed)))


@lru_cache(maxsize=16)
def _compile_catalogue(path: Path, _changed: int) -> bytes:
    try:
        with path.open("rb") as file:
            written = read_po(file, locale=path.stem, abort_invalid=True)
    except (PoFileError, OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{path} is no readable gettext catalogue: {error}") from error
    compiled = io.BytesIO()
    write_mo(compiled, written)
    return compiled.getvalue()
