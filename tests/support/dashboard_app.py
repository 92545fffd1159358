"""The dashboard page without a browser: draw it for a reader of a small plant and read its text.

What it should show is in the tests.
"""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import pandas as pd
import pytest
import streamlit as st
import yaml
from streamlit.testing.v1 import AppTest

from monitoring.dashboard import url_state
from monitoring.dashboard.part_errors import UNEXPECTED
from monitoring.dashboard.server import SCRIPT
from serving.http.tokens import token_digest
from tests.serving.conftest import trained_home, trained_workspace  # noqa: F401 (fixtures)
from tests.support.workspaces import parse_time
from training.workspace import Workspace

NEWEST = parse_time("2026-01-09T07:00")  # 200 hours from the first of January
TOKENS = {"ana": "promote", "ole": "operate", "eva": "read"}
SECRET = "0123456789abcdef-"
PATIENCE = 180  # seconds, after which a test fails; no test measures time


@pytest.fixture
def dashboard_workspace(trained_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:  # noqa: F811
    """Sensors with names, limits and tokens; PT-1 and TT-1 have champions, NEW-1 has readings only."""
    (trained_workspace.home / "conf").mkdir()
    sensors = {
        "PT-1": {"name": "Wellhead pressure", "platform": "P-48", "type": "pressure", "unit": "bar"},
        "TT-1": {"platform": "P-50", "unit": "degC", "critical_high": 25.5},
    }
    (trained_workspace.home / "conf" / "sensors.yaml").write_text(yaml.safe_dump({"sensors": sensors}))
    tokens = " ".join(f"{name}:{role}:{SECRET}{name}" for name, role in TOKENS.items())
    monkeypatch.setenv("SAFEPLAN_TOKENS", tokens)
    return trained_workspace


@pytest.fixture
def page(dashboard_workspace: Workspace) -> Iterator[Callable[..., AppTest]]:
    """Draw the page at an address, for a new reader each time."""
    st.cache_data.clear()
    st.cache_resource.clear()

    def draw(address: str = "/", reader: str | None = None) -> AppTest:
        app = AppTest.from_file(str(SCRIPT), default_timeout=PATIENCE)
        for pair in filter(None, urlsplit(address).query.split("&")):
            name, _, value = pair.partition("=")
            app.query_params[name] = value
        if reader:
            app.session_state[url_state.TOKEN_DIGEST_KEY] = token_digest(SECRET + reader)
        shared = url_state.shared_state()
        shared.clock = lambda: NEWEST + timedelta(hours=2)  # two hours after the newest stored reading
        for cached in (shared.models, shared.trainable, shared.checks):
            cached.get()
        app.run()
        assert not app.exception, app.exception
        assert UNEXPECTED not in page_text(app), [error.value for error in app.error]
        return app

    yield draw
    if "engine" in vars(url_state.shared_state().workspace):
        url_state.shared_state().workspace.engine.dispose()
    st.cache_data.clear()
    st.cache_resource.clear()


def page_text(app: AppTest) -> str:
    """Everything written on the page, without tags."""
    parts = [
        block.value
        for kind in ("markdown", "caption", "info", "warning", "error", "success", "subheader")
        for block in app.get(kind)
    ]
    parts += [block.proto.body for block in app.get("html")]
    return re.sub(r"<[^>]*>", " ", "\n".join(map(str, parts))).replace("\\", "")


def button(app: AppTest, label: str, key: str = "") -> Any:
    """The one button with this label whose key contains a text."""
    (match,) = [
        candidate for candidate in app.button if candidate.label == label and key in (candidate.key or "")
    ]
    return match


def ingest_anomalous_reading(
    workspace: Workspace, value: float = 900.0, sensor_id: str = "PT-1", hours: float = 1
) -> None:
    """Store one reading far from all others."""
    row = {"sensor_id": [sensor_id], "timestamp": [NEWEST + timedelta(hours=hours)], "value": [value]}
    workspace.readings.ingest(pd.DataFrame(row))
