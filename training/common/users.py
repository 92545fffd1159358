"""Who works: the name that stands beside every change.

Knows the environment and the system's accounts. What is done under that name is told in `audit`.
"""

import getpass
import os
from collections.abc import Mapping


def current_user(environ: Mapping[str, str] | None = None) -> str:
    """Who runs this process: `SAFEPLAN_USER`, or the name of the system's account."""
    environ = os.environ if environ is None else environ
    if named := environ.get("SAFEPLAN_USER", "").strip():
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # a container's number without a name
