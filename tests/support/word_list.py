"""Keep words of the first version out of names and texts: `python -m tests.support.word_list [PATH...]`.

Reads sources, documents, settings and catalogues; identifiers are split at underscores and capitals. A line
that quotes a foreign or stored name ends in `# quoted` or `<!-- quoted -->`.
"""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".po", ".toml", ".service", ".example", ".json", ".js"}
SKIPPED = {"tests/support/word_list.py"}
QUOTED = ("tests/data/",)  # files that 0.1.0 wrote
BANNED = (
    *(
        "told",
        "tell",
        "tells",
        "telling",
        "foretold",
        "foretell",
        "foretells",
        "foresee",
        "foreseen",
        "foresees",
    ),
    *(
        "unforeseen",
        "heed",
        "heeded",
        "heeding",
        "anew",
        "befall",
        "befalls",
        "befell",
        "whoever",
        "odd",
        "odder",
    ),
    *("oddest", "oddness", "deed", "deeds", "wish", "wishes", "wished", "carrier", "grove", "choir", "shelf"),
    *("said", "say", "says", "saying", "speak", "speaks", "spoke", "spoken", "heft", "retold", "retelling"),
    *("stands", "stood", "voices"),
)
PHRASES = ("so many", "who asks", "what became of", "comes to", "came to know", "cannot be meant")
# The last two: a label of a metric that Prometheus rules elsewhere may name.
QUOTE_MARKS = ("# quoted", "<!-- quoted", "safeplan_rows_total", "{{said}}")
WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
PHRASE = re.compile("|".join(rf"\b{phrase}\b" for phrase in PHRASES), re.IGNORECASE)
PORTUGUESE = re.compile(r'^msgstr|^"')


def find_banned(text: str, *, catalogue: bool = False) -> list[tuple[int, str]]:
    """Line numbers and listed words of a text; of a catalogue, the English half only."""
    found, translated = [], False
    for number, line in enumerate(text.splitlines(), start=1):
        if catalogue:
            translated = line.startswith("msgstr") or (translated and line.startswith('"'))
        if translated or any(mark in line for mark in QUOTE_MARKS):
            continue
        words = [word for word in WORD.findall(line) if word.lower() in BANNED]
        found += [(number, word) for word in [*words, *PHRASE.findall(line)]]
    return found


def main(paths: list[str]) -> int:
    """Print each listed word with its place; 1 where there is one."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *paths]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    count = 0
    for name in listed:
        path = ROOT / name
        if path.suffix in SUFFIXES and name not in SKIPPED and not name.startswith(QUOTED) and path.is_file():
            for line, word in find_banned(path.read_text(encoding="utf-8"), catalogue=path.suffix == ".po"):
                print(f"{name}:{line}: {word}")
                count += 1
    print(f"{count} words of the old dialect", file=sys.stderr)
    return int(count > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
