"""Format numbers for people: values with units, durations, counts, percentages.

English only; other languages are `monitoring.i18n.translation`.
"""

from datetime import timedelta


def format_value(value: float, unit: str | None = None) -> str:
    """A value with its unit, to five significant digits or whole numbers from 10,000.

    >>> format_value(38596800.0, "Pa"), format_value(0.1, "degC"), format_value(12.0)
    ('38,596,800 Pa', '0.1 degC', '12')
    """
    size = abs(value)
    if size != 0 and (size < 1e-4 or size >= 1e15):
        text = f"{value:.4g}"
    elif size >= 10_000:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.5g}"
    return f"{text} {unit}" if unit else text


def format_duration(time: timedelta) -> str:
    """A duration in the largest unit that fits.

    >>> [format_duration(timedelta(minutes=minutes)) for minutes in (90, 17_280, 1 / 60)]
    ['90 min', '12 d', '1 s']
    """
    seconds = time.total_seconds()
    for size, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.3g} {name}"
    return f"{seconds:.3g} s"


def format_count(count: int, thing: str) -> str:
    """A number of things, with the English plural.

    >>> format_count(1, "gap"), format_count(20868, "reading")
    ('1 gap', '20,868 readings')
    """
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def format_percent(part: float, whole: float) -> str:
    """A share, rounded to 0 % or 100 % only where it is exactly that.

    >>> format_percent(1, 3), format_percent(1, 100_000), format_percent(99_999, 100_000)
    ('33 %', '0.001 %', '99.999 %')
    """
    return f"{percentage(part, whole):.15g} %"


def percentage(part: float, whole: float) -> float:
    """A share in percent, rounded to a whole number, or to one significant digit near 0 and 100; NaN stays.

    >>> percentage(1, 3), percentage(99_999, 100_000)
    (33.0, 99.999)
    """
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 1:
        return float(f"{share:.1g}")
    if 99 < share < 100:
        return 100 - float(f"{100 - share:.1g}")
    return round(share, 0)
