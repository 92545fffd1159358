"""An installation from a folder of wheels, with the network off: it installs, trains and scores."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.installation import ROOT, Installation
from tests.support.workspaces import make_readings

pytestmark = pytest.mark.slow

NO_NETWORK_COMMAND = [
    "unshare",
    "--map-root-user",
    "--net",
]  # a network without a single wire, not even to itself


@pytest.fixture
def no_network_command() -> list[str]:
    """What a command is put behind to have no network."""
    if (
        shutil.which("unshare") is None
        or subprocess.run([*NO_NETWORK_COMMAND, "true"], check=False).returncode
    ):
        if os.environ.get("CI"):
            pytest.fail("CI installs without a network, which takes `unshare --net`")
        pytest.skip("this machine does not let us switch the network off (unshare --net)")
    return NO_NETWORK_COMMAND


@pytest.mark.fault(
    "no network, at the installation and after it", "everything comes from the folder of wheels"
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

    def do(*command: object, off: bool = True) -> subprocess.CompletedProcess[str]:
        line = [*(no_network_command if off else []), *map(str, command)]
        done = subprocess.run(
            line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    do(sys.executable, "-m", "venv", tmp_path / "venv")
    pip = [tmp_path / "venv" / "bin" / "pip", "install", "--quiet", "--no-compile", "--no-index"]
    listed = wheels / "requirements.txt"
    do(*pip, "--find-links", wheels, "--require-hashes", "-r", listed)
    do(*pip, "--no-deps", *wheels.glob("safeplan-*.whl"))
    safeplan = tmp_path / "venv" / "bin" / "safeplan"
    do(safeplan, "load", "plant.csv")
    do(safeplan, "train", "--jobs", "1")
    reported = do(safeplan, "detect", "--json").stdout

    assert '"status": "scored"' in reported
    assert Path(installation.home / "mlflow.db").exists()
