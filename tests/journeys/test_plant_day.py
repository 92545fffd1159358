"""A day of a simulated plant with faults, stops and a persistent step: what the operator gets to know of it.

Ten one-minute sensors are trained on six days; the jobs then run minute by minute around the faults. Signals,
faults and the simulated clock are those of `benchmarks.operator`.
"""

import pytest

from benchmarks.operator_day import (
    HISTORY_MINUTES,
    plant_workspace,
    report_fault,
    run_plant_day,
    stop_messages,
)
from benchmarks.operator_faults import FAULTS, STOPS
from benchmarks.operator_messages import MessageSink
from benchmarks.operator_plant import MINUTES_PER_DAY, simulate_plant

pytestmark = pytest.mark.slow

PLANNED_STOP = next(stop for stop in STOPS if stop.announced)
each_fault = pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)


@pytest.fixture(scope="module")
def day(empty_mlflow, tmp_path_factory):
    """The record of the day."""
    home = tmp_path_factory.mktemp("plant")
    (home / "mlflow.db").write_bytes(empty_mlflow.read_bytes())
    with MessageSink() as sink, plant_workspace(home, sink) as workspace:
        yield run_plant_day(workspace, sink, simulate_plant(HISTORY_MINUTES + MINUTES_PER_DAY), trials=3)


@each_fault
def test_a_fault_is_reported_in_time(day, fault):
    report = report_fault(day, fault)

    assert report.reported_after is not None
    assert report.reported_after <= fault.within


@each_fault
def test_an_alert_has_the_type_of_its_fault(day, fault):
    report = report_fault(day, fault)

    assert report.type is not None
    assert report.type.startswith(fault.alert_type)


@each_fault
def test_no_sensor_is_normal_while_its_fault_lasts(day, fault):
    """From the time at which the fault must be known on."""
    assert report_fault(day, fault).normal_minutes == 0


@each_fault
def test_no_alert_returns_to_normal_before_its_fault_is_over(day, fault):
    assert not report_fault(day, fault).returned_early


@each_fault
def test_a_fault_costs_one_message_and_its_end_another(day, fault):
    assert len(report_fault(day, fault).messages) <= (1 if fault.permanent else 2)


def test_an_announced_stop_is_silent(day):
    """Also after the restart, while the motor warms up."""
    assert stop_messages(day, PLANNED_STOP) == []
