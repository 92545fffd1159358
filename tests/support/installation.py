"""An installation in its own folder, operated through the real command line and real server processes.

Starts and stops commands and servers and reads their output. What they should print is in the tests.
"""

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class CommandResult:
    """The output and exit code of a command."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document on stdout."""
        return json.loads(self.stdout)

    def of(self, sensor_id: str, kind: str) -> dict[str, Any]:
        """The outcome of one sensor and kind."""
        (outcome,) = (o for o in self.document["sensors"] if (o["sensor_id"], o["kind"]) == (sensor_id, kind))
        return outcome

    @property
    def statuses(self) -> dict[tuple[str, str], str]:
        """The status of each sensor and kind."""
        return {(o["sensor_id"], o["kind"]): o["status"] for o in self.document["sensors"]}


@dataclass(frozen=True)
class Installation:
    """One SAFEPLAN_HOME with the environment of its commands."""

    home: Path
    settings: Mapping[str, str]

    def environment(self, **extra: str) -> dict[str, str]:
        """The environment of commands, without the MLflow and SafePlan variables of the test process."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SAFEPLAN_", "MLFLOW_"))}
        overrides = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "SAFEPLAN_HOME": str(self.home),
            "SAFEPLAN_TUNING_TRIALS": "3",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "OMP_NUM_THREADS": "1",
            # Without this, ten idle workers of an MLflow server use a third of a core.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        if sys.dont_write_bytecode:
            # MLflow takes 3 s longer to import if it is compiled each time.
            clean.pop("PYTHONDONTWRITEBYTECODE", None)
            overrides["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "safeplan-tests-bytecode")
        return clean | overrides | dict(self.settings) | extra

    def run(self, *command: str, expect: int = 0, **extra: str) -> CommandResult:
        """Run `safeplan COMMAND --json` in its own process, and check its exit code."""
        result = CommandServer.shared().run([*command, "--json"], self.environment(**extra), self.home)
        assert result.code == expect, f"{' '.join(command)} ended with {result.code}:\n{result.stderr}"
        return result

    def write(self, name: str, frame: pd.DataFrame) -> str:
        """Write a CSV file to the home folder and return its path."""
        path = self.home / name
        frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        return str(path)


class CommandServer:
    """The process of `tests.support.command_server`, started on first use and stopped with this process."""

    _instance: "CommandServer | None" = None

    @classmethod
    def shared(cls) -> "CommandServer":
        """The command server of this test process."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="safeplan-commands-"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.command_server"],
            env=Installation(self.folder, {}).environment(),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self.close)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> CommandResult:
        """Run one command to its end."""
        output_files = {name: self.folder / name for name in ("stdout", "stderr")}
        command_request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "folder": str(folder),
            **{name: str(path) for name, path in output_files.items()},
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command_request) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        return CommandResult(code, output_files["stdout"].read_text(), output_files["stderr"].read_text())

    def close(self) -> None:
        """Stop the process."""
        self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def run_process(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, timeout: float = 300
) -> CommandResult:
    """Run a process to its end."""
    completed = subprocess.run(
        command, env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False
    )
    return CommandResult(completed.returncode, completed.stdout, completed.stderr)


@contextmanager
def running_server(
    command: Sequence[str], environment: Mapping[str, str], cwd: Path, ready: str
) -> Iterator[None]:
    """Run a server with all its workers during the block; it is ready when the URL `ready` responds."""
    log = cwd / f"server-{time.monotonic_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=cwd, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_for(ready, process, log)
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(3)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, timeout: float = 180) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(f"{url} did not respond:\n{log.read_text()[-3000:]}")


def post_json(url: str, body: object) -> Any:
    """Post JSON and return the JSON of the response."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.loads(response.read())


def free_port() -> int:
    """A port on which no server listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
