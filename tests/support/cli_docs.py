"""Write docs/cli.md from the help texts of the program: `make docs`. A test compares the file with them."""

import sys
from collections.abc import Iterator
from typing import Any

import typer

from safeplan import app

HEAD = """# The command line

Written by `make docs` from the help texts of the program; a test runs every example.

`SENSOR` is a sensor id or a glob pattern; without one, a command uses all enabled sensors. Results are
printed on stdout, as a table or with `--json` as one JSON document; progress and errors on stderr. Exit
codes: 0 success, 1 some sensors failed, 2 wrong usage or configuration, 3 the gate refused a version.

`safeplan --version` prints the version. `safeplan --install-completion` installs completion of commands
and options for bash, zsh, fish or PowerShell; `safeplan --show-completion` prints the script instead.
"""


def render_document() -> str:
    """The content of docs/cli.md."""
    group = typer.main.get_command(app)
    sections = [HEAD]
    for name, command in sorted(group.commands.items()):
        sections += _sections(f"safeplan {name}", command)
    return "\n".join(sections)


def _sections(name: str, command: Any) -> Iterator[str]:
    """The help of a command, then that of its subcommands, in the order in which they are used."""
    context = typer.Context(command, info_name=name)
    context.max_content_width = 100
    context.terminal_width = 100
    yield f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"
    for subname, subcommand in getattr(command, "commands", {}).items():
        yield from _sections(f"{name} {subname}", subcommand)


if __name__ == "__main__":
    sys.stdout.write(render_document())
