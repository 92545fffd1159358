"""An installation as people drive it: whole processes, the real command line, a folder of its own.

Knows how commands and servers are started, stopped and read. Knows nothing of what they should answer.
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
    """What a command said and how it ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    def of(self, sensor_id: str, kind: str) -> dict[str, Any]:
        """The outcome of one sensor and kind."""
        (outcome,) = (o for o in self.document["sensors"] if (o["sensor_id"], o["kind"]) == (sensor_id, kind))
        return outcome

    @property
    def statuses(self) -> dict[tuple[str, str], str]:
        """What became of each sensor and kind."""
        return {(o["sensor_id"], o["kind"]): o["status"] for o in self.document["sensors"]}


@dataclass(frozen=True)
class Installation:
    """One SAFEPLAN_HOME with the environment its commands run in."""

    home: Path
    settings: Mapping[str, str]

    def environment(self, **extra: str) -> dict[str, str]:
        """Ours, without what the shell of whoever runs the tests says about MLflow and SafePlan."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("SAFEPLAN_", "MLFLOW_"))}
        overrides = {
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "SAFEPLAN_HOME": str(self.home),
            "SAFEPLAN_TUNING_TRIALS": "3",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "OMP_NUM_THREADS": "1",
            # Ten idle workers of an MLflow server otherwise take a third of a core.
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        if sys.dont_write_bytecode:
            # MLflow takes 3 s more to import where it must be compiled each time.
            clean.pop("PYTHONDONTWRITEBYTECODE", None)
            overrides["PYTHONPYCACHEPREFIX"] = str(Path(tempfile.gettempdir()) / "safeplan-tests-bytecode")
        return clean | overrides | dict(self.settings) | extra

    def run(self, *command: str, expect: int = 0, **extra: str) -> CommandResult:
        """Run `safeplan COMMAND --json` in a process of its own, and hold it to its exit code."""
        answer = CommandServer.shared().run([*command, "--json"], self.environment(**extra), self.home)
        assert answer.code == expect, f"{' '.join(command)} ended with {answer.code}:\n{answer.stderr}"
        return answer

    def write(self, name: str, frame: pd.DataFrame) -> str:
        """A CSV file in the house; its path."""
        path = self.home / name
        frame.to_csv(path, index=False, date_format="%Y-%m-%dT%H:%M:%SZ")
        return str(path)


class CommandServer:
    """The process of `commands.py`, started when first needed and gone with this one."""

    _instance: "CommandServer | None" = None

    @classmethod
    def shared(cls) -> "CommandServer":
        """The one of this test process."""
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
        """End it."""
        self.process.communicate()
        shutil.rmtree(self.folder, ignore_errors=True)


def run_process(
    line: Sequence[str], environment: Mapping[str, str], cwd: Path, patience: float = 300
) -> CommandResult:
    """Run a process to its end."""
    done = subprocess.run(
        line, env=dict(environment), cwd=cwd, capture_output=True, text=True, timeout=patience, check=False
    )
    return CommandResult(done.returncode, done.stdout, done.stderr)


@contextmanager
def running_server(
    line: Sequence[str], environment: Mapping[str, str], cwd: Path, ready: str
) -> Iterator[None]:
    """Run a server, with all its workers, while the block runs; `ready` answers when it is up."""
    log = cwd / f"server-{time.monotonic_ns()}.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            line, env=dict(environment), cwd=cwd, stdout=output, stderr=output, start_new_session=True
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


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path, patience: float = 180) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.3)
    raise AssertionError(f"{url} never answered:\n{log.read_text()[-3000:]}")


def post_json(url: str, body: object) -> Any:
    """The answer to a JSON request."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
