"""Numbers are parsed, or refused where they are ambiguous; never guessed."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.ingest.load_report import REASONS, RowReason
from training.ingest.number_parsing import parse_formatted_number, parse_numbers, parse_quality


def read(*cells: str | None, decimal: str = ".") -> tuple[list[float], list[RowReason | None]]:
    values, reasons = parse_numbers(
        pa.array(cells, pa.string()), decimal=decimal, text_codes=["Bad", "Scan Off"]
    )
    return values.tolist(), [REASONS[code] for code in reasons]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.booleans())
def test_plain_numbers_are_parsed_to_the_last_digit(numbers, with_text):
    """Also where another row of the column is a text."""
    values, reasons = read(*map(repr, numbers), *["Bad"] * with_text)

    assert values[: len(numbers)] == numbers
    assert reasons[: len(numbers)] == [None] * len(numbers)


@pytest.mark.parametrize("text", ["5", " 5 ", "+5", "5.", "5e0", "05", ".5e1"])
def test_every_notation_of_a_plain_number_is_parsed(text):
    assert read(text, "Bad")[0][0] == 5


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", RowReason.EMPTY),
        (None, RowReason.EMPTY),
        ("NULL", RowReason.EMPTY),
        ("bad", RowReason.TEXT_CODE),
        ("Scan Off", RowReason.TEXT_CODE),
        ("NaN", RowReason.NOT_FINITE),
        ("-inf", RowReason.NOT_FINITE),
        ("1e400", RowReason.NOT_FINITE),
        ("1,234", RowReason.AMBIGUOUS_NUMBER),
        ("12 bar", RowReason.NOT_A_NUMBER),
        ("0x10", RowReason.NOT_A_NUMBER),
        ("1_000", RowReason.NOT_A_NUMBER),
        ("1,2,3", RowReason.NOT_A_NUMBER),
        ("--5", RowReason.NOT_A_NUMBER),
        (",", RowReason.NOT_A_NUMBER),
    ],
)
def test_a_text_that_is_not_a_number_is_refused_with_its_reason(text, reason):
    values, reasons = read(text, "5")

    assert reasons == [reason, None]
    assert not np.isfinite(values[0])


@pytest.mark.parametrize(
    ("text", "decimal", "value", "reason"),
    [
        ("1,5", ".", 1.5, RowReason.DECIMAL_COMMA),
        ("-0,125", ".", -0.125, RowReason.DECIMAL_COMMA),
        ("\N{MINUS SIGN}1,5e3", ".", -1500, RowReason.DECIMAL_COMMA),
        ("1,234", ",", 1.234, RowReason.DECIMAL_COMMA),
        ("1,234.5", ".", 1234.5, RowReason.THOUSANDS),
        ("1,234,567", ".", 1234567, RowReason.THOUSANDS),
        ("1.234,5", ",", 1234.5, RowReason.THOUSANDS),
        ("1.234.567", ",", 1234567, RowReason.THOUSANDS),
        ("1\N{NO-BREAK SPACE}234,5", ",", 1234.5, RowReason.THOUSANDS),
        ("1'234.5", ".", 1234.5, RowReason.THOUSANDS),
    ],
)
def test_formatted_numbers_are_corrected(text, decimal, value, reason):
    assert parse_formatted_number(text, decimal=decimal, text_codes=()) == (value, reason)


def test_numeric_columns_need_no_parsing():
    values, reasons = parse_numbers(pa.array([1, None, 3]), decimal=".", text_codes=())

    assert values[[0, 2]].tolist() == [1, 3]
    assert [REASONS[code] for code in reasons] == [None, RowReason.EMPTY, None]


def test_quality_is_a_text_or_a_number_and_anything_else_is_bad():
    column = pa.array(["0", "Good", "BAD", "", None, "3", "??", "9999999999"])

    values, reasons = parse_quality(column, 8, codes={"good": 0, "bad": 1}, unreadable=1)

    assert values.tolist() == [0, 0, 1, 0, 0, 3, 1, 1]
    assert [REASONS[code] for code in reasons] == [None] * 6 + [RowReason.UNREADABLE_QUALITY] * 2
