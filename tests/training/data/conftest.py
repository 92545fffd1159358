"""A file of sensors to read."""

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def write_sensors(tmp_path) -> Callable[[str], Path]:
    """Write a text as `sensors.yaml`; returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "sensors.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
