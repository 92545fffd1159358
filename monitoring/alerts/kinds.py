"""Types, severities, states, changes and verdicts of alerts, and their names in the reader's language.

The values are those of the table `alerts`, of the command line and of notifications.
"""

from enum import IntEnum, StrEnum

from monitoring.i18n.translation import Translator
from training.data.limits import LimitKind

# By severity, from normal to critical: readable without colours.
SEVERITY_SYMBOLS = ("✓", "○", "●", "▲", "◆")


class AlertType(StrEnum):
    """What an alert is about."""

    LIMIT = "LIMIT"  # a reading has reached a limit of its sensor
    ANOMALY = "ANOMALY"  # anomalous readings
    FORECAST_WARNING = "FORECAST_WARNING"  # a critical limit is forecast to be reached
    DRIFT = "DRIFT"  # readings differ from those the models were trained on
    INSTRUMENT = "INSTRUMENT"  # a fault of the instrument, not of the process


class InstrumentProblem(StrEnum):
    """What can be wrong with an instrument: the subject of its alert."""

    FROZEN = "frozen"
    OUT_OF_RANGE = "out of range"
    SPIKE = "spike"  # a single reading that left and returned
    MARKED_BAD = "marked bad"
    NO_DATA = "silent"  # the stored value of 0.1.0


class Severity(IntEnum):
    """How urgent an alert is."""

    WARNING = 2
    DANGER = 3
    CRITICAL = 4


class AlertState(StrEnum):
    """State of an alert. Acknowledged and shelved are separate: they combine with each state."""

    OPEN = "open"
    RETURNED = "returned"  # to normal; another excursion now belongs to the same episode
    CLOSED = "closed"


class AlertChange(StrEnum):
    """What can happen to an alert; each change is notified once."""

    OPENED = "opened"
    WORSENED = "worsened"
    RETURNED = "returned"
    REPEATED = "repeated"  # another excursion before it was closed
    SETTLED = "settled"  # at a new level: not anomalous any more, and not normal
    ACCEPTED = "accepted"  # the new level, by a person or after the agreed time
    ESCALATED = "escalated"  # not acknowledged in time
    ACKNOWLEDGED = "acknowledged"
    SHELVED = "shelved"
    UNSHELVED = "unshelved"
    JUDGED = "judged"
    CLOSED = "closed"


# Changes that make an operator look: what the alarm budget and the statistics count.
CALLING_CHANGES = (AlertChange.OPENED, AlertChange.REPEATED, AlertChange.WORSENED)


class AlertVerdict(StrEnum):
    """What an operator found the cause of an alert to be."""

    CONFIRM = "confirm"  # a real anomaly
    FALSE = "false"  # a false alarm
    MAINTENANCE = "maintenance"  # work on the equipment: neither an anomaly nor normal operation


def type_name(_: Translator, kind: AlertType) -> str:
    """The name of a type.

    >>> type_name(Translator("pt"), AlertType.INSTRUMENT)
    'Instrumento'
    """
    return {
        AlertType.LIMIT: _("Limit"),
        AlertType.ANOMALY: _("Anomaly"),
        AlertType.FORECAST_WARNING: _("Forecast warning"),
        AlertType.DRIFT: _("Drift"),
        AlertType.INSTRUMENT: _("Instrument"),
    }[kind]


def problem_name(_: Translator, problem: InstrumentProblem) -> str:
    """The name of an instrument problem."""
    return {
        InstrumentProblem.FROZEN: _("frozen"),
        InstrumentProblem.OUT_OF_RANGE: _("out of range"),
        InstrumentProblem.SPIKE: _("spike"),
        InstrumentProblem.MARKED_BAD: _("marked bad"),
        InstrumentProblem.NO_DATA: _("no data"),
    }[problem]


def limit_name(_: Translator, kind: LimitKind) -> str:
    """The name of a kind of limit."""
    return {
        LimitKind.HIGH_HIGH: _("high-high"),
        LimitKind.LOW_LOW: _("low-low"),
        LimitKind.RATE_OF_CHANGE: _("rate of change"),
        LimitKind.HIGH: _("high"),
        LimitKind.LOW: _("low"),
    }[kind]


def severity_name(_: Translator, severity: Severity) -> str:
    """The name of a severity."""
    return {
        Severity.WARNING: _("warning"),
        Severity.DANGER: _("danger"),
        Severity.CRITICAL: _("critical"),
    }[severity]


def severity_label(_: Translator, severity: Severity) -> str:
    """A severity as symbol and word.

    >>> severity_label(Translator("pt"), Severity.CRITICAL)
    '◆ crítico'
    """
    return f"{SEVERITY_SYMBOLS[severity]} {severity_name(_, severity)}"


def state_name(_: Translator, state: AlertState) -> str:
    """The name of a state."""
    return {
        AlertState.OPEN: _("active"),
        AlertState.RETURNED: _("returned to normal"),
        AlertState.CLOSED: _("closed"),
    }[state]


def verdict_name(_: Translator, verdict: AlertVerdict) -> str:
    """The name of a verdict."""
    return {
        AlertVerdict.CONFIRM: _("confirmed anomaly"),
        AlertVerdict.FALSE: _("false alarm"),
        AlertVerdict.MAINTENANCE: _("maintenance"),
    }[verdict]


def alert_count_text(_: Translator, count: int) -> str:
    """A number of alerts with its noun."""
    return _.plural("{count} alert", "{count} alerts", count)
