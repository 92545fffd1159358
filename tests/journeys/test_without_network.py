"""Installation from a folder of wheels without a network: it installs, trains and scores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installation import ROOT, Installation
from tests.support.requirements import skip_or_fail
from tests.support.workspaces import make_readings

pytestmark = pytest.mark.slow

NO_NETWORK_COMMAND = ["unshare", "--map-root-user", "--net"]  # without any interface, not even loopback


@pytest.fixture
def no_network_command() -> list[str]:
    """The prefix of a command that runs without a network."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NO_NETWORK_COMMAND, "true"], check=False).returncode
    ):
        skip_or_fail("this machine does not allow to switch off the network (unshare --net)")
    return NO_NETWORK_COMMAND


@pytest.mark.fault(
    "no network, during installation and operation", "everything comes from the folder of wheels"
)
def test_it_installs_trains_and_scores_without_a_network(no_network_command, tmp_path):
    wheels, installation = tmp_path / "wheels", Installation(tmp_path / "plant", {})
    (tmp_path / "plant").mkdir()
    make_readings("PT-1", 200).to_csv(tmp_path / "plant.csv", index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
    make = ["make", "--silent", "wheels", f"WHEELS={wheels}"]
    subprocess.run(make, cwd=ROOT, check=True, capture_output=True, timeout=600)
    clean = {
        name: value
        for name, value in installation.environment().items()
        if not name.startswith(("PIP_", "UV_"))
    }
    environment = clean | {"PATH": os.environ["PATH"], "SAFEPLAN_TUNING_TRIALS": "1"}

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        completed = subprocess.run(
            [*no_network_command, *map(str, command)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert completed.returncode == 0, completed.stdout + completed.stderr
        return completed

    run(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = [tmp_path / "venv" / "bin" / "pip", "install", "--quiet", "--no-compile", "--no-index"]
    run(*pip, "--find-links", wheels, "--require-hashes", "-r", wheels / "requirements.txt")
    run(*pip, "--no-deps", *wheels.glob("safeplan-*.whl"))
    safeplan = tmp_path / "venv" / "bin" / "safeplan"
    run(safeplan, "load", "plant.csv")
    run(safeplan, "train", "--jobs", "1")
    detected = run(safeplan, "detect", "--json").stdout

    assert '"status": "scored"' in detected
    assert Path(installation.home / "mlflow.db").exists()
