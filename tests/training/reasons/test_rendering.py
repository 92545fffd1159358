"""Reasons: every code has an English text, and storing a reason changes nothing in what it renders to."""

import re
from string import Formatter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.workspaces import parse_time
from training.reasons import Reason, ReasonCode, dump_reasons, load_reasons, render, render_all
from training.reasons.english import TEMPLATES
from training.reasons.rendering import FORMATS, EnglishLanguage

NUMBERS = st.floats(-1e12, 1e12)
COUNTS = st.integers(0, 10**9)
NESTED = st.builds(
    lambda value: Reason(ReasonCode.LIMIT_UPPER_CROSSED, {"value": value, "limit": 1.5}), NUMBERS
)
VALUES = {
    "quantity": NUMBERS,
    "signed": NUMBERS,
    "size": NUMBERS,
    "factor": NUMBERS,
    "number": NUMBERS,
    "count": COUNTS,
    "readings": COUNTS,
    "gaps": COUNTS,
    "percent": st.floats(0, 1),
    "duration": st.floats(0, 1e9),
    "time": st.datetimes(parse_time("1990-01-01"), parse_time("2100-01-01")),
    "list": st.lists(st.text(max_size=5), max_size=3),
    "text": st.text(max_size=20),
    "reason": st.one_of(NESTED, st.lists(NESTED, min_size=1, max_size=3)),
}


def placeholders(code: ReasonCode) -> dict[str, str]:
    """The names in a template with their formats."""
    return {name: form for _, name, form, _ in Formatter().parse(TEMPLATES[code]) if name is not None}


@st.composite
def reasons_with_values(draw) -> Reason:
    code = draw(st.sampled_from(list(ReasonCode)))
    return Reason(code, {name: draw(VALUES[form]) for name, form in placeholders(code).items()})


@pytest.mark.parametrize("code", list(ReasonCode))
def test_every_code_has_an_english_text_with_known_formats(code):
    assert TEMPLATES[code].strip()
    assert set(placeholders(code).values()) <= set(FORMATS)


def test_every_format_is_used_with_a_value_of_its_own_in_these_tests():
    assert set(VALUES) == set(FORMATS)


def test_no_text_belongs_to_an_unknown_code():
    assert set(TEMPLATES) == set(ReasonCode)


@given(reason=reasons_with_values())
def test_every_reason_renders_with_all_its_values_filled_in(reason):
    text = render(reason)

    assert text or reason.code is ReasonCode.TEXT
    if not any(isinstance(value, (str, tuple)) for value in reason.values.values()):
        assert not re.search(r"[{}]", text)


@given(reasons=st.lists(reasons_with_values(), max_size=4))
def test_a_stored_reason_renders_as_the_one_that_was_made(reasons):
    restored = load_reasons(dump_reasons(reasons))

    assert render_all(restored, unit="bar") == render_all(reasons, unit="bar")
    assert dump_reasons(restored) == dump_reasons(reasons)


def test_a_stored_reason_equals_the_one_that_was_made():
    fault = Reason(ReasonCode.TEXT, {"text": "frozen"})
    made = (
        Reason(ReasonCode.DRIFT_INSTRUMENT_FAULTS, {"faults": [fault, fault]}),
        Reason(ReasonCode.DRIFT_NEIGHBOURS_MOVED, {"sensors": ["PT-1", "PT-2"], "platform": "P-48"}),
        Reason(ReasonCode.DRIFT_NO_READINGS),
    )

    assert load_reasons(dump_reasons(made)) == made


def test_numbers_of_numpy_are_stored_as_numbers():
    stored = dump_reasons([Reason(ReasonCode.GATE_COVERAGE, {"coverage": np.float64(0.5)})])

    assert stored == '[{"code":"gate_coverage","coverage":0.5}]'


def test_no_reasons_are_stored_as_nothing():
    assert dump_reasons([]) is None
    assert load_reasons(None) == ()


