"""Output of commands: results on stdout, progress on stderr, and ids are never markup."""

import json
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from training.kinds import Kind
from training.operations.console import (
    bytes_progress,
    format_cell,
    progress,
    show_json,
    show_outcomes,
    show_rows,
    to_json_value,
)
from training.outcomes import Outcome, OutcomeStatus

GOOD = Outcome(
    "PT-1", Kind.DETECTOR, OutcomeStatus.PROMOTED, "pt-1-detector", 3, "champion", {"recall_mean": 0.5}
)
BAD = Outcome("[red]PT-2[/red]", Kind.FORECASTER, OutcomeStatus.FAILED, error="12 good readings; needs 50")


def test_json_is_one_document_with_the_same_fields_for_all(capsys):
    show_outcomes("train", [GOOD, BAD], [], as_json=True)

    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert captured.err == ""
    assert document["command"] == "train"
    assert document["summary"] == {"promoted": 1, "failed": 1}
    assert document["sensors"][0]["metrics"] == {"recall_mean": 0.5}
    assert set(document["sensors"][0]) == set(document["sensors"][1])


def test_a_table_of_outcomes_is_followed_by_failures_with_their_errors(capsys):
    show_outcomes("train", [GOOD, BAD], ["recall_mean"], as_json=False)

    captured = capsys.readouterr()
    assert "PT-1" in captured.out
    assert "0.5" in captured.out
    assert "12 good readings; needs 50" in captured.out
    assert "1 promoted, 1 failed" in captured.err


def test_without_outcomes_the_summary_is_nothing_to_do(capsys):
    show_outcomes("train", [], [], as_json=False)

    assert "nothing to do" in capsys.readouterr().err


def test_an_id_that_looks_like_markup_is_printed_as_it_is(capsys):
    show_rows([{"sensor": "[red]PT-2[/red]", "n": 1}])

    assert "[red]PT-2[/red]" in capsys.readouterr().out


def test_a_column_that_only_later_rows_have_is_shown(capsys):
    """The first of many sensors may be one without readings."""
    show_rows([{"sensor": "A"}, {"sensor": "B", "readings": 7}])

    assert "readings" in capsys.readouterr().out


def test_empty_columns_are_left_out(capsys):
    show_rows([{"sensor": "A", "platform": ""}, {"sensor": "B", "platform": None}])

    assert "platform" not in capsys.readouterr().out


def test_sentences_follow_the_table_one_per_line(capsys):
    show_rows([{"sensor": "A", "reasons": ["frozen twice", "has gaps"]}], below="reasons")

    assert "  A: frozen twice\n  A: has gaps\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("inf"), None),
        (np.float64(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Kind.DETECTOR, "detector"),
        (datetime(2026, 1, 1), "2026-01-01T00:00:00Z"),  # noqa: DTZ001
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
        (pd.Timestamp("2026-01-01"), "2026-01-01T00:00:00Z"),
        ({"a": (1, np.float64("nan"))}, {"a": [1, None]}),
        (None, None),
    ],
)
def test_every_value_becomes_plain_json(value, expected):
    result = to_json_value(value)

    assert result == expected
    json.dumps(result, allow_nan=False)


def test_a_missing_time_is_null(capsys):
    show_json({"at": pd.NaT})

    assert json.loads(capsys.readouterr().out) == {"at": None}


@pytest.mark.parametrize(
    ("value", "shown"),
    [(999.6, "1,000"), (1000.4, "1,000"), (False, "no"), (0, "0"), (-0.00012, "-0.00012"), (pd.NaT, "")],
)
def test_cells_are_formatted_for_reading(value, shown):
    assert format_cell(value) == shown


def test_progress_goes_to_stderr_only(capsys):
    with progress("training", 2) as advance:
        advance(GOOD)
        advance(BAD)
    with bytes_progress("loading") as advance_bytes:
        advance_bytes(10, 5, 0)
        advance_bytes(20, 10, 10)

    assert capsys.readouterr().out == ""
