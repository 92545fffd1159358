"""The server of the dashboard: headers, addresses, links, contrast of the palettes."""

import re

import httpx
import pytest

from monitoring.alerts.kinds import SEVERITY_SYMBOLS
from monitoring.dashboard import server
from monitoring.dashboard.dashboard_state import PageSettings
from monitoring.dashboard.mlflow_links import run_url, ui_url, version_url
from monitoring.dashboard.theme import DARK_PALETTE, LIGHT_PALETTE, escape_markdown
from tests.serving.conftest import listening
from training.errors import ConfigurationError

BACKGROUNDS = {LIGHT_PALETTE: ("#ffffff", LIGHT_PALETTE.card), DARK_PALETTE: ("#0f1720", DARK_PALETTE.card)}


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("palette", [LIGHT_PALETTE, DARK_PALETTE], ids=["light", "dark"])
def test_both_palettes_have_enough_contrast(palette):
    """WCAG AA: 4.5 to 1 for text, 3 to 1 for lines that carry a meaning."""
    for background in BACKGROUNDS[palette]:
        for colour in (palette.text, palette.faint, palette.primary, *map(palette.of, range(5))):
            assert contrast(colour, background) >= 4.5, (colour, background)
        for line in (palette.history, palette.forecast, palette.usual):
            assert contrast(line, background) >= 3, (line, background)


def test_every_severity_has_a_symbol_of_its_own():
    assert len(set(SEVERITY_SYMBOLS)) == 5


def test_markdown_characters_are_escaped():
    assert escape_markdown("[x](http://evil) **b** $a$ :red[c]") == (
        r"\[x\](http\://evil) \*\*b\*\* \$a\$ \:red\[c\]"
    )


@pytest.fixture
def unopened_page(monkeypatch):
    """The dashboard app, without loading the shared state."""
    monkeypatch.setattr(server, "_warm_up", lambda: None)
    return server.create_dashboard_app()


def test_the_headers_allow_no_other_host(unopened_page):
    with listening(unopened_page) as url:
        response = httpx.get(url)

    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"https?:", policy)
    assert response.headers["x-content-type-options"] == "nosniff"


def test_streamlit_sends_no_usage_statistics(unopened_page):
    assert server.config.get_option("browser.gatherUsageStats") is False
    assert server.config.get_option("client.showErrorDetails") == "none"


def test_listening_on_other_interfaces_needs_a_token_or_an_explicit_setting(monkeypatch):
    served = []
    monkeypatch.setattr(server.uvicorn, "run", lambda *_, **how: served.append(how["host"]))
    monkeypatch.setattr(server, "create_dashboard_app", lambda: None)
    monkeypatch.delenv("SAFEPLAN_TOKENS", raising=False)

    with pytest.raises(ConfigurationError, match="--allow-everyone"):
        server.serve_dashboard(PageSettings(host="0.0.0.0"))
    server.serve_dashboard(PageSettings())
    server.serve_dashboard(PageSettings(host="0.0.0.0", allow_everyone=True))
    monkeypatch.setenv("SAFEPLAN_TOKENS", "0123456789abcdef")
    server.serve_dashboard(PageSettings(host="0.0.0.0"))

    assert served == ["127.0.0.1", "0.0.0.0", "0.0.0.0"]


def test_the_mlflow_ui_is_the_setting_else_the_tracking_server():
    assert ui_url("http://ui:5000/", "sqlite:///x.db") == "http://ui:5000"
    assert ui_url(None, "https://me:secret@mlflow.example/base/") == "https://mlflow.example/base"
    assert ui_url(None, "sqlite:////home/me/mlflow.db") is None
    assert ui_url("javascript:alert(1)", "") is None


def test_links_name_one_version_and_one_run():
    assert version_url("http://ui", "pt-1-detector", 3) == "http://ui/#/models/pt-1-detector/versions/3"
    assert run_url("http://ui", "7", "abc") == "http://ui/#/experiments/7/runs/abc"
