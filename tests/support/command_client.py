"""Run a `safeplan` command in a process forked by `tests.support.command_server`, with the caller's streams.

`python -IS command_client.py SOCKET ARGUMENT...` replaces the program in a shell. It uses the standard
library only and starts in 20 ms; a process of its own needs 3 s of processor time to import MLflow.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence


def run_forked(
    server: str, arguments: Sequence[str], environment: Mapping[str, str], folder: str, streams: Sequence[int]
) -> int:
    """Run one command to its end; its exit code, or the negative number of the signal that killed it.

    `streams` are the descriptors of its stdin, stdout and stderr.
    """
    command = {"arguments": list(arguments), "environment": dict(environment), "folder": folder}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        socket.send_fds(connection, [b" "], list(streams))
        connection.sendall(json.dumps(command).encode())
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile() as answer:
            return int(answer.read())


if __name__ == "__main__":
    code = run_forked(sys.argv[1], sys.argv[2:], os.environ, os.getcwd(), (0, 1, 2))  # noqa: PTH109
    sys.exit(code if code >= 0 else 128 - code)
