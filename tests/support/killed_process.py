"""Run work in child processes that are killed with SIGKILL at a chosen write or commit."""

import os
import signal
import warnings
from collections.abc import Callable

from sqlalchemy import event

from training.workspace import Workspace

STATEMENTS = ("INSERT", "UPDATE", "DELETE")
MAX_PROCESSES = 200

Work = Callable[[Workspace], None]


def run_killed(workspace: Workspace, work: Work, *, kill_at: int, writes: bool = True) -> bool:
    """Run the work in a child process that is killed at its n-th write or commit; whether it completed.

    The child has a database connection of its own; 0 never kills it. Without `writes` only commits count.
    """
    own_workspace = type(workspace)(workspace.home)
    vars(own_workspace)["fleet"] = workspace.fleet
    workspace.engine.dispose()
    with warnings.catch_warnings():
        # Python 3.12 warns about threads at a fork; the child uses none of them.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in {0, -signal.SIGKILL}
        return os.waitstatus_to_exitcode(status) == 0
    count = 0

    def step(*_) -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        engine = own_workspace.engine
        if writes:
            event.listen(engine, "before_cursor_execute", lambda *call: call[2][:6] in STATEMENTS and step())
        event.listen(engine, "commit", step)
        work(own_workspace)
        os._exit(0)
    except BaseException:  # noqa: BLE001
        os._exit(3)


def kill_at_every_write(workspace: Workspace, work: Work, check: Callable[[], None] = lambda: None) -> int:
    """Repeat the work, each time killed one write later, until it completes; the number of kills."""
    killed = 0
    while not run_killed(workspace, work, kill_at=killed + 1):
        killed += 1
        assert killed < MAX_PROCESSES
        check()
    return killed
