"""Evidently's JavaScript: 3.5 MB that are stored once beside all pages instead of in each of them.

Finds the file without importing Evidently, which takes seconds. Its Python API is behind `evidently_adapter`.
"""

import importlib.util
from pathlib import Path

LIBRARY_FILE = "evidently.js"


def read_library() -> bytes:
    """The content of Evidently's script."""
    spec = importlib.util.find_spec("evidently")
    assert spec is not None
    assert spec.submodule_search_locations
    return (Path(spec.submodule_search_locations[0]) / "nbextension" / "static" / "index.js").read_bytes()
