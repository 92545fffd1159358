"""The command line: arguments, output on stdout and stderr, and exit codes."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

import safeplan
from tests.support.installation import BIN, free_port
from tests.support.workspaces import ingest_readings, make_readings
from training.pipeline import fleet
from training.storage.leases import LeaseTaken


@pytest.fixture
def cli(workspace, monkeypatch, capsys):
    """A function that runs a command in this process: exit code, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["safeplan", *arguments])
        try:
            safeplan.main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def trained(workspace, cli, training_stub, monkeypatch):
    """PT-1 with a champion of each kind."""
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_SKILL", "-9")
    monkeypatch.setenv("SAFEPLAN_GATE_MAX_RECALL_LOSS", "1")
    monkeypatch.setenv("SAFEPLAN_GATE_MIN_RECALL", "0")
    ingest_readings(workspace, "PT-1")
    assert cli("train", "--jobs", "1")[0] == 0
    return workspace


def document(result):
    code, out, _ = result
    assert code in (0, 1)
    return json.loads(out)


FIELDS = {"sensor_id", "kind", "model", "version", "alias", "metrics", "status", "error"}


@pytest.mark.parametrize(
    "command",
    [
        ("train", "--jobs", "1"),
        ("status",),
        ("detect",),
        ("forecast",),
        ("tune", "PT-1", "--trials", "2"),
        ("promote", "PT-1", "--kind", "detector", "--version", "1"),
    ],
    ids=lambda command: command[0],
)
def test_json_is_one_document_with_the_fields_of_an_outcome(trained, cli, command):
    result = document(cli(*command, "--json"))

    assert result["command"] == command[0]
    assert result["sensors"]
    for outcome in result["sensors"]:
        assert set(outcome) >= FIELDS
        assert outcome["sensor_id"] == "PT-1"
    assert sum(result["summary"].values()) == len(result["sensors"])


@pytest.mark.parametrize("command", ["sensors", "doctor"])
def test_json_of_other_commands_is_one_document_with_rows(trained, cli, command):
    result = document(cli(command, "--json"))

    assert result["command"] == command
    assert result[command]


def test_load_reports_accepted_and_refused_rows(workspace, cli, tmp_path):
    frame = make_readings(rows=5)
    frame["value"] = frame["value"].astype(object)
    frame.loc[2, "value"] = "Bad"
    frame.to_csv(tmp_path / "r.csv", index=False)

    code, out, _ = cli("load", str(tmp_path / "r.csv"), "--json")

    result = json.loads(out)
    assert code == 0
    assert (result["rows"], result["accepted"], result["refused"]) == (5, 4, 1)
    assert result["sensors_created"] == ["PT-1"]


def test_after_an_unreadable_file_the_others_are_loaded_and_the_exit_code_is_1(workspace, cli, tmp_path):
    make_readings(rows=5).to_csv(tmp_path / "good.csv", index=False)
    (tmp_path / "bad.csv").write_bytes(b"\x00\x01\x02")

    code, out, _ = cli("load", str(tmp_path / "bad.csv"), str(tmp_path / "good.csv"), "--json")

    assert code == 1
    assert json.loads(out)["accepted"] == 5
    assert next(iter(json.loads(out)["unreadable"])).endswith("bad.csv")


def test_after_a_failed_sensor_the_others_are_trained_and_the_exit_code_is_1(workspace, cli, training_stub):
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "BAD", 12)

    code, out, err = cli("train", "--kind", "detector", "--jobs", "1")

    assert code == 1
    assert "12 good readings in the last 60 d; a detector needs 30" in " ".join(out.split())
    assert "1 failed" in err
    assert "detector" in out


def test_results_go_to_stdout_and_the_summary_to_stderr(trained, cli):
    code, out, err = cli("status")

    assert code == 0
    assert "champion" in out
    assert "2 serving" in err
    assert "2 serving" not in out


@pytest.mark.parametrize(
    "arguments",
    [
        ("trian",),
        ("train", "--kind", "oracle"),
        ("train", "--trials", "0"),
        ("detect", "--since", "yesterday"),
        ("forecast", "--horizon", "0"),
        ("promote", "PT-1"),
        ("load",),
        ("train", "PT-9"),
        ("train", "--no-such-option"),
    ],
    ids=" ".join,
)
def test_the_exit_code_of_wrong_usage_is_2(workspace, cli, arguments):
    ingest_readings(workspace, "PT-1")

    code, out, err = cli(*arguments)

    assert code == 2
    assert out == ""
    assert err
    assert "Traceback" not in err


def test_the_error_for_an_unknown_sensor_lists_similar_ids(workspace, cli):
    ingest_readings(workspace, "PT-1")

    code, _, err = cli("train", "PT-11")

    assert code == 2
    assert "similar ids: PT-1" in err


def test_the_error_for_no_sensors_names_the_command_to_run(workspace, cli):
    code, _, err = cli("status")

    assert code == 2
    assert "safeplan load FILE" in err


def test_the_error_for_a_wrong_setting_names_its_variable(workspace, cli, monkeypatch):
    ingest_readings(workspace, "PT-1")
    monkeypatch.setenv("SAFEPLAN_TUNING_TRIALS", "some")

    code, _, err = cli("train")

    assert code == 2
    assert "SAFEPLAN_TUNING_TRIALS" in err
    assert err.count("\n") == 1


