"""Evidently's program for its pages: 3.5 MB that lie once beside many small pages, not in each of them.

Knows where the package keeps it, without importing the package, which takes seconds.
"""

import importlib.util
from pathlib import Path

LIBRARY_FILE = "evidently.js"


def read_library() -> bytes:
    """The program."""
    spec = importlib.util.find_spec("evidently")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "nbextension" / "static" / "index.js").read_bytes()
