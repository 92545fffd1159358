"""The floor of the gate, and the rule-based fallback that serves where no detector passes it."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from serving.batch import detect_fleet
from serving.models.champions import Champions
from tests.support.workspaces import ingest_readings, make_readings, make_task
from training.anomaly.rule_based_detector import RULES_FILE, RuleBasedDetector
from training.data.sensor_store import add_missing_sensors
from training.errors import SafePlanError
from training.kinds import FALLBACK_RECIPE, GateStatus, Kind, Promotion
from training.outcomes import Outcome
from training.pipeline import fit_detector, recording
from training.pipeline.fit import run_training_task
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.reasons import ReasonCode, load_reasons
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS
from training.workspace import Workspace

BLIND = {"recall_mean": 0.02, "naive_recall_mean": 0.0}
SEEING = {"recall_mean": 0.9, "naive_recall_mean": 0.0}


@pytest.fixture
def train_detector(workspace, training_stub):
    """Train the detector of PT-1 with these grades of it and of its champion."""

    def train(grades: dict[str, float], champion: dict[str, float] | None = None, **options) -> Outcome:
        training_stub.grades = grades
        stub_train = training_stub.train

        def graded(task, window, files, clock):
            result = stub_train(task, window, files, clock)
            known = task.incumbent is not None and champion is not None
            return replace(result, incumbent_metrics=result.metrics | champion if known else None)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(fit_detector, "train_detector", graded)
            plan = Plan.from_conf(trials=2, promotion=options.pop("promotion", Promotion.MANAGED))
            [outcome] = train_fleet(
                workspace, workspace.fleet.match(["PT-1"]), [Kind.DETECTOR], plan, jobs=1, **options
            )
        return outcome

    ingest_readings(workspace, "PT-1")
    return train


def noise(hours: int) -> pd.DataFrame:
    """Readings without a daily cycle, so that losing it cannot be found."""
    values = np.random.default_rng(0).normal(20, 1, hours)
    return make_readings(rows=hours).assign(value=values, data_quality=0)


def store_noise(workspace: Workspace, hours: int) -> None:
    workspace.readings.ingest(noise(hours))
    add_missing_sensors(workspace.engine, ["PT-1"])


def serving_version(workspace: Workspace):
    return workspace.registry.champion("PT-1", Kind.DETECTOR)


def test_a_detector_that_finds_nothing_is_replaced_by_fixed_rules(train_detector, workspace):
    """0 % was promoted because a robust z-score finds 0 % as well."""
    outcome = train_detector(BLIND)

    assert (outcome.status, outcome.alias, outcome.failed) == ("fallback", CHAMPION, False)
    served = serving_version(workspace)
    assert (served.number, served.tags["recipe"], served.is_fallback) == (1, FALLBACK_RECIPE, True)
    assert (served.tags["gate_status"], served.tags["validation_status"]) == (GateStatus.FALLBACK, "passed")
    refused = workspace.registry.find("PT-1", Kind.DETECTOR, CHALLENGER)
    assert (refused.number, refused.gate_passed, outcome.detail["refused_version"]) == (2, False, 2)
    assert "finds 2 % of the injected faults, at least 30 % required" in refused.tags["gate"]


def test_the_gate_explains_in_one_sentence_why_the_fallback_serves(train_detector):
    outcome = train_detector(BLIND)

    [reason] = load_reasons(outcome.detail["gate_reasons"])
    assert reason.code is ReasonCode.GATE_FALLBACK
    grade, refused = reason.values["reasons"]
    assert grade.values["recall"] == pytest.approx(outcome.metrics["recall_mean"])
    assert ReasonCode.GATE_MIN_RECALL in {one.code for one in refused.values["reasons"]}
    assert outcome.detail["gate"].startswith("rule-based fallback: fixed rules find ")
    assert "\n" not in outcome.detail["gate"]


def test_a_detector_above_the_floor_serves_itself(train_detector, workspace):
    assert train_detector(SEEING).status == "promoted"
    assert not serving_version(workspace).is_fallback


def test_the_fallback_scores_what_is_stored_under_its_version(train_detector, workspace):
    train_detector(BLIND)

    [outcome] = detect_fleet(workspace, workspace.fleet.match(["PT-1"]))

    assert (outcome.status, outcome.version) == ("scored", 1)
    assert outcome.metrics["threshold"] == pytest.approx(0.5)


def test_a_good_champion_keeps_serving(train_detector, workspace):
    train_detector(SEEING)
    ingest_readings(workspace, "PT-1", 230)

    outcome = train_detector(BLIND, champion=SEEING)

    assert (outcome.status, outcome.alias) == ("refused", CHALLENGER)
    assert serving_version(workspace).number == 1


def test_a_champion_below_the_floor_gives_way_to_the_fallback(train_detector, workspace):
    train_detector(SEEING)
    ingest_readings(workspace, "PT-1", 230)

    outcome = train_detector(BLIND, champion=BLIND)

    assert (outcome.status, outcome.version) == ("fallback", 2)
    assert serving_version(workspace).is_fallback
    assert workspace.registry.find("PT-1", Kind.DETECTOR, PREVIOUS).number == 1


def test_a_fallback_is_fitted_again_with_each_training(train_detector, workspace):
    train_detector(BLIND)
    ingest_readings(workspace, "PT-1", 230)

    outcome = train_detector(BLIND, champion=SEEING)

    assert (outcome.status, outcome.version) == ("fallback", 3)


def test_a_detector_that_passes_replaces_the_fallback(train_detector, workspace):
    train_detector(BLIND)
    ingest_readings(workspace, "PT-1", 230)

    assert train_detector(SEEING, champion={"recall_mean": 0.5}).status == "promoted"
    assert not serving_version(workspace).is_fallback


def test_unchanged_readings_are_not_trained_again(train_detector, training_stub):
    train_detector(BLIND)

    assert train_detector(BLIND).status == "unchanged"


def test_with_manual_promotion_the_fallback_waits(train_detector, workspace):
    outcome = train_detector(BLIND, promotion=Promotion.MANUAL)

    assert (outcome.status, outcome.alias) == ("waiting", CHALLENGER)
    assert workspace.registry.find("PT-1", Kind.DETECTOR, CHALLENGER).is_fallback
    assert workspace.registry.find("PT-1", Kind.DETECTOR, CHAMPION) is None


def test_an_interruption_after_the_fallback_leaves_the_sensor_monitored(
    train_detector, workspace, monkeypatch
):
    register = recording.Recorder._register

    def fail_at_the_second(self, candidate, run):
        if candidate.result.recipe is None:
            raise SafePlanError("killed here")
        return register(self, candidate, run)

    monkeypatch.setattr(recording.Recorder, "_register", fail_at_the_second)
    assert train_detector(BLIND).failed

    assert serving_version(workspace).is_fallback
    monkeypatch.undo()
    assert train_detector(BLIND).status == "unchanged"


def test_a_forecaster_has_no_such_fallback(workspace, training_stub, plan):
    ingest_readings(workspace, "PT-1")
    training_stub.grades = {"skill": -1.0}
    strict = replace(plan, gate=Plan.from_conf().gate)

    [outcome] = train_fleet(workspace, workspace.fleet.match(["PT-1"]), [Kind.FORECASTER], strict, jobs=1)

    assert outcome.status == "refused"


def test_the_real_training_of_a_sensor_without_a_good_detector(workspace, monkeypatch):
    """Search, fit, grades, files and registry as `safeplan train` has them; the floor is out of reach."""
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_RECALL", "1")
    store_noise(workspace, hours=400)
    plan = Plan.from_conf(trials=1)

    [outcome] = train_fleet(workspace, workspace.fleet.match(["PT-1"]), [Kind.DETECTOR], plan, jobs=1)
    assert outcome.status == "fallback"
    model = Champions(workspace.registry, workspace.model_cache).detector("PT-1").model
    assert isinstance(model, RuleBasedDetector)

    # The next training grades the fallback beside its challenger, without the readings it was fitted to.
    store_noise(workspace, hours=500)
    [outcome] = train_fleet(workspace, workspace.fleet.match(["PT-1"]), [Kind.DETECTOR], plan, jobs=1)
    assert (outcome.status, outcome.version) == ("fallback", 3)


def test_the_fallback_has_its_own_files_and_the_fingerprint_of_the_refused_detector(tmp_path):
    task = make_task(Kind.DETECTOR, tmp_path, readings=noise(400).drop(columns="sensor_id"))
    strict = replace(
        task, plan=replace(task.plan, gate=task.plan.gate.model_copy(update={"min_recall": 1.0}))
    )

    candidate = run_training_task(strict)

    assert candidate.fallback is not None
    assert (candidate.fallback.files / RULES_FILE).exists()
    assert candidate.fallback.fingerprint == candidate.fingerprint
