"""Evidently's program for its pages: 3.5 MB that lie once beside many small pages, not in each of them.

Knows where the package keeps it, without importing the package, which takes seconds.
"""

import importlib.util
from pathlib import Path

LIBRARY = "evidently.js"


def library() -> bytes:
    """The program."""
    found = importlib.util.find_spec("evidently")
    assert found is not None
    assert found.submodule_search_locations
    return (Path(found.submodule_search_locations[0]) / "nbextension" / "static" / "index.js").read_bytes()
