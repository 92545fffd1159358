"""Every example of docs/http.md runs and returns the keys that the page shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from serving.http.app import create_app
from serving.http.metrics import Metrics
from serving.http.tokens import Tokens
from serving.scoring.fleet_service import FleetService
from tests.serving.conftest import isolated_workspace, listening

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
SECRET = "correct-horse-battery-staple"
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NAMES = {"PT-1001": "PT-1", "PT-1002": "TT-1"}
# These run as processes in tests/serving/test_fleet_registration.py and test_server_process.py.
ELSEWHERE = ("safeplan serve", "mlflow models serve")


def commands(block):
    """Each command of a console block with the output shown below it."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        # A command continues to the line that closes its last quote.
        end = next(n for n in range(1, len(lines) + 1) if "\n".join(lines[:n]).count("'") % 2 == 0)
        yield "\n".join(lines[:end]), "\n".join(lines[end:])


CONSOLE = [
    pair
    for kind, block in BLOCKS
    if kind == "console"
    for pair in commands(block)
    if not pair[0].startswith(ELSEWHERE)
]
PYTHON = [block for kind, block in BLOCKS if kind == "python"]


@pytest.fixture(scope="module")
def address(trained_home):
    with isolated_workspace(trained_home) as workspace:
        service = FleetService(workspace)
        service.warm_up()
        with listening(create_app(service, Tokens(given=SECRET))) as url:
            yield url


def run(line, text, url):
    for shown, ours in NAMES.items():
        text = text.replace(shown, ours)
    text = re.sub(r"http://127\.0\.0\.1:808[01]", url, text)
    environment = {**os.environ, "TOKEN": SECRET, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*line, text], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shape(value):
    """The keys of a JSON value, whatever the values."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def test_the_page_has_examples():
    assert len(CONSOLE) >= 8
    assert len(PYTHON) == 2


@pytest.mark.parametrize(("command", "shown"), CONSOLE, ids=range(len(CONSOLE)))
def test_a_command_answers_as_shown(address, command, shown):
    output = run(["bash", "-c"], command, address)

    assert output.strip()
    if shown.strip():
        assert shape(json.loads(output)) == shape(json.loads(shown))


@pytest.mark.parametrize("program", PYTHON, ids=range(len(PYTHON)))
def test_a_program_runs(address, program):
    assert run([sys.executable, "-c"], program, address).strip()


def test_every_metric_is_on_the_page():
    reported = {metric.name for metric in Metrics().registry.collect()}

    assert {name for name in reported if f"`{name}" not in PAGE} == set()
