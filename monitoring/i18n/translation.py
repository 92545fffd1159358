"""Translate texts and format numbers, units and times for one language and one time zone.

Reads the gettext catalogues `conf/locale/<language>.po`; a text that a catalogue lacks stays English. The
English texts of reasons are in `training.reasons.english`.
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
from pydantic import Field, field_validator

from training.common.formatting import percentage
from training.errors import ConfigurationError
from training.reasons.reason import Reason, load_reasons
from training.reasons.rendering import render_all
from training.settings import PACKAGED_CONF, Settings, conf_folder, load_settings

ENGLISH = "en"
LANGUAGE_VARIABLE = "SAFEPLAN_LANG"  # of one command; the option --lang sets it
# Numeric dates as a control room writes them; the clock has 24 hours in every language.
DATETIME_PATTERNS = {"en": "yyyy-MM-dd HH:mm", "pt": "dd/MM/yyyy HH:mm"}
UNIT_SYMBOLS = {"degC": "°C", "degF": "°F", "m3": "m³", "m3/h": "m³/h", "m3/d": "m³/d"}


class SiteSettings(Settings, file="monitoring", section="site"):
    """Language and time zone of the dashboard, the reports and the notifications."""

    language: str = Field(ENGLISH, description="language of the dashboard, reports and notifications")
    zone: str = Field("UTC", description="time zone in which they show times")

    @field_validator("zone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, IsADirectoryError) as error:
            raise ValueError("unknown time zone; use an IANA name such as America/Sao_Paulo") from error
        return name


class Translator:
    """Texts, numbers, units and times in one language and one time zone.

    It is a `training.reasons.rendering.Language`, so reasons render in the same words.

    >>> _ = Translator("pt")
    >>> _("critical"), _.number(1234.5), _.moment(datetime(2026, 1, 31, 6))
    ('crítico', '1.234,5', '31/01/2026 06:00')
    """

    def __init__(self, language: str = ENGLISH, zone: str = "UTC") -> None:
        self.language = language
        self.zone = ZoneInfo(zone)
        self._catalogue = load_catalogue(language)
        self._locale = Locale.parse(language)

    def __call__(self, text: str, /, **values: object) -> str:
        """A translated text; values, where there are any, replace the `{name}` of their name."""
        translated = self._catalogue.gettext(text)
        return translated.format(**values) if values else translated

    def plural(self, one: str, many: str, count: int, **values: object) -> str:
        """A translated text in the form that the number requires; `{count}` is replaced by the number.

        >>> Translator("pt").plural("{count} alert", "{count} alerts", 1200)
        '1.200 alertas'
        """
        return self._catalogue.ngettext(one, many, count).format(count=self.number(count), **values)

    def reason_text(
        self, reasons: tuple[Reason, ...] | str | None, text: str, *, unit: str | None = None
    ) -> str:
        """The reasons, or their stored JSON, as text; `text` as it is where there are none.

        Rows and tags of version 0.1.0 have only the English text.
        """
        loaded = load_reasons(reasons) if isinstance(reasons, str) else reasons
        # A missing JSON column of a data frame is NaN.
        return render_all(loaded, self, unit=unit) if isinstance(loaded, tuple) and loaded else text

    def number(self, value: float, digits: int = 5) -> str:
        """A number with this many significant digits, and at least all digits before the decimal point."""
        rounded = float(f"{value:.{digits}g}") if abs(value) < 10**digits else round(value)
        return format_decimal(rounded, locale=self._locale, decimal_quantization=False)

    def decimal(self, value: float, digits: int) -> str:
        """A number with at most this many significant digits."""
        return format_decimal(float(f"{value:.{digits}g}"), locale=self._locale, decimal_quantization=False)

    def quantity(self, value: float, unit: str | None) -> str:
        """A value with the symbol of its unit.

        >>> Translator("pt").quantity(38.25, "degC")
        '38,25 °C'
        """
        return f"{self.number(value)} {unit_symbol(unit)}" if unit else self.number(value)

    def duration(self, seconds: float) -> str:
        """A length of time in its two largest units; below two hours in minutes.

        >>> Translator().duration(7740), Translator().duration(5400), Translator().duration(0.25)
        ('2 h 9 min', '90 min', '0.25 s')
        """
        for size, name, part_size, part_name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min")):
            if seconds >= 2 * size or seconds == size:
                whole, parts = divmod(round(seconds / part_size), size // part_size)
                rest = f" {parts} {part_name}" if parts else ""
                return f"{self.number(whole)} {name}{rest}"
        if seconds >= 120 or seconds == 60:
            return f"{self.decimal(seconds / 60, 3)} min"
        return f"{self.decimal(seconds, 3)} s"

    def percent(self, share: float) -> str:
        """A share in [0, 1] as a whole percentage.

        >>> Translator().percent(0.815)
        '82 %'
        """
        return f"{self.number(round(100 * share))} %"

    def share(self, share: float) -> str:
        """A share in [0, 1] as a percentage that is 0 % or 100 % only where it is exact.

        >>> Translator("pt").share(0.00001)
        '0,001 %'
        """
        return f"{self.decimal(percentage(share, 1), 15)} %"

    def moment(self, at: datetime, /, pattern: str | None = None) -> str:
        """A time (naive UTC) in the time zone of the site."""
        return format_datetime(self._local(at), pattern or self.datetime_pattern, locale=self._locale)

    @property
    def datetime_pattern(self) -> str:
        """How the language writes a time, in the letters of Unicode's date formats."""
        return DATETIME_PATTERNS.get(self.language, DATETIME_PATTERNS[ENGLISH])

    def wall_clock(self, at: datetime) -> datetime:
        """A time (naive UTC) as the naive time of the site.

        >>> Translator("pt", "America/Sao_Paulo").wall_clock(datetime(2026, 1, 31, 6))
        datetime.datetime(2026, 1, 31, 3, 0)
        """
        return self._local(at).replace(tzinfo=None)

    def _local(self, at: datetime) -> datetime:
        return at.replace(tzinfo=UTC).astimezone(self.zone)

    def moment_with_zone(self, at: datetime) -> str:
        """A time (naive UTC) in the time zone of the site, with its offset.

        >>> Translator("pt", "America/Sao_Paulo").moment_with_zone(datetime(2026, 1, 31, 6))
        '31/01/2026 03:00 -03:00'
        """
        offset = "UTC" if self.zone.key == "UTC" else self.moment(at, "xxx")
        return f"{self.moment(at)} {offset}"

    def zone_name(self, at: datetime) -> str:
        """The time zone of the site with its offset at a time (naive UTC).

        >>> Translator("pt", "America/Sao_Paulo").zone_name(datetime(2026, 1, 31))
        'America/Sao_Paulo (UTC-03:00)'
        """
        offset = self.moment(at, "xxx")
        return "UTC" if self.zone.key == "UTC" else f"{self.zone.key} (UTC{offset})"

    def counted(self, count: int, thing: str) -> str:
        """A number of things; `thing` is "reading" or "gap".

        >>> Translator("pt").counted(1200, "reading")
        '1.200 leituras'
        """
        if thing == "reading":
            return self.plural("{count} reading", "{count} readings", count)
        if thing == "gap":
            return self.plural("{count} gap", "{count} gaps", count)
        raise ValueError(f"no plural for {thing!r}; add one to Translator.counted")


