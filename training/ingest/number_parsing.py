"""Numbers as people, spreadsheets and historians write them.

Knows text codes, decimal commas and thousands, and refuses to guess. Whether a number makes sense for its
sensor belongs to `judging`.
"""

import re
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from training.ingest.load_report import CODE, Reason

PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?")
ONE_GROUP = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
GROUPED_WITH_POINT = re.compile(r"[+-]?\d{1,3}(([,' ]\d{3})+\.\d+|([,' ]\d{3}){2,})")
GROUPED_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(([.' ]\d{3})+,\d+|([.]\d{3}){2,})")
NOTHING = frozenset({"", "null", "none", "na", "n/a", "#n/a", "-", "--"})
NOT_FINITE = frozenset({"nan", "inf", "infinity", "1.#inf", "1.#ind", "1.#qnan"})

Values = tuple[npt.NDArray[np.float64], npt.NDArray[np.int8]]


def read_numbers(column: pa.Array, *, decimal: str, text_codes: Collection[str]) -> Values:
    """The values of a column, NaN where there is none, and the code of each row's reason (0 where plain).

    With `decimal` ".", a number such as 1,234 is refused: it could be either. A point is always decimal.
    """
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _of_numbers(column)
    column = pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
    try:
        return _finite(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(column, PLAIN)
    values, reasons = _finite(pc.cast(pc.if_else(plain, column, "0"), pa.float64()))
    odd = ~plain.to_numpy(zero_copy_only=False)
    codes = {code.casefold() for code in text_codes}
    values[odd], reasons[odd] = _each_once(
        column.filter(pa.array(odd)), lambda text: read_odd_number(text, decimal=decimal, text_codes=codes)
    )
    return values, reasons


def read_odd_number(text: str, *, decimal: str, text_codes: Collection[str]) -> tuple[float, Reason]:
    """What a text that is no plain number means.

    >>> read_odd_number("1.234,5", decimal=".", text_codes=())
    (1234.5, <Reason.THOUSANDS: 'thousands separators left out'>)
    """
    folded = text.casefold().replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    if folded in NOTHING:
        return np.nan, Reason.EMPTY
    if folded in text_codes:
        return np.nan, Reason.TEXT_CODE
    if folded.lstrip("+-") in NOT_FINITE:
        return np.nan, Reason.NOT_FINITE
    return _with_separators(folded, decimal)


def read_quality(column: pa.Array | None, rows: int, *, codes: dict[str, int], unreadable: int) -> Values:
    """The data_quality of each row; a row that says nothing is good. Unreadable ones get that number."""
    if column is None:
        return np.zeros(rows), np.zeros(rows, np.int8)
    folded = {text.casefold(): float(code) for text, code in codes.items()}

    def meaning(text: str) -> tuple[float, Reason | None]:
        if text.casefold() in folded:
            return folded[text.casefold()], None
        if re.fullmatch(r"[+-]?\d{1,9}(\.0*)?", text):
            return float(text), None
        return (0.0, None) if not text else (float(unreadable), Reason.UNREADABLE_QUALITY)

    return _each_once(pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null(""), meaning)


def _with_separators(text: str, decimal: str) -> tuple[float, Reason]:
    if GROUPED_WITH_POINT.fullmatch(text):
        return float(re.sub("[,' ]", "", text)), Reason.THOUSANDS
    if GROUPED_WITH_COMMA.fullmatch(text):
        return float(re.sub("[.' ]", "", text).replace(",", ".")), Reason.THOUSANDS
    if decimal == "." and ONE_GROUP.fullmatch(text):
        return np.nan, Reason.AMBIGUOUS_NUMBER
    if COMMA.fullmatch(text):
        return float(text.replace(",", ".")), Reason.DECIMAL_COMMA
    return np.nan, Reason.NOT_A_NUMBER


def _of_numbers(column: pa.Array) -> Values:
    values, reasons = _finite(column.cast(pa.float64(), safe=False))
    reasons[column.is_null().to_numpy(zero_copy_only=False)] = CODE[Reason.EMPTY]
    return values, reasons


def _finite(numbers: pa.Array) -> Values:
    values = np.array(numbers.to_numpy(zero_copy_only=False), float)
    return values, np.where(np.isfinite(values), 0, CODE[Reason.NOT_FINITE]).astype(np.int8)


def _each_once(texts: pa.Array, meaning: Callable[[str], tuple[float, Reason | None]]) -> Values:
    coded = pc.dictionary_encode(texts)
    found = [meaning(text) for text in coded.dictionary.to_pylist()]
    at = coded.indices.to_numpy(zero_copy_only=False)
    values = np.array([value for value, _ in found], float)
    reasons = np.array([CODE[reason] for _, reason in found], np.int8)
    return values[at], reasons[at]
