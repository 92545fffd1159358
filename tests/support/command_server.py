"""Run `safeplan` commands, each in a forked process.

Importing MLflow takes seconds; this program imports it once and forks. It accepts connections of
`tests.support.command_client` on a listening socket, whose descriptor is its only argument.
"""

import importlib
import json
import os
import select
import socket
import sys
import traceback
from contextlib import suppress
from typing import Any

INITIAL_ENVIRONMENT = frozenset(os.environ)

PRELOADED_MODULES = (
    "safeplan",
    "monitoring.cli.demo",
    "serving.doctor",
    "training.pipeline.fit_detector",
    "training.pipeline.fit_forecaster",
)
for _name in PRELOADED_MODULES:
    importlib.import_module(_name)


def main() -> None:
    """Run commands until stdin is closed."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if not os.fork():
            listener.close()
            _answer(connection)
        connection.close()
        _reap_finished()


def _reap_finished() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _answer(connection: socket.socket) -> None:
    """Fork the command of a connection, send its exit code, and end this process."""
    _, streams, *_ = socket.recv_fds(connection, 1, 3)
    with connection.makefile("rb") as request:
        command = json.loads(request.read())
    child = os.fork()
    if not child:
        connection.close()
        _run_command(command, streams)
    for stream in streams:
        os.close(stream)  # a pipe of the caller ends with the command
    _, status = os.waitpid(child, 0)
    connection.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _run_command(command: dict[str, Any], streams: list[int]) -> None:
    code = 1
    try:
        os.chdir(command["folder"])
        for name in INITIAL_ENVIRONMENT:
            os.environ.pop(name, None)
        os.environ.update(command["environment"])  # variables that the imports have set stay
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.argv = ["safeplan", *command["arguments"]]
        if "DIE_AT" in os.environ:
            importlib.import_module("tests.support.kill_on_commit")
        importlib.import_module("safeplan").main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
