"""Read the system's clock.

Apart from `times`, which imports pandas, so that the command line shows its help fast.
"""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time now as naive UTC."""
    return datetime.now(UTC).replace(tzinfo=None)