@pytest.mark.parametrize(
    "stored",
    [
        '[{"code":"reason_of_2030","value":1}]',
        '[{"code":"text","text":"known"},{"code":"reason_of_2030"}]',
        '[{"code":"drift_none_for","reason":{"code":"reason_of_2030"},"p":0.5}]',
        '[{"value":1}]',
        '[{"code":',
        "7",
    ],
)
def test_reasons_that_this_version_does_not_know_are_left_to_the_stored_text(stored):
    """A row that a newer version wrote, or whose JSON was altered, still has its text."""
    assert load_reasons(stored) == ()


@pytest.mark.parametrize(
    ("code", "values", "text"),
    [
        (ReasonCode.LEVEL_ABOVE, {"value": 16.5, "size": 4.21, "normal": 12.0},
         "value 16.5 bar is 4.2 robust SDs above normal (12 bar)"),
        (ReasonCode.LEVEL_BELOW, {"value": -16.5, "size": 5031.7, "normal": 12345.6},
         "value -16.5 bar is 5,030 robust SDs below normal (12,346 bar)"),
        (ReasonCode.DRIFT_LEVEL, {"change": -2.5012, "size": 3.14},
         "level moved by -2.5 bar (3.1 SDs)"),
        (ReasonCode.UNCHANGED_DURATION, {"duration": 5400.0, "normal": 86400.0},
         "has not changed for 90 min (normally at most 1 d)"),
        (ReasonCode.UNCHANGED_READINGS, {"readings": 1, "normal": 1200},
         "has not changed for 1 reading (normally at most 1,200)"),
        (ReasonCode.DRIFT_MISSING, {"now": 0.00001, "window": 0.333},
         "0.001 % of the readings missing, 33 % in the window"),
        (ReasonCode.DRIFT_NO_DATA, {"duration": 7200.0, "time": parse_time("2026-01-31T06:00")},
         "no data for 2 h: the last reading is from 2026-01-31 06:00 UTC"),
        (ReasonCode.DRIFT_NO_DATA, {"duration": 7200.0, "time": "2026-01-31T06:00:00"},
         "no data for 2 h: the last reading is from 2026-01-31 06:00 UTC"),
        (ReasonCode.DRIFT_NEIGHBOURS_MOVED, {"sensors": ["PT-1", "PT-2"], "platform": "P-48"},
         "PT-1, PT-2 of P-48 moved as well"),
    ],
)  # fmt: skip
def test_values_are_written_as_their_formats_state(code, values, text):
    assert render(Reason(code, values), unit="bar") == text


def test_the_unit_in_a_reason_takes_precedence():
    reason = Reason(ReasonCode.INSTRUMENT_MARKED_BAD, {"value": 8.0, "unit": "m3/h"})

    assert render(reason, unit="bar") == "8 m3/h was sent with bad quality"


def test_a_reason_inside_a_reason_has_the_same_unit():
    first = Reason(ReasonCode.INSTRUMENT_MARKED_BAD, {"value": 8.0})
    values = {"alerts": 12, "threshold": 10, "duration": 600, "sensor": "PT-1", "time": "2026-03-01T12:00:00"}

    text = render(Reason(ReasonCode.FLOOD, {**values, "first": first}), unit="bar")

    assert text.endswith("the first was PT-1 at 2026-03-01 12:00 UTC: 8 bar was sent with bad quality")


def test_advice_follows_as_a_sentence_of_its_own():
    reasons = [
        Reason(ReasonCode.DRIFT_LEVEL, {"change": 2.5, "size": 3.0}),
        Reason(ReasonCode.DRIFT_CYCLE_LOST),
        Reason(ReasonCode.ADVICE_MODEL),
    ]

    assert render_all(reasons, unit="bar") == "level moved by +2.5 bar (3 SDs); daily cycle lost. Retrain."


class Backwards(EnglishLanguage):
    """A language that puts the values in another order and writes a decimal comma."""

    def __call__(self, text: str, /) -> str:
        return "{champion:number} oder {error:number}" if text == TEMPLATES[ReasonCode.GATE_ERROR] else text

    def decimal(self, value: float, digits: int) -> str:
        return super().decimal(value, digits).replace(".", ",")


def test_a_translation_may_change_the_order_of_the_values():
    reason = Reason(ReasonCode.GATE_ERROR, {"error": 1.25, "champion": 2.5})

    assert render(reason, Backwards()) == "2,5 oder 1,25"
