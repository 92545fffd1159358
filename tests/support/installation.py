"""An installation in its own folder, operated through the real command line and real server processes.

Starts and stops commands and servers and reads their output. What they should print is in the tests.
"""

import atexit
import json
import os
import shlex
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
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import pandas as pd

from tests.support.command_client import run_forked
from training.operations.registry_backup import rename_paths

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


def copy_installation(original: Installation, home: Path, **settings: str) -> Installation:
    """A copy in another folder, with artifacts of its own."""
    shutil.copytree(original.home, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("lock", "ready"))
    rename_paths(home / "mlflow.db", str(original.home / "mlartifacts"), str(home / "mlartifacts"))
    return Installation(home, settings)


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
        self.address = str(self.folder / "socket")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)
            listener.listen()
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.command_server", str(listener.fileno())],
                env=Installation(self.folder, {}).environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                pass_fds=[listener.fileno()],
            )
        atexit.register(self.close)

    def run(self, arguments: Sequence[str], environment: Mapping[str, str], folder: Path) -> CommandResult:
        """Run one command to its end."""
        with open(os.devnull) as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:  # noqa: PTH123
            streams = [stream.fileno() for stream in (stdin, out, err)]
            code = run_forked(self.address, arguments, environment, str(folder), streams)
            return CommandResult(code, *(_read_from_start(stream) for stream in (out, err)))

    @cached_property
    def programs(self) -> Path:
        """A folder for PATH with a program `safeplan` whose commands this server runs."""
        folder = self.folder / "bin"
        folder.mkdir()
        program = [sys.executable, "-IS", str(ROOT / "tests" / "support" / "command_client.py"), self.address]
        (folder / "safeplan").write_text(f'#!/bin/sh\nexec {shlex.join(program)} "$@"\n', encoding="utf-8")
        (folder / "safeplan").chmod(0o755)
        return folder

    def close(self) -> None:
        """Stop the process."""
        self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def _read_from_start(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


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
