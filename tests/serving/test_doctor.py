"""The doctor: looks at everything, repairs nothing, and says what to do."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from serving import doctor
from serving.doctor import examine
from tests.journeys.house import free_port
from tests.plant import send
from training.data.sensors import Fleet
from training.kinds import Kind
from training.pipeline.fleet import train_fleet
from training.storage.database import leases, writing
from training.storage.leases import Owner
from training.workspace import Workspace


@pytest.fixture
def healthy(workspace, plan, learning):
    """PT-1 with two champions."""
    send(workspace, "PT-1")
    train_fleet(workspace, Fleet.of(workspace.engine).match(), list(Kind), plan, jobs=1)
    return workspace


def bad(workspace):
    """What was found wrong, by what was looked at."""
    return {finding.what: finding for finding in examine(workspace) if finding.bad}


def test_a_healthy_installation_has_nothing_wrong(healthy):
    looked_at = {finding.what for finding in examine(healthy)}

    assert bad(healthy) == {}
    assert {"disk", "packages", "database", "readings", "registry"} <= looked_at


def test_an_empty_installation_says_what_comes_first(workspace):
    found = bad(workspace)

    assert set(found) == {"readings"}
    assert "safeplan load" in found["readings"].todo


def test_an_altered_model_is_found(healthy, tmp_path):
    (stored,) = (tmp_path / "mlartifacts").rglob("model/forecaster.json")
    stored.write_text("{}")

    found = bad(healthy)

    assert set(found) == {"forecaster of PT-1"}
    assert "altered or cut short" in found["forecaster of PT-1"].found


def test_a_half_registered_version_is_found(healthy):
    healthy.mlflow.set_model_version_tag("pt-1-detector", "1", "validation_status", "pending")

    found = bad(healthy)["half-registered versions"]

    assert found.found == "models:/pt-1-detector/1"
    assert "safeplan train" in found.todo


def test_work_that_was_cut_off_is_found(healthy):
    gone = Owner(Owner.this_process().host, 2**22 + 1, "1")
    with writing(healthy.engine) as connection:
        until = datetime.now(UTC) + timedelta(hours=1)
        connection.execute(insert(leases).values(name="train PT-1", owner=str(gone), expires_at=until))

    assert "train PT-1" in bad(healthy)["cut-off work"].found


def test_a_full_disk_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_FREE", 2**60)

    assert "SAFEPLAN_HOME" in bad(workspace)["disk"].todo


def test_a_package_of_another_version_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "KNOWN_TO_WORK", {"mlflow": "2.", "safeplan": "0."})

    found = bad(workspace)["packages"]

    assert found.found.startswith("mlflow 3.")
    assert "safeplan" not in found.found


def test_a_package_that_is_not_installed_is_found(workspace, monkeypatch):
    monkeypatch.setattr(doctor, "KNOWN_TO_WORK", {"no-such-package": "1."})

    assert "no-such-package" in bad(workspace)["packages"].found


def test_a_database_and_a_registry_that_are_away_are_both_told(workspace, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", f"postgresql://nobody@127.0.0.1:{free_port()}/x")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")

    assert set(bad(Workspace(workspace.home))) == {"database", "registry"}


def test_a_home_that_is_not_there_yet_is_no_reason_to_fall_over(workspace, tmp_path):
    found = list(doctor._disk(Workspace(Path(tmp_path / "not" / "there" / "yet"))))

    assert not found[0].bad


def test_the_password_of_the_database_is_not_shown(workspace):
    assert all("secret" not in str(finding.as_dict()) for finding in examine(workspace))


def test_a_read_only_database_is_found(workspace):
    send(workspace)
    with workspace.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = ON")

    found = bad(workspace)

    assert set(found) == {"writing to the database"}


def test_champions_of_a_renamed_sensor_are_found(healthy):
    healthy.mlflow.set_registered_model_tag("pt-1-detector", "sensor_id", "PT-OLD")
    healthy.mlflow.set_model_version_tag("pt-1-detector", "1", "sensor_id", "PT-OLD")

    assert "PT-OLD" in bad(healthy)["champions without a sensor"].found
