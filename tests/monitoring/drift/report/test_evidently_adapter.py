"""Evidently reports our verdict and its reason, on a page that is small and that no text breaks out of."""

import json
import re
from pathlib import Path

import pytest
from evidently import Report
from evidently.metrics import ValueDrift

from monitoring.drift.detection import DriftComparer, DriftSettings, compare, to_readings
from monitoring.drift.report.evidently_adapter import page_of, register, snapshot_of
from monitoring.drift.report.evidently_assets import LIBRARY_FILE, read_library
from tests.support.drift_series import split_window


@pytest.fixture
def drift_sides():
    return split_window()


def widgets(snapshot):
    return json.dumps([widget.dict() for widget in snapshot._widgets], default=str)


def reported(window, rest):
    return snapshot_of(compare(window, rest, unit="bar"), to_readings(window), to_readings(rest))


def test_as_a_method_of_evidently_it_says_what_compare_says(drift_sides):
    window, rest = drift_sides
    for current in (rest, rest + 3):
        result = compare(window, current)

        report = Report([ValueDrift(column="value", method=register())]).run(
            current.to_frame("value"), window.to_frame("value")
        )

        assert report.dict()["metrics"][0]["value"] == pytest.approx(result.p_value)
        assert ("Data drift detected" in widgets(report)) == result.drifted
        assert result.reason in widgets(report)


def test_the_python_that_is_shown_runs(drift_sides, capsys):
    """What docs/drift.md shows, on a window and readings of its kind."""
    text = (Path(__file__).parents[4] / "docs" / "drift.md").read_text(encoding="utf-8")
    window, rest = (side.rename("value").reset_index() for side in drift_sides)

    first, second = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(first, {"window": window, "readings": rest})
    exec(second, {"window": window.set_index("timestamp"), "readings": rest.set_index("timestamp")})

    assert capsys.readouterr().out.startswith("steady no drift (")


def test_the_threshold_is_the_false_alarm_rate(drift_sides):
    window, rest = drift_sides
    method = register(DriftSettings(false_alarm_rate=0.05))

    report = Report([ValueDrift(column="value", method=method)]).run(
        rest.to_frame("value"), window.to_frame("value")
    )

    assert report.dict()["metrics"][0]["config"]["threshold"] == 0.05


def test_a_report_of_steady_readings_nowhere_cries_drift(drift_sides):
    assert "Data drift detected" not in widgets(reported(*drift_sides))


def test_a_report_of_drift_gives_the_reason(drift_sides):
    window, rest = drift_sides

    assert "SafePlan: level moved by +3" in widgets(reported(window, rest + 3))


def test_a_stuck_sensor_has_a_report_too(drift_sides):
    window, rest = drift_sides

    assert "stuck at 20" in widgets(reported(window, rest * 0 + 20))


def test_a_page_is_small_and_its_program_lies_beside_it(drift_sides):
    window, rest = drift_sides
    page = page_of("PT-1", {"verdict": "drifted"}, reported(window, rest + 3))

    assert len(page) < 100_000
    assert f'<script src="{LIBRARY_FILE}"></script>'.encode() in page
    assert len(read_library()) > 1_000_000


def test_no_text_breaks_out_of_a_page(drift_sides):
    window, rest = drift_sides
    evil = "</script><script>alert(1)</script>"
    check = DriftComparer(DriftSettings(), unit=evil)
    result = check.of(to_readings(window), to_readings(rest + 3))
    snapshot = snapshot_of(result, to_readings(window), to_readings(rest))

    page = page_of(evil, {"verdict": result.reason}, snapshot).decode()

    assert evil in result.reason
    assert "alert(1)</script>" not in page
