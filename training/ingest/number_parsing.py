"""Parse numbers as people, spreadsheets and historians write them; ambiguous ones are refused.

Handles text codes, decimal commas and thousands separators. Whether a number is plausible for its sensor is
checked in `training.ingest.row_validation`.
"""

import re
from collections.abc import Callable, Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from training.common.arrays import Floats
from training.ingest.load_report import REASON_CODES, RowCodes, RowReason

PLAIN_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?")
ONE_THOUSANDS_GROUP = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
GROUPED_WITH_POINT = re.compile(r"[+-]?\d{1,3}(([,' ]\d{3})+\.\d+|([,' ]\d{3}){2,})")
GROUPED_WITH_COMMA = re.compile(r"[+-]?\d{1,3}(([.' ]\d{3})+,\d+|([.]\d{3}){2,})")
EMPTY_TEXTS = frozenset({"", "null", "none", "na", "n/a", "#n/a", "-", "--"})
NOT_FINITE_TEXTS = frozenset({"nan", "inf", "infinity", "1.#inf", "1.#ind", "1.#qnan"})

ParsedValues = tuple[Floats, RowCodes]


def parse_numbers(column: pa.Array, *, decimal: str, text_codes: Collection[str]) -> ParsedValues:
    """The values of a column, NaN where there is none, and each row's reason (0 for a plain number).

    With `decimal` ".", a number such as 1,234 is refused as ambiguous. A point is always decimal.
    """
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        return _parse_numeric_column(column)
    column = pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null("")
    try:
        return _finite(pc.cast(column, pa.float64()))
    except pa.ArrowInvalid:
        plain = pc.match_substring_regex(column, PLAIN_NUMBER)
    values, reasons = _finite(pc.cast(pc.if_else(plain, column, "0"), pa.float64()))
    unparsed = ~plain.to_numpy(zero_copy_only=False)
    codes = {code.casefold() for code in text_codes}
    values[unparsed], reasons[unparsed] = _map_distinct(
        column.filter(pa.array(unparsed)),
        lambda text: parse_formatted_number(text, decimal=decimal, text_codes=codes),
    )
    return values, reasons


def parse_formatted_number(
    text: str, *, decimal: str, text_codes: Collection[str]
) -> tuple[float, RowReason]:
    """The number and reason of a text that is not a plain number.

    >>> parse_formatted_number("1.234,5", decimal=".", text_codes=())
    (1234.5, <RowReason.THOUSANDS: 'thousands separators removed'>)
    """
    folded = text.casefold().replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    if folded in EMPTY_TEXTS:
        return np.nan, RowReason.EMPTY
    if folded in text_codes:
        return np.nan, RowReason.TEXT_CODE
    if folded.lstrip("+-") in NOT_FINITE_TEXTS:
        return np.nan, RowReason.NOT_FINITE
    return _parse_separated(folded, decimal)


def parse_quality(
    column: pa.Array | None, rows: int, *, codes: dict[str, int], unreadable: int
) -> ParsedValues:
    """The data_quality of each row: 0 (good) where it is empty, `unreadable` where it cannot be read."""
    if column is None:
        return np.zeros(rows), np.zeros(rows, np.int8)
    folded = {text.casefold(): float(code) for text, code in codes.items()}

    def meaning(text: str) -> tuple[float, RowReason | None]:
        if text.casefold() in folded:
            return folded[text.casefold()], None
        if re.fullmatch(r"[+-]?\d{1,9}(\.0*)?", text):
            return float(text), None
        return (0.0, None) if not text else (float(unreadable), RowReason.UNREADABLE_QUALITY)

    return _map_distinct(pc.utf8_trim_whitespace(column.cast(pa.string())).fill_null(""), meaning)


def _parse_separated(text: str, decimal: str) -> tuple[float, RowReason]:
    if GROUPED_WITH_POINT.fullmatch(text):
        return float(re.sub("[,' ]", "", text)), RowReason.THOUSANDS
    if GROUPED_WITH_COMMA.fullmatch(text):
        return float(re.sub("[.' ]", "", text).replace(",", ".")), RowReason.THOUSANDS
    if decimal == "." and ONE_THOUSANDS_GROUP.fullmatch(text):
        return np.nan, RowReason.AMBIGUOUS_NUMBER
    if DECIMAL_COMMA.fullmatch(text):
        return float(text.replace(",", ".")), RowReason.DECIMAL_COMMA
    return np.nan, RowReason.NOT_A_NUMBER


def _parse_numeric_column(column: pa.Array) -> ParsedValues:
    values, reasons = _finite(column.cast(pa.float64(), safe=False))
    reasons[column.is_null().to_numpy(zero_copy_only=False)] = REASON_CODES[RowReason.EMPTY]
    return values, reasons


def _finite(numbers: pa.Array) -> ParsedValues:
    values = np.array(numbers.to_numpy(zero_copy_only=False), float)
    return values, np.where(np.isfinite(values), 0, REASON_CODES[RowReason.NOT_FINITE]).astype(np.int8)


def _map_distinct(texts: pa.Array, meaning: Callable[[str], tuple[float, RowReason | None]]) -> ParsedValues:
    coded = pc.dictionary_encode(texts)
    meanings = [meaning(text) for text in coded.dictionary.to_pylist()]
    at = coded.indices.to_numpy(zero_copy_only=False)
    values = np.array([value for value, _ in meanings], float)
    reasons = np.array([REASON_CODES[reason] for _, reason in meanings], np.int8)
    return values[at], reasons[at]
