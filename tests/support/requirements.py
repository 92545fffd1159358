"""Skip a test whose server, program or package is missing; fail it in CI, which has them all."""

import importlib
import os
from types import ModuleType
from typing import NoReturn

import pytest


def skip_or_fail(missing: str) -> NoReturn:
    """Skip the test with this reason; fail it if the environment variable CI is set."""
    if os.environ.get("CI"):
        pytest.fail(f"CI runs this test, but: {missing}")
    pytest.skip(missing)


def require_module(name: str) -> ModuleType:
    """Import a package of an optional extra."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        skip_or_fail(f"{name} is not installed: {error}")
