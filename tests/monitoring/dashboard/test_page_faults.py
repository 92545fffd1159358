"""Faults of database, MLflow, disk and settings files, before the page is opened and while it is open.

Each is made with the real files of the installation. The page shows what is wrong, never an unhandled error,
and everything again as soon as the fault is removed.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from monitoring.dashboard import url_state
from monitoring.dashboard.part_errors import UNEXPECTED
from monitoring.dashboard.server import SCRIPT
from monitoring.dashboard.url_state import VIEWS
from serving.models.champions import CacheSettings
from tests.support.dashboard_app import PATIENCE, button, page_text
from training.workspace import Workspace

CONTENT = {
    "fleet": "All sensors",
    "trends": "No alerts of these sensors",
    "forecast": "Forecast reliability",
    "anomalies": "PT-1",
    "models": "Detectors serving",
    "training": "Requirements",
}


@dataclass(frozen=True)
class FileFault:
    """A file or folder of the installation with a content that cannot be used."""

    path: str
    content: bytes | None  # None: a folder in place of the file
    message: str  # what the page shows
    views: tuple[str, ...] = VIEWS  # tabs on which it shows it

    @contextmanager
    def active(self, workspace: Workspace) -> Iterator[None]:
        """Put the content in place, and the original back at the end."""
        workspace.engine.dispose()
        path = workspace.home / self.path
        if path.is_file() and self.content is not None:
            # The same file: SQLite's open connections would not notice another one in its place.
            original = path.read_bytes()
            path.write_bytes(self.content)
            yield
            path.write_bytes(original)
            return
        aside = workspace.home / "aside"
        if path.exists():
            path.rename(aside)
        path.mkdir() if self.content is None else path.write_bytes(self.content)
        yield
        path.rmdir() if self.content is None else path.unlink()
        if aside.exists():
            aside.rename(path)


FAULTS = {
    "a damaged database": FileFault("safeplan.db", b"no database" * 500, "restore a back-up"),
    "a damaged MLflow database": FileFault(
        "mlflow.db", b"no database" * 500, "file is not a database", ("forecast", "models")
    ),
    "an invalid file of the site's settings": FileFault(
        "conf/monitoring.yaml", b"site: [", "monitoring.yaml is not valid YAML", ("fleet", "training")
    ),
    "an unknown training setting": FileFault(
        "conf/training.yaml", b"forecaster: {horizons: 3}", "horizons", ("forecast",)
    ),
    "a folder in place of the sensors file": FileFault(
        "conf/sensors.yaml", None, "sensors.yaml is not readable", ("fleet", "forecast")
    ),
    "a model cache that cannot be written": FileFault(
        ".safeplan", b"", "cannot fetch the files of", ("forecast",)
    ),
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refresh at each draw, and try a model again at once."""
    for name in ("PAGE_REFRESH", "PAGE_MODELS_REFRESH"):
        monkeypatch.setenv(f"SAFEPLAN_{name}", "1")
    monkeypatch.setattr("serving.models.champions.CacheSettings", partial(CacheSettings, retry_after=0.01))


@pytest.mark.fault(
    "a damaged database, MLflow database, settings file or folder, before the dashboard is opened or during",
    "a clear message in the part concerned, no unhandled error; everything again after the repair",
)
@pytest.mark.parametrize("name", FAULTS)
def test_a_page_opened_during_a_fault_shows_what_is_wrong_and_recovers(page, dashboard_workspace, name):
    fault = FAULTS[name]
    for view in fault.views:
        st.cache_data.clear()
        st.cache_resource.clear()
        app = new_reader(view)
        with fault.active(dashboard_workspace):
            draw_until(app, fault.message)
        draw_until(app, CONTENT[view], without=fault.message)


@pytest.mark.parametrize("name", FAULTS)
def test_an_open_page_survives_a_fault(page, dashboard_workspace, name):
    for view in FAULTS[name].views:
        app = page(f"/?view={view}&sensor=PT-1")
        with FAULTS[name].active(dashboard_workspace):
            url_state.shared_state().workspace.engine.dispose()
            for _ in range(3):
                draw(app)
        draw_until(app, CONTENT[view], without=FAULTS[name].message)


def test_an_unexpected_error_is_shown_and_logged_once_with_its_traceback(page, monkeypatch, caplog):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("at http://me:secret@host")

    app = page()
    with monkeypatch.context() as patch:
        patch.setattr("monitoring.i18n.translation.Translator.number", fail)
        for _ in range(2):
            app.run()

    assert f"{UNEXPECTED}: ZeroDivisionError: at http://me:***@host" in page_text(app)
    assert not app.exception
    [record] = [record for record in caplog.records if UNEXPECTED in record.message]
    assert record.exc_info
    draw_until(app, "All sensors", without=UNEXPECTED)


def test_a_button_that_fails_unexpectedly_shows_the_error(page, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("monitoring.dashboard.tabs.training.start_training", fail)
    app = page("/?view=training", reader="ole")

    button(app, "Train 2 models").click().run()

    assert f"{UNEXPECTED}: OSError: no space left" in page_text(app)
    assert not app.exception


def new_reader(view: str) -> AppTest:
    """A reader whose page has not been drawn yet."""
    app = AppTest.from_file(str(SCRIPT), default_timeout=PATIENCE)
    app.query_params["view"] = view
    app.query_params["sensor"] = "PT-1"
    return app


def draw(app: AppTest) -> str:
    """The text of the page, drawn again; it contains no unhandled and no unexpected error."""
    app.run()
    assert not app.exception, app.exception
    text = page_text(app)
    assert UNEXPECTED not in text, text
    return text


def draw_until(app: AppTest, expected: str, *, without: str = "\0") -> None:
    """Draw the page, as its timers do, until it has one text and lacks another."""
    deadline = time.monotonic() + PATIENCE
    while expected not in (text := draw(app)) or without in text:
        assert time.monotonic() < deadline, text[-2000:]
        time.sleep(0.05)
