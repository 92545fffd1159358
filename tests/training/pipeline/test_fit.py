"""Training one model: which readings it uses, and when it is skipped."""

import shutil
from dataclasses import replace
from datetime import timedelta

import pandas as pd
import pytest

from tests.support.workspaces import make_readings, make_series, make_task, parse_time
from training.anomaly.detector import AnomalyDetector
from training.errors import NotTrainable
from training.forecasting.forecaster import Forecaster
from training.kinds import Kind
from training.pipeline import fit_detector, fit_forecaster
from training.pipeline.fit import Candidate, Incumbent, PhaseTimer, Unchanged, run_training_task, split_window
from training.pipeline.plan import TuningSettings
from training.quality.windows import Window
from training.storage.labels import Label

KINDS = pytest.mark.parametrize("kind", list(Kind))


def fingerprint(folder, kind=Kind.DETECTOR, **changes):
    return run_training_task(make_task(kind, folder, **changes)).fingerprint


@KINDS
def test_a_candidate_has_everything_that_is_logged(fitted_models, kind):
    files, result = fitted_models[kind]

    assert len(result.trials) >= 2
    assert {"trial", "loss", "seconds"} <= set(result.trials.columns)
    assert all(picture.startswith(b"<svg") for picture in result.pictures.values())
    assert (files / "parameters.json").exists()
    assert all(isinstance(value, float | int) for value in result.metrics.values())


def test_the_files_of_a_candidate_are_a_usable_model(fitted_models):
    detector = AnomalyDetector.load(fitted_models[Kind.DETECTOR][0])
    forecaster = Forecaster.load(fitted_models[Kind.FORECASTER][0])

    assert detector.score([20.0, 500.0], history=make_series()).argmax() == 1
    assert len(forecaster.forecast(5)) == 5


@KINDS
def test_equal_readings_and_plan_are_not_trained_again(tmp_path, training_stub, kind):
    known = fingerprint(tmp_path, kind)
    training_stub.tasks.clear()

    again = run_training_task(make_task(kind, tmp_path, known_fingerprint=known))

    assert again == Unchanged(known)
    assert training_stub.tasks == []


def test_every_input_of_the_model_changes_the_fingerprint(tmp_path, training_stub, plan):
    day = parse_time("2026-01-02")
    tuned = replace(plan, tuning=TuningSettings(trials=3))
    changes = [
        {},
        {"readings": make_readings(rows=199).drop(columns="sensor_id").assign(data_quality=0)},
        {"labels": (Label("PT-1", day, day, anomalous=True),)},
        {"labels": (Label("PT-1", day, day, anomalous=False),)},
        {"plan": tuned},
    ]

    fingerprints = [fingerprint(tmp_path, **change) for change in changes]

    assert len(set(fingerprints)) == len(changes)
    assert fingerprint(tmp_path, Kind.FORECASTER) not in fingerprints


def test_the_gate_and_retention_do_not_change_the_fingerprint(tmp_path, training_stub, plan):
    strict = replace(plan, gate=plan.gate.model_copy(update={"min_skill": 0.9}))

    assert fingerprint(tmp_path, plan=strict) == fingerprint(tmp_path, plan=plan)


def test_a_stored_study_is_resumed_only_for_the_same_readings(tmp_path, training_stub):
    """Losses on last month's readings are not comparable with losses on this month's."""
    fewer = make_readings(rows=190).drop(columns="sensor_id").assign(data_quality=0)
    for changes in ({}, {}, {"readings": fewer}):
        run_training_task(make_task(Kind.DETECTOR, tmp_path, **changes))

    first, again, other = (task.study.name for task in training_stub.tasks)

    assert first == again != other
    assert first.startswith("PT-1/detector/")


@KINDS
def test_the_error_for_too_few_readings_names_both_numbers(tmp_path, training_stub, kind):
    few = make_readings(rows=12).drop(columns="sensor_id").assign(data_quality=0)

    with pytest.raises(NotTrainable, match=r"PT-1: 12 good readings in the last \d+ d; a .* needs [35]0"):
        run_training_task(make_task(kind, tmp_path, readings=few))


def test_the_newest_part_is_held_out():
    window = Window("PT-1", timedelta(hours=1), make_series(100))

    older, newest = split_window(window, 0.2)

    assert (len(older), len(newest)) == (80, 20)
    assert older.index[-1] < newest.index[0]


def test_the_timer_adds_up_repeated_and_nested_phases():
    clock = PhaseTimer()
    for _ in range(2):
        with clock.phase("a"), pytest.raises(ZeroDivisionError), clock.phase("b"):
            raise ZeroDivisionError

    assert set(clock.seconds) == {"a", "b"}
    assert clock.seconds["a"] >= clock.seconds["b"] > 0


@pytest.mark.parametrize(
    ("kind", "train"),
    [
        (Kind.DETECTOR, fit_detector.train_detector),
        (Kind.FORECASTER, fit_forecaster.train_forecaster),
    ],
)
def test_the_champion_is_graded_on_the_same_newest_readings(fitted_models, tmp_path, kind, train):
    """If it was trained on them, it is trained again without them: equal parameters give equal metrics."""
    files, result = fitted_models[kind]
    whole = make_series(200)
    incumbent = Incumbent(files, whole.index[-1].to_pydatetime())
    task = replace(make_task(kind, tmp_path), incumbent=incumbent)
    (tmp_path / "files").mkdir()

    graded = train(task, Window("PT-1", timedelta(hours=1), whole), tmp_path / "files", PhaseTimer())

    assert graded.incumbent_metrics is not None
    metric = "recall_mean" if kind is Kind.DETECTOR else "mae"
    # The search starts from the champion's parameters, so it cannot end with much worse ones.
    assert graded.incumbent_metrics[metric] == pytest.approx(result.metrics[metric], rel=0.2)


@KINDS
def test_a_champion_that_cannot_be_read_is_not_compared(fitted_models, tmp_path, kind):
    files, _ = fitted_models[kind]
    broken = tmp_path / "broken"
    shutil.copytree(files, broken)
    for path in broken.iterdir():
        path.write_text("{}")

    candidate = run_training_task(
        make_task(kind, tmp_path, incumbent=Incumbent(broken, parse_time("2026-01-05")))
    )

    assert isinstance(candidate, Candidate)
    assert candidate.result.incumbent_metrics is None
    assert isinstance(candidate.result.trials, pd.DataFrame)
