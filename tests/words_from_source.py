"""Brings conf/locale/*.po up to what the program says: `make words`; a test holds the files to it.

New sentences are added without a translation, those no longer said are dropped; the rest stays.
"""

import io
from pathlib import Path

from babel.messages import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
LOCALE = ROOT / "conf" / "locale"
# `_("...")` is a sentence, `_.plural("...", "...", count)` one about a number.
KEYWORDS = {"_": None, "plural": (1, 2)}

# Without the dates and names that would change with every run.
HEADER = """msgid ""
msgstr ""
"Language: {language}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"
"Plural-Forms: {forms}\\n"

"""


def said() -> Catalog:
    """Every sentence that the code asks words for."""
    found = Catalog()
    folder = ROOT / "monitoring"
    for name, line, message, comments, _ in extract_from_dir(folder, keywords=KEYWORDS):
        found.add(message, locations=[(f"monitoring/{name}", line)], auto_comments=comments)
    return found


def kept(path: Path) -> Catalog:
    """What a catalogue holds."""
    return read_po(io.BytesIO(path.read_bytes()), locale=path.stem)


def main() -> None:
    """Rewrite every catalogue."""
    template = said()
    for path in sorted(LOCALE.glob("*.po")):
        catalogue = kept(path)
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
        print(f"{path.name}: {len(catalogue)} sentences, {len(missing)} without a translation")


if __name__ == "__main__":
    main()
