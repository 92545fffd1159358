"""Rewrite the demo's output in README.md from a run of `safeplan demo`: `make readme`.

A test compares the two. Progress bars are left out and the long table is shortened to its first rows.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"(<!-- demo output -->\n).*?(<!-- end -->)", re.DOTALL)
ROWS_SHOWN = 8  # of the table of sensors


def print_demo(folder: Path) -> str:
    """What a newcomer sees: `safeplan demo` in an empty folder, with the defaults."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SAFEPLAN", "MLFLOW"))
    }
    done = subprocess.run(
        [Path(sys.executable).parent / "safeplan", "demo"],
        cwd=folder,
        env={**environment, "COLUMNS": "130"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return done.stdout


def excerpt(output: str) -> str:
    """The parts of the output that README shows.

    >>> print(excerpt("1. load: a year\\n10 rows\\n2. train\\n3. detect\\nsensor\\nA  bar\\n4. end"))
    1. load: a year
    10 rows
    ...
    3. detect
    sensor
    A  bar
    <BLANKLINE>
    4. end
    """
    lines = [line.rstrip(" ─") for line in output.splitlines()]
    starts = {line[0]: number for number, line in enumerate(lines) if re.match(r"[1-4]\. ", line)}
    loaded = lines[starts["1"] : starts["2"]]
    scored = lines[starts["3"] : starts["4"]]
    anomalies = lines[starts["4"] :]
    table = [line for line in scored if line and not line.startswith(("finds:", "where it"))]
    rows = table[: 2 + ROWS_SHOWN] + (["..."] if len(table) > 2 + ROWS_SHOWN else [])
    ends = next(
        (number for number, line in enumerate(anomalies) if line.startswith("Next steps")), len(anomalies)
    )
    shown = [line for line in anomalies[:ends] if line]
    return "\n".join([*[line for line in loaded if line][:2], "...", *rows, "", *shown])


def shown_in_readme() -> str:
    """The excerpt that README holds."""
    match = BLOCK.search(README.read_text(encoding="utf-8"))
    return match[0].partition("```text\n")[2].partition("\n```")[0] if match else ""


def main() -> None:
    """Run the demo and rewrite the block."""
    with tempfile.TemporaryDirectory() as folder:
        block = f"\n```text\n{excerpt(print_demo(Path(folder)))}\n```\n\n"
    text = README.read_text(encoding="utf-8")
    README.write_text(BLOCK.sub(lambda match: match[1] + block + match[2], text), encoding="utf-8")


if __name__ == "__main__":
    main()
