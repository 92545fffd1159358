"""Run `safeplan` commands one after the other, each in a forked process.

Importing MLflow takes seconds; this program imports it once and forks. It reads one JSON object per line
(`arguments, environment, folder, stdout, stderr`) and prints the exit code of each command.
"""

import importlib
import json
import os
import sys
import traceback
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
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _run_command(json.loads(line))
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _run_command(command: dict[str, Any]) -> None:
    code = 1
    try:
        os.chdir(command["folder"])
        for name in INITIAL_ENVIRONMENT:
            os.environ.pop(name, None)
        os.environ.update(command["environment"])  # variables that the imports have set stay
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
            with open(command[name], "wb") as file:  # noqa: PTH123
                os.dup2(file.fileno(), stream.fileno())
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
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
