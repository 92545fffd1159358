"""The commands in the documents run: README, the examples in the help; generated pages match the code."""

import os
import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.cli_docs import render_document
from tests.support.installation import BIN, CommandServer
from tests.support.reference_docs import render_configuration, render_database

ROOT = Path(__file__).parent.parent

# Commands of the documents that are run elsewhere, and where.
RUN_ELSEWHERE = {
    "make demo": "tests/monitoring/cli/test_demo.py",
    "make test": "this run",
    "make check": ".ci/run",
    "source .venv/bin/activate": "done by the path below",
    "mlflow ui": "a server that does not end",
    "mlflow run": "tests/journeys",
    "export SAFEPLAN_DATABASE_URL": "tests/journeys, on a server of its own",
    "export MLFLOW_TRACKING_URI": "tests/journeys, on a server of its own",
    "safeplan demo": "tests/monitoring/cli/test_demo.py",
    "sudo": "changes the machine; units are verified in tests/test_operations.py",
    "safeplan alerts accept": "tests/monitoring/alerts/test_levels.py, on an alert that has settled",
    "safeplan serve": "tests/serving",
    "safeplan restore": "tests/training/operations/test_backup.py, into an empty installation",
    "safeplan dashboard": "a server that does not end; tests/monitoring/dashboard/test_server.py",
}

# The first commands run as installed; the others are forked, which saves 3 s of imports each.
INSTALLED_COMMANDS = 6

# Runs until it is stopped; tests/monitoring/schedule/test_scheduler.py runs it.
ENDLESS = {"safeplan schedule"}


@pytest.fixture(scope="module")
def readings_folder(tmp_path_factory):
    """A folder as a user has it: files of readings, and nothing else."""
    folder = tmp_path_factory.mktemp("plant")
    (folder / "history").mkdir()
    hours = pd.date_range("2026-01-01", periods=800, freq="h")
    rng = np.random.default_rng(1)
    rows = [
        pd.DataFrame(
            {
                "tag": tag,
                "timestamp": hours,
                "value": 100 + 10 * np.sin(2 * np.pi * hours.hour / 24) + rng.normal(0, 1, len(hours)),
            }
        )
        for tag in ("PT-1001", "PT-1002")
    ]
    table = pd.concat(rows)
    table.to_csv(folder / "history" / "2026.csv.gz", index=False)
    table.to_csv(folder / "readings.csv.gz", index=False)
    return folder


def test_the_command_line_reference_matches_the_help(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == render_document(), "run: make docs"


def test_the_reference_of_settings_matches_the_code():
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == render_configuration(), (
        "run: make docs"
    )


def test_the_reference_of_tables_matches_the_code():
    assert (ROOT / "docs" / "database.md").read_text(encoding="utf-8") == render_database(), "run: make docs"


@pytest.mark.slow
def test_every_command_of_the_readme_and_of_the_help_works(readings_folder):
    """In the order they are written, in one folder, as somebody would who types them off."""
    documents = (ROOT / "README.md", ROOT / "docs" / "operate.md", ROOT / "docs" / "drift.md")
    written = [*(line for path in documents for line in _shown_in(path)), *_examples()]
    commands = _runnable(written)

    assert len(commands) > 15
    for number, command in enumerate(commands):
        programs = BIN if number < INSTALLED_COMMANDS else CommandServer.shared().programs
        done = _run(command, readings_folder, programs)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def _shown_in(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    return [line.split("  #")[0].strip() for line in re.findall(r"^\$ (.+)$", text, re.MULTILINE)]


def _examples() -> list[str]:
    return re.findall(r"Example: (.+)$", render_document(), re.MULTILINE)


def _runnable(commands: list[str]) -> list[str]:
    ends = [command for command in commands if command not in ENDLESS]
    return [command for command in ends if not command.startswith(tuple(RUN_ELSEWHERE))]


def _run(command: str, plant: Path, programs: Path) -> subprocess.CompletedProcess[str]:
    # Each in a shell of its own, so what a README exports is given to all.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SAFEPLAN", "MLFLOW"))
    }
    environment |= {
        "HOME": str(plant),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "SAFEPLAN_HOME": str(plant / "plant"),
        "SAFEPLAN_TUNING_TRIALS": "3",
    }
    # The help's examples search longer than a test has time for.
    command = re.sub(r"--trials \d+", "--trials 3", command)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=plant,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
