"""The doctor checks an installation, changes nothing, and advises what to do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from serving import doctor
from serving.doctor import HealthStatus, run_checks
from tests.support.installation import free_port
from tests.support.workspaces import ingest_readings
from training.data.sensor_store import load_fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.reasons import dump_reasons, load_reasons, render_all
from training.storage.database import leases, writing
from training.storage.leases import Owner
from training.workspace import Workspace


@pytest.fixture
def healthy_workspace(workspace, plan, training_stub):
    """PT-1 with two champions."""
    ingest_readings(workspace, "PT-1")
    train_fleet(workspace, load_fleet(workspace.engine).match(), list(Kind), plan, jobs=1)
    return workspace


def problems(workspace):
    """The checks that failed, by subject, as the command prints them."""
    return {check.subject: check.as_dict() for check in run_checks(workspace) if check.is_problem}


def test_a_healthy_installation_has_no_problem(healthy_workspace):
    checks = {check.subject: check.status for check in run_checks(healthy_workspace)}

    assert set(checks.values()) == {HealthStatus.OK}
    assert {"disk", "packages", "database", "readings", "registry"} <= set(checks)


def test_an_empty_installation_is_advised_to_load_readings_first(workspace):
    result = problems(workspace)

    assert set(result) == {"readings"}
    assert "safeplan load" in result["readings"]["what to do"]


def test_a_registry_without_champions_needs_attention_but_is_no_problem(workspace):
    [registry] = [check for check in run_checks(workspace) if check.subject == "registry"]

    assert registry.status is HealthStatus.ATTENTION
    assert registry.as_dict()["state"] == "look"
    assert "safeplan train" in registry.as_dict()["what to do"]


def test_reasons_of_every_check_survive_storage(healthy_workspace):
    for check in run_checks(healthy_workspace):
        assert render_all(load_reasons(dump_reasons(check.reasons))) == render_all(check.reasons)


def test_an_altered_model_is_found(healthy_workspace, tmp_path):
    (stored,) = (tmp_path / "mlartifacts").rglob("model/forecaster.json")
    stored.write_text("{}")

    result = problems(healthy_workspace)

    assert set(result) == {"forecaster of PT-1"}
    assert "altered or truncated" in result["forecaster of PT-1"]["found"]


def test_a_half_registered_version_is_found(healthy_workspace):
    healthy_workspace.mlflow.set_model_version_tag("pt-1-detector", "1", "validation_status", "pending")

    result = problems(healthy_workspace)["half-registered versions"]

    assert result["found"] == "1 incomplete registrations: models:/pt-1-detector/1"
    assert "safeplan train" in result["what to do"]


def test_interrupted_work_is_found(healthy_workspace):
    gone = Owner(Owner.this_process().host, 2**22 + 1, "1")
    with writing(healthy_workspace.engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1)
        connection.execute(insert(leases).values(name="train PT-1", owner=str(gone), expires_at=until))

    assert "train PT-1" in problems(healthy_workspace)["interrupted work"]["found"]


def test_a_full_disk_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 2**60)

    assert "SAFEPLAN_HOME" in problems(workspace)["disk"]["what to do"]


def test_a_package_of_another_version_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "TESTED_VERSIONS", {"mlflow": "2.", "safeplan": "0."})

    result = problems(workspace)["packages"]

    assert result["found"].startswith("untested versions: mlflow 3.")
    assert "safeplan" not in result["found"]


def test_a_package_that_is_not_installed_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "TESTED_VERSIONS", {"no-such-package": "1."})

    assert "no-such-package" in problems(workspace)["packages"]["found"]


def test_a_database_and_a_registry_that_are_unreachable_are_both_reported(workspace, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    assert set(problems(Workspace(workspace.home))) == {"database", "registry"}


def test_a_home_folder_that_does_not_exist_yet_is_no_problem(tmp_path):
    result = list(doctor._check_disk(Workspace(Path(tmp_path / "not" / "there" / "yet"))))

    assert not result[0].is_problem


def test_the_password_of_the_database_is_not_shown(workspace):
    assert all("secret" not in str(check.as_dict()) for check in run_checks(workspace))


def test_a_read_only_database_is_found(workspace):
    ingest_readings(workspace)
    with workspace.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    result = problems(workspace)

    assert set(result) == {"writing to the database"}


def test_champions_of_a_renamed_sensor_are_found(healthy_workspace):
    healthy_workspace.mlflow.set_registered_model_tag("pt-1-detector", "sensor_id", "PT-OLD")
    healthy_workspace.mlflow.set_model_version_tag("pt-1-detector", "1", "sensor_id", "PT-OLD")

    assert "PT-OLD" in problems(healthy_workspace)["champions without a sensor"]["found"]
