"""The name of the person or account that runs this process, recorded with every change.

Reads the environment and the system's accounts. Changes are recorded by `training.registry.audit`.
"""

import getpass
import os
from collections.abc import Mapping


def current_user(environ: Mapping[str, str] | None = None) -> str:
    """`SAFEPLAN_USER`, or else the name of the system account."""
    environ = os.environ if environ is None else environ
    if named := environ.get("SAFEPLAN_USER", "").strip():
        return named
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"  # in a container, a user id without an account
