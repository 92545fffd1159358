"""Run `safeplan` and kill it like `kill -9` at its n-th commit of a database change.

Changes by MLflow count too. n is the environment variable DIE_AT; 0: never.
"""

import os
import signal
from typing import Any

from sqlalchemy import Engine, event

import safeplan

CHANGE_STATEMENTS = ("INSERT", "UPDATE", "DELETE")
DIE_AT = int(os.environ.get("DIE_AT", "0"))

commit_count = 0


@event.listens_for(Engine, "before_cursor_execute")
def _executing(connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
    if statement.lstrip().upper().startswith(CHANGE_STATEMENTS):
        connection.info["changed"] = True


@event.listens_for(Engine, "commit")
def _committing(connection: Any) -> None:
    """Die before this commit; the commits before it are complete."""
    global commit_count  # noqa: PLW0603
    if connection.info.pop("changed", False):
        commit_count += 1
        if commit_count == DIE_AT:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    safeplan.main()
