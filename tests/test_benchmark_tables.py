"""The tables of docs/benchmarks.md can be rewritten from results, each at its own place."""

from pathlib import Path

import pytest

from benchmarks.tables import TABLES, markdown, replace_table

PAGE = (Path(__file__).parent.parent / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", TABLES)
def test_the_page_has_a_place_for_each_table(name):
    changed = replace_table(PAGE, name, markdown(["a"], [["1"]]))

    assert f"<!-- table: {name} -->\n\n| a |\n|---|\n| 1 |\n\n<!-- end -->" in changed
    assert changed.count("<!-- end -->") == PAGE.count("<!-- end -->")


def test_a_table_without_a_place_is_an_error():
    with pytest.raises(ValueError, match="has no table"):
        replace_table(PAGE, "unknown", "")


@pytest.mark.parametrize("name", TABLES)
def test_the_page_shows_figures_in_each_table(name):
    table = PAGE.partition(f"<!-- table: {name} -->")[2].partition("<!-- end -->")[0]

    assert any(character.isdigit() for character in table)