def test_the_exit_code_of_a_refused_promotion_is_3_and_anyway_overrides_it(trained, cli):
    for tag, value in (("gate_status", "refused"), ("gate", "refused: too many alarms")):
        trained.mlflow.set_model_version_tag("pt-1-detector", "1", tag, value)

    refused = cli("promote", "PT-1", "--kind", "detector", "--version", "1")
    overridden = cli("promote", "PT-1", "--kind", "detector", "--version", "1", "--anyway")

    assert (refused[0], overridden[0]) == (3, 0)
    assert "too many alarms" in refused[2]


def test_a_rollback_without_a_previous_champion_is_one_line_and_exit_code_1(trained, cli):
    code, out, err = cli("rollback", "PT-1", "--kind", "detector")

    assert (code, out) == (1, "")
    assert err == (
        "safeplan: pt-1-detector has no previous champion to roll back to; version 1 stays champion.\n"
    )


def test_rollback_reports_the_version_that_serves(trained, cli):
    cli("train", "--jobs", "1", "--fresh", "--kind", "detector")

    result = document(cli("rollback", "PT-1", "--kind", "detector", "--json"))

    assert (result["sensors"][0]["status"], result["sensors"][0]["version"]) == ("rolled back", 1)


@pytest.mark.parametrize("command", ["train", "status", "detect", "forecast"])
@pytest.mark.fault("MLflow unreachable", "each command ends with one line and exit code 1")
def test_without_mlflow_a_command_ends_with_one_line_and_exit_code_1(workspace, cli, monkeypatch, command):
    ingest_readings(workspace, "PT-1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")

    code, out, err = cli(command)

    assert (code, out) == (1, "")
    line = err.strip().splitlines()[-1]
    assert line.startswith("safeplan: cannot ")
    assert "Connection refused" in line
    assert "Traceback" not in err


@pytest.mark.fault("the database unreachable", "each command ends with one line and exit code 1")
def test_without_the_database_a_command_ends_with_one_line_and_exit_code_1(workspace, cli, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{free_port()}/x")

    code, out, err = cli("sensors")

    assert (code, out) == (1, "")
    assert "secret" not in err
    assert "Check that the server runs" in err


def test_since_is_a_time_in_utc(trained, cli):
    result = document(cli("detect", "--since", "2026-01-09T00:00", "--json"))

    assert result["sensors"][0]["metrics"]["readings"] == 8


def test_a_sensor_that_another_process_trains_is_an_error_with_its_process(trained, cli, monkeypatch):
    def taken(*_):
        raise LeaseTaken(
            "train detector PT-1 is being done by process 7 on elsewhere. Wait for it to finish."
        )

    monkeypatch.setattr(fleet, "lease", taken)

    result = document(cli("train", "--kind", "detector", "--jobs", "1", "--json"))

    assert result["sensors"][0]["status"] == "failed"
    assert "is being done by process 7 on elsewhere" in result["sensors"][0]["error"]


def test_the_help_of_every_command_has_an_example(cli):
    names = [command.name or command.callback.__name__ for command in safeplan.app.registered_commands]

    for name in names:
        code, out, _ = cli(name, "--help")
        assert code == 0
        assert f"Example: safeplan {name}" in " ".join(out.split())
    assert {"demo", "load", "train", "status", "detect", "forecast", "promote", "rollback", "doctor"} <= set(
        names
    )


def test_help_imports_no_heavy_library():
    """Help and completion must be fast; MLflow takes seconds to import."""
    program = "import sys, safeplan; print([m for m in ('mlflow', 'pandas', 'sklearn') if m in sys.modules])"
    completed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert completed.stdout.strip() == "[]"


def test_a_backup_is_written_and_restored(trained, cli, tmp_path, tmp_path_factory, monkeypatch):
    code, out, _ = cli("backup", str(tmp_path / "plant.zip"), "--json")
    assert (code, json.loads(out)["backup"][0]["mlflow"]) == (0, "embedded")
    monkeypatch.setenv("SAFEPLAN_HOME", str(tmp_path_factory.mktemp("empty")))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    code, _, err = cli("restore", str(tmp_path / "plant.zip"))

    assert code == 0, err
    assert {outcome["status"] for outcome in document(cli("status", "--json"))["sensors"]} == {"serving"}


def test_a_missing_backup_is_one_line_and_exit_code_1(cli, tmp_path):
    code, _, err = cli("restore", str(tmp_path / "nothing.zip"))

    assert (code, err) == (1, f"safeplan: {tmp_path / 'nothing.zip'} does not exist.\n")


def test_a_file_that_cannot_be_written_is_one_line_and_exit_code_2(trained, cli, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    code, out, err = cli("backup", str(tmp_path / "file" / "plant.zip"))

    assert (code, out) == (2, "")
    assert err.startswith(f"safeplan: The backup cannot be written to {tmp_path}/file/plant.zip: ")
    assert err.count("\n") == 1


def test_version_is_that_of_the_installed_package(cli):
    assert cli("--version") == (0, f"safeplan {version('safeplan')}\n", "")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("safeplan tr", ["train"]),
        ("safeplan alerts a", ["ack"]),
        ("safeplan train --kin", ["--kind"]),
    ],
)
def test_bash_completes_commands_and_options(words, expected):
    environment = {
        **os.environ,
        "_SAFEPLAN_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    completed = subprocess.run(
        [BIN / "safeplan"], env=environment, capture_output=True, text=True, check=True
    )

    assert set(expected) <= set(completed.stdout.split())


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_of_a_shell_is_printed(shell):
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    completed = subprocess.run(
        [BIN / "safeplan", "--show-completion", shell],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "_SAFEPLAN_COMPLETE" in completed.stdout
