"""Times on the command line: read in the time zone of the site, or with an offset of their own.

A maintenance window typed from the wall clock of the control room must not be off by the site's offset.
"""

from datetime import UTC, datetime, tzinfo
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer


def read_time_option(text: str) -> datetime:
    """The value of an option as naive UTC, or a usage error that states what is expected."""
    from monitoring.i18n.translation import SiteSettings
    from training.settings import load_settings

    try:
        return parse_site_time(text, ZoneInfo(load_settings(SiteSettings).zone))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def parse_site_time(text: str, zone: tzinfo) -> datetime:
    """A time as naive UTC; one without an offset is in `zone`.

    >>> parse_site_time("2026-01-31T06:00", ZoneInfo("America/Sao_Paulo"))
    datetime.datetime(2026, 1, 31, 9, 0)
    >>> parse_site_time("2026-01-31T06:00Z", ZoneInfo("America/Sao_Paulo"))
    datetime.datetime(2026, 1, 31, 6, 0)

    Raises:
        ValueError: the text is no time, or the clocks were set forward over it or back to it.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"{text!r} is not a time; use for example 2026-01-31, 2026-01-31T06:00 or 2026-01-31T06:00Z."
        ) from None
    if at.tzinfo is not None:
        return at.astimezone(UTC).replace(tzinfo=None)
    first, second = (at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first != second:
        raise ValueError(
            f"{text!r} is ambiguous or skipped in {zone} because the clocks change; add an offset, such as "
            f"{text}Z for UTC."
        )
    return first.replace(tzinfo=None)


TIME_OPTION: dict[str, Any] = {
    "parser": read_time_option,
    "metavar": "TIME",
    "help": "A time in the time zone of the site, such as 2026-01-31T06:00, or with an offset or Z.",
}
OptionalTime = Annotated[datetime | None, typer.Option(**TIME_OPTION)]
