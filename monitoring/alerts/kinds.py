"""What an alert can be: its type, its severity, where it stands, what happens to it, what people say of it.

Knows names, which are those of the table `alerts` and of every page, and how they read in other languages.
"""

from enum import IntEnum, StrEnum

from monitoring.i18n.translation import Translator

# By severity, from nothing to critical: who does not see the colour sees the shape.
SEVERITY_SYMBOLS = ("✓", "○", "●", "▲", "◆")


class AlertType(StrEnum):
    """What an alert is about."""

    ANOMALY = "ANOMALY"  # the detector finds readings odd
    FORECAST_WARNING = "FORECAST_WARNING"  # a critical limit is going to be crossed
    DRIFT = "DRIFT"  # readings are no longer what the models learned from
    INSTRUMENT = "INSTRUMENT"  # the instrument, not the process: frozen, out of range, silent


class Severity(IntEnum):
    """How bad it is."""

    WARNING = 2
    DANGER = 3
    CRITICAL = 4


class AlertState(StrEnum):
    """Where an alert stands. Acknowledged and shelved are said apart: they go with each of these."""

    OPEN = "open"
    RETURNED = "returned"  # to normal; another excursion now is the same episode
    CLOSED = "closed"


class AlertChange(StrEnum):
    """What can happen to an alert; each is told once."""

    OPENED = "opened"
    WORSENED = "worsened"
    RETURNED = "returned"
    REPEATED = "repeated"  # an excursion again, before it was closed
    ESCALATED = "escalated"  # nobody acknowledged it
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    JUDGED = "judged"
    CLOSED = "closed"


class AlertVerdict(StrEnum):
    """What a person says an alert was."""

    CONFIRM = "confirm"  # something was wrong
    FALSE = "false"  # nothing was wrong
    MAINTENANCE = "maintenance"  # somebody worked there: neither a fault nor the usual course


def type_name(_: Translator, kind: AlertType) -> str:
    """A type as a reader of this language knows it.

    >>> type_name(Words("pt"), AlertType.INSTRUMENT)
    'Instrumento'
    """
    return {
        AlertType.ANOMALY: _("Anomaly"),
        AlertType.FORECAST_WARNING: _("Forecast warning"),
        AlertType.DRIFT: _("Drift"),
        AlertType.INSTRUMENT: _("Instrument"),
    }[kind]


def severity_name(_: Translator, severity: Severity) -> str:
    """A severity in words."""
    return {
        Severity.WARNING: _("warning"),
        Severity.DANGER: _("danger"),
        Severity.CRITICAL: _("critical"),
    }[severity]


def state_name(_: Translator, state: AlertState) -> str:
    """Where an alert stands, in words."""
    return {
        AlertState.OPEN: _("open"),
        AlertState.RETURNED: _("returned to normal"),
        AlertState.CLOSED: _("closed"),
    }[state]


def verdict_name(_: Translator, judgement: AlertVerdict) -> str:
    """A verdict in words."""
    return {
        AlertVerdict.CONFIRM: _("confirmed"),
        AlertVerdict.FALSE: _("false alarm"),
        AlertVerdict.MAINTENANCE: _("maintenance"),
    }[judgement]


def alert_count_text(_: Translator, count: int) -> str:
    """A number of alerts."""
    return _.plural("{count} alert", "{count} alerts", count)
