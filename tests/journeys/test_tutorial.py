"""The commands of the tutorial work, in their order, in an empty folder.

`safeplan` is forked from a process that has imported everything; `tests/test_docs.py` runs it as installed.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.installation import BIN, CommandServer

pytestmark = pytest.mark.slow
TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"


def test_the_tutorial_leads_to_an_alert_and_a_promotion(tmp_path):
    text = TUTORIAL.read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (tmp_path / "pump.py").write_text(script, encoding="utf-8")
    commands = re.findall(r"^\$ (.+)$", text, re.MULTILINE)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SAFEPLAN", "MLFLOW"))},
        "PATH": os.pathsep.join(map(str, (CommandServer.shared().programs, BIN, os.environ["PATH"]))),
        "SAFEPLAN_HOME": str(tmp_path / "pump"),
    }

    outputs = {
        command: subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stdout
        for command in commands
        if not command.startswith(("source", "export"))
    }

    assert outputs["safeplan status"].count("champion") == 4
    assert "PT-101" in outputs["safeplan alerts list"]
    assert "TT-101" not in outputs["safeplan alerts list"]
    assert "Anomaly" in outputs["safeplan alerts list"]
    assert "confirm" in outputs["safeplan alerts show 1"]
    assert "promoted" in outputs["safeplan promote PT-101 --kind detector"]
    assert "rolled back" in outputs["safeplan rollback PT-101 --kind detector"]
