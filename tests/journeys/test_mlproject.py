"""`mlflow run` runs the same commands as the command line."""

import sqlite3

import pytest
import yaml

from safeplan import app
from tests.support.installation import BIN, ROOT, run_process
from tests.support.workspaces import make_readings

pytestmark = pytest.mark.slow


def run_project(installation, entry, **parameters):
    command = [str(BIN / "mlflow"), "run", str(ROOT), "-e", entry, "--env-manager", "local"]
    for name, value in parameters.items():
        command += ["-P", f"{name}={value}"]
    tracking = f"sqlite:///{installation.home / 'mlflow.db'}"
    return run_process(command, installation.environment(MLFLOW_TRACKING_URI=tracking), installation.home)


def test_a_sensor_is_trained_by_mlflow_run(empty_installation):
    empty_installation.run("load", empty_installation.write("plant.csv", make_readings("PT-1", 120)))

    result = run_project(empty_installation, "train", sensors="PT-*", trials=1, jobs=1)

    assert result.code == 0, result.stderr
    connection = sqlite3.connect(empty_installation.home / "mlflow.db")
    names = connection.execute("SELECT name FROM model_versions ORDER BY name").fetchall()
    connection.close()
    assert names == [("pt-1-detector",), ("pt-1-forecaster",)]


def test_every_entry_point_is_a_command_with_options_that_exist():
    """Each entry point is one line with a command and options of the command line."""
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    commands = {command.callback.__name__: command.callback for command in app.registered_commands}

    for name, entry in project["entry_points"].items():
        words = entry["command"].split()
        assert words[:3] == ["python", "safeplan.py", name]
        options = set(commands[name].__annotations__) | {"kind"}
        assert {word.removeprefix("--") for word in words if word.startswith("--")} <= options
    assert set(project["entry_points"]) == {"load", "tune", "train", "detect", "forecast", "demo"}
