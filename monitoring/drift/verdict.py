"""What a drift check concludes: verdict, likely origin, and the advice that follows from both.

Does not decide whether there is drift; that is `comparison`. Rows are stored by `store`.
"""

from enum import StrEnum

from training.reasons import Reason, ReasonCode


class DriftVerdict(StrEnum):
    """The conclusion of a check."""

    STEADY = "steady"
    DRIFTED = "drifted"
    AGED = "aged"  # moved as far as this sensor moves in so much time; the window is out of date
    WITHHELD = "withheld"  # too little history for a verdict
    NO_DATA = "silent"  # quoted


class DriftOrigin(StrEnum):
    """The likely cause of a drift."""

    INSTRUMENT = "instrument"
    PROCESS = "process"
    MODEL = "model"


ADVICE_CODES = {
    DriftOrigin.INSTRUMENT: ReasonCode.ADVICE_INSTRUMENT,
    DriftOrigin.PROCESS: ReasonCode.ADVICE_PROCESS,
    DriftOrigin.MODEL: ReasonCode.ADVICE_MODEL,
    None: ReasonCode.ADVICE_COMPARE,
}


def advice_for(verdict: DriftVerdict, origin: DriftOrigin | None) -> tuple[Reason, ...]:
    """What to do about a verdict: one reason, or none where nothing needs to be done.

    >>> [reason.code.value for reason in advice_for(DriftVerdict.DRIFTED, DriftOrigin.MODEL)]
    ['advice_model']
    """
    if verdict is DriftVerdict.AGED:
        return (Reason(ReasonCode.ADVICE_AGED),)
    return (Reason(ADVICE_CODES[origin]),) if verdict is DriftVerdict.DRIFTED else ()
