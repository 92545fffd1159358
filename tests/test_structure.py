"""The structure a stranger relies on: unique class names, small packages, docstrings, plain words."""

import ast
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.word_list import find_banned

ROOT = Path(__file__).parent.parent
FLOORS = ("training", "serving", "monitoring")
PACKAGES = sorted(
    path.parent
    for floor in FLOORS
    for path in (ROOT / floor).rglob("__init__.py")
    if "versions" not in path.parts
)
MAX_MODULES = 20
MAX_MODULES_BESIDE_PACKAGES = 10


def test_a_public_class_name_exists_once():
    """A name that means two classes makes every search and every traceback ambiguous."""
    places = defaultdict(list)
    for floor in FLOORS:
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(path.relative_to(ROOT).as_posix())

    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_package_is_small_and_introduces_itself(package):
    modules = list(package.glob("*.py"))
    packages = [path for path in package.iterdir() if (path / "__init__.py").exists()]
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))

    assert len(modules) <= (MAX_MODULES_BESIDE_PACKAGES if package.parent == ROOT else MAX_MODULES)
    assert docstring
    assert packages or len(modules) < 3 or "`" in docstring, "name the modules in reading order"


def test_a_reading_order_names_modules_that_exist():
    for package in PACKAGES:
        docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
        order = docstring.partition("eading order:")[2].replace("\n", " ").split(".")[0]
        for name in order.replace("`", "").split(","):
            stem = name.strip()
            assert not stem or (package / f"{stem}.py").exists() or (package / stem).is_dir(), (
                f"{package}: {stem}"
            )


def test_the_architecture_names_adapters_that_exist():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.partition("<!-- adapters -->")[2].partition("<!-- end -->")[0]
    adapters = [line.split("`")[1] for line in table.splitlines() if line.startswith("| `")]

    assert len(adapters) > 5
    assert [path for path in adapters if not (ROOT / path).exists()] == []


def test_the_word_list_finds_words_in_names_and_texts():
    text = "told = 1\nvalue = was_said_by(x)\nfine = 'standard'\nlegacy = 'silent_odd'  # quoted\n"  # quoted

    assert find_banned(text) == [(1, "told"), (2, "said")]  # quoted


def test_a_catalogue_is_checked_in_its_english_half():
    assert find_banned('msgid "odd"\nmsgstr "told"\n', catalogue=True) == [(1, "odd")]  # quoted


def test_every_document_named_in_a_document_exists():
    """A link to a page that was moved is the first thing a newcomer stumbles over."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        page = ROOT / name
        for part in page.read_text(encoding="utf-8").split("](")[1:]:
            target = part.partition(")")[0].partition("#")[0].strip()
            if target and "://" not in target:
                assert (page.parent / target).exists(), f"{name} links to {target}"
