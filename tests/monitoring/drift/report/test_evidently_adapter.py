"""Evidently reports our verdict with its reason on a small page; its private interfaces are as expected."""

import dataclasses
import inspect
import json
import re
from pathlib import Path

import evidently
import pytest
from evidently import Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.legacy.model.dashboard import DashboardInfo
from evidently.legacy.renderers.html_widgets import group_widget
from evidently.legacy.utils import NumpyEncoder
from evidently.metrics import ValueDrift

from monitoring.drift.compare_frames import DriftComparer, DriftSettings, compare, to_readings
from monitoring.drift.report.evidently_adapter import (
    LIBRARY_FILE,
    page_of,
    read_library,
    register,
    snapshot_of,
)
from tests.support.drift_series import split_window

ROOT = Path(__file__).parents[4]


@pytest.fixture
def drift_sides():
    return split_window()


def widgets(snapshot):
    return json.dumps([widget.dict() for widget in snapshot._widgets], default=str)


def reported(window, rest):
    return snapshot_of(compare(window, rest, unit="bar"), to_readings(window), to_readings(rest))


def test_only_the_adapter_imports_evidently():
    importing = [
        path.relative_to(ROOT).as_posix()
        for floor in ("training", "serving", "monitoring")
        for path in (ROOT / floor).rglob("*.py")
        if re.search(r"^\s*(import|from) evidently\b", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]

    assert importing == ["monitoring/drift/report/evidently_adapter.py"]


def test_the_installed_evidently_is_the_supported_release():
    """Its private interfaces change between minor releases: check each test below before raising this."""
    assert evidently.__version__.startswith("0.7.")


def test_the_private_interfaces_take_the_arguments_that_the_adapter_passes():
    method_fields = [field.name for field in dataclasses.fields(StatTest)]
    assert method_fields[:4] == ["name", "display_name", "allowed_feature_types", "default_threshold"]
    assert list(inspect.signature(register_stattest).parameters)[:2] == ["stat_test", "default_impl"]
    assert {"title", "widgets"} <= set(inspect.signature(group_widget).parameters)
    assert {"name", "widgets"} <= set(DashboardInfo.__fields__)
    assert issubclass(NumpyEncoder, json.JSONEncoder)
    assert ColumnType.Numerical


def test_a_snapshot_has_a_counter_and_a_chart_per_channel(drift_sides):
    window, rest = drift_sides

    snapshot = reported(window, rest + 3)

    assert len(snapshot._widgets) == 2 * len(("value", "course"))
    assert group_widget(title="", widgets=snapshot._widgets).get_additional_graphs() == []


def test_the_script_defines_the_function_that_pages_call():
    assert b"drawDashboard" in read_library()


def test_the_method_of_evidently_reports_the_verdict_of_compare(drift_sides):
    window, rest = drift_sides
    for current in (rest, rest + 3):
        result = compare(window, current)

        report = Report([ValueDrift(column="value", method=register())]).run(
            current.to_frame("value"), window.to_frame("value")
        )

        assert report.dict()["metrics"][0]["value"] == pytest.approx(result.p_value)
        assert ("Data drift detected" in widgets(report)) == result.drifted
        assert result.reason in widgets(report)


def test_the_python_examples_of_the_document_run(drift_sides, capsys):
    text = (ROOT / "docs" / "drift.md").read_text(encoding="utf-8")
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


def test_a_report_of_steady_readings_detects_no_drift(drift_sides):
    assert "Data drift detected" not in widgets(reported(*drift_sides))


def test_a_report_of_drift_gives_the_reason(drift_sides):
    window, rest = drift_sides

    assert "SafePlan: level moved by +3" in widgets(reported(window, rest + 3))


def test_a_stuck_sensor_has_a_report(drift_sides):
    window, rest = drift_sides

    assert "stuck at 20" in widgets(reported(window, rest * 0 + 20))


def test_a_page_is_small_and_loads_the_script_beside_it(drift_sides):
    window, rest = drift_sides
    page = page_of("PT-1", {"verdict": "drifted"}, reported(window, rest + 3))

    assert len(page) < 100_000
    assert f'<script src="{LIBRARY_FILE}"></script>'.encode() in page
    assert len(read_library()) > 1_000_000


def test_no_text_escapes_from_a_page(drift_sides):
    window, rest = drift_sides
    attack = "</script><script>alert(1)</script>"
    check = DriftComparer(DriftSettings(), unit=attack)
    result = check.of(to_readings(window), to_readings(rest + 3))
    snapshot = snapshot_of(result, to_readings(window), to_readings(rest))

    page = page_of(attack, {"verdict": result.reason}, snapshot).decode()

    assert attack in result.reason
    assert "alert(1)</script>" not in page