def unit_symbol(unit: str) -> str:
    """A unit as people write it; sources use ASCII.

    >>> unit_symbol("degC"), unit_symbol("bar")
    ('°C', 'bar')
    """
    return UNIT_SYMBOLS.get(unit, unit)


def load_translator(language: str | None = None, zone: str | None = None) -> Translator:
    """The translator for a language and a time zone.

    By default the language of SAFEPLAN_LANG, then that of conf/monitoring.yaml, whose time zone is used.

    Raises:
        ConfigurationError: there is no catalogue for the language.
    """
    site = load_settings(SiteSettings)
    return Translator(language or os.environ.get(LANGUAGE_VARIABLE) or site.language, zone or site.zone)


def available_languages() -> tuple[str, ...]:
    """The languages that have a catalogue, English first."""
    codes = {path.stem for folder in _catalogue_folders() for path in folder.glob("*.po")}
    return (ENGLISH, *sorted(codes - {ENGLISH}))


def load_catalogue(language: str) -> gettext.NullTranslations:
    """The shipped catalogue of a language, overridden text by text by the one in the site's conf folder.

    Raises:
        ConfigurationError: there is no catalogue for the language, or it cannot be read.
    """
    if language not in available_languages():
        raise ConfigurationError(
            f"There is no catalogue for the language {language!r}; available: "
            f"{', '.join(available_languages())}. Set site.language to one of them, or write "
            "conf/locale/<language>.po."
        )
    translations: gettext.NullTranslations = gettext.NullTranslations()
    for folder in _catalogue_folders():
        path = folder / f"{language}.po"
        if path.exists():
            loaded = gettext.GNUTranslations(io.BytesIO(_compile_catalogue(path, path.stat().st_mtime_ns)))
            loaded.add_fallback(translations)
            translations = loaded
    return translations


def _catalogue_folders() -> tuple[Path, ...]:
    """The folders with catalogues; the last one takes precedence."""
    site_folder = conf_folder(os.environ) / "locale"
    shipped = PACKAGED_CONF / "locale"
    return (shipped,) if site_folder.resolve() == shipped.resolve() else (shipped, site_folder)


@lru_cache(maxsize=16)
def _compile_catalogue(path: Path, _modified_ns: int) -> bytes:
    try:
        with path.open("rb") as file:
            catalogue = read_po(file, locale=path.stem, abort_invalid=True)
    except (PoFileError, OSError, UnicodeDecodeError, ValueError) as error:
        raise ConfigurationError(f"{path} is not a readable gettext catalogue: {error}") from error
    compiled = io.BytesIO()
    write_mo(compiled, catalogue)
    return compiled.getvalue()
