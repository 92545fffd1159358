"""The output that README shows is what the demo prints."""

import re

import pytest

from tests.support.readme_output import excerpt, run_demo, shown_in_readme

pytestmark = pytest.mark.slow


def masked(line: str) -> str:
    """A line without its figures: the last digits of a training differ between processors."""
    return " ".join(re.sub(r"[+-]?\d[\d.,]*", "#", line).split())


def test_the_demo_prints_what_the_readme_shows():
    printed, shown = excerpt(run_demo()).splitlines(), shown_in_readme().splitlines()
    sections = [line for line in shown if re.match(r"\d\. ", line)]

    assert len(printed) == len(shown)
    assert [line for line in printed if re.match(r"\d\. ", line)] == sections
    table = shown.index(sections[1])
    assert [masked(line) for line in printed[:table]] == [masked(line) for line in shown[:table]]
    for before, now in zip(shown[table:], printed[table:], strict=True):
        if re.match(r"[A-Z]{3}-[A-Z]+ ", before) and "champion" in before:
            assert masked(now).split()[:6] == masked(before).split()[:6]
