"""Update conf/locale/*.po from the program's texts: `make words`; a test checks that they are up to date.

Collects `_("...")` and `_.plural("...", "...", count)` in monitoring/, and the texts of reasons. New texts
are added without a translation, texts that no longer exist are removed, the others are not changed.
"""

import ast
import io
from pathlib import Path

from babel.messages import Catalog
from babel.messages.pofile import read_po, write_po

from training.reasons.english import TEMPLATES

ROOT = Path(__file__).parents[2]
LOCALE = ROOT / "conf" / "locale"

# Without the dates and names that would change with every run.
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {forms}\\n"

"""


def collect_messages() -> Catalog:
    """Every text that the program translates."""
    catalogue = Catalog()
    for path in sorted((ROOT / "monitoring").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and (message := _message(node)) is not None:
                catalogue.add(message, locations=[(path.relative_to(ROOT).as_posix(), node.lineno)])
    for text in TEMPLATES.values():
        catalogue.add(text)
    return catalogue


def _message(call: ast.Call) -> str | tuple[str, ...] | None:
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    if isinstance(call.func, ast.Name) and call.func.id == "_" and texts:
        return texts[0]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "plural" and len(texts) > 1:
        return tuple(texts[:2])
    return None


def read_catalogue(path: Path) -> Catalog:
    """The content of a catalogue file."""
    return read_po(io.BytesIO(path.read_bytes()), locale=path.stem)


def main() -> None:
    """Rewrite every catalogue file."""
    template = collect_messages()
    for path in sorted(LOCALE.glob("*.po")):
        catalogue = read_catalogue(path)
        catalogue.update(template, no_fuzzy_matching=True)
        written = io.BytesIO()
        write_po(
            written,
            catalogue,
            width=100,
            omit_header=True,
            ignore_obsolete=True,
            no_location=True,
            sort_output=True,
        )
        header = HEADER.format(language=path.stem, forms=catalogue.plural_forms)
        path.write_bytes(header.encode() + written.getvalue())
        missing = [message.id for message in catalogue if message.id and not message.string]
        print(f"{path.name}: {len(catalogue)} texts, {len(missing)} without a translation")


if __name__ == "__main__":
    main()
