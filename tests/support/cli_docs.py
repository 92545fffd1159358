"""Writes docs/cli.md from the program's own help: `make docs`; a test holds the file to it."""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from safeplan import app

HEAD = """# The command line

Written by `make docs` from the program's own help; every example is run by a test.

`SENSOR` may be an id or a glob; without one, all enabled sensors are meant. `--json` prints one JSON
document on stdout, the story goes to stderr. Exit codes: 0 all done, 1 some sensors failed, 2 bad usage or
configuration, 3 the gate refused.
"""


def render_document() -> str:
    """The whole file."""
    group = typer.main.get_command(app)
    sections = [HEAD]
    for name, command in sorted(group.commands.items()):
        sections += _sections(f"safeplan {name}", command)
    return "\n".join(sections)


def _sections(name: str, command: Any) -> Iterator[str]:
    """A command's help, then that of the commands below it, in the order in which they are used."""
    context = typer.Context(command, info_name=name)
    context.max_content_width = 100
    context.terminal_width = 100
    yield f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"
    for below, part in getattr(command, "commands", {}).items():
        yield from _sections(f"{name} {below}", part)


if __name__ == "__main__":
    sys.stdout.write(render_document())
