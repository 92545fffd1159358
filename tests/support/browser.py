"""A real browser on the page: Debian's Chromium, watched for errors, foreign hosts and what took how long.

Knows how Streamlit says that it is done. Knows nothing of what a tab should show.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import TimeoutError as NothingShown

from tests.support.installation import ROOT
from tests.support.requirements import skip_or_fail

CHROMIUM = os.environ.get("SAFEPLAN_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARTEFACTS = ROOT / "artefacts"
PATIENCE = 60_000  # ms; a loaded machine is slow
# What the page promises the reader's keyboard: whatever takes the focus has a name.
FOCUSABLE = {"button", "textbox", "combobox", "tab", "radio", "checkbox", "spinbutton", "link", "slider"}
# What a keyboard cannot reach: what Tab passes over and no arrow moves to, as it does in a group or a number.
UNREACHABLE = """() => [...document.querySelectorAll('button, a[href], input, textarea')]
  .filter(e => e.checkVisibility() && !e.disabled && e.tabIndex < 0)
  .filter(e => !e.closest('[role=tablist], [role=radiogroup], [role=group], .stNumberInput'))
  .filter(e => !e.closest('[aria-hidden=true]'))
  .map(e => e.outerHTML.slice(0, 150))"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, until the block ends."""
    if not Path(CHROMIUM).exists():
        skip_or_fail(f"no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class PageReader:
    """One person at one browser window; each has a session of their own."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", lambda said: self._log_console(said.type, said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dismiss_dialog)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, address: str, expected_text: str) -> None:
        """Go to an address of the page and wait for a text of the tab."""
        with self.timed(f"open {address}"):
            self.page.goto(self.base + address)
            self.wait_for_text(expected_text)

    def tab(self, name: str, expected_text: str) -> None:
        """Go to a tab by a click and wait for a text of it."""
        with self.timed(f"tab {name}"):
            self.until(self.page.get_by_role("tab", name=name).click, expected_text)

    def until(self, click: Callable[[], None], expected_text: str | re.Pattern[str]) -> None:
        """Click, and as anyone would, click again where nothing comes of it.

        A click on what the page is just drawing anew can be lost.
        """
        for patience in (PATIENCE / 4, PATIENCE / 4):
            click()
            with suppress(NothingShown):
                self.page.get_by_text(expected_text).filter(visible=True).first.wait_for(timeout=patience)
                return
        click()
        self.wait_for_text(expected_text)

    def wait_for_text(self, text: str | re.Pattern[str]) -> None:
        """Wait until a text can be seen; tables hold their words once more, hidden, for screen readers."""
        self.page.get_by_text(text).filter(visible=True).first.wait_for()

    def settle(self) -> None:
        """Wait until the script has ended and everything it sent is drawn."""
        self.page.wait_for_function(
            "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'"
            " && !document.querySelector('[data-testid=stSkeleton]')"
        )

    def log_in(self, token: str, name: str) -> None:
        """Show a token to the page."""
        self.page.get_by_role("button", name="Log in").first.click()
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_label("Token").press("Enter")
        self.page.get_by_role("button", name=name).wait_for()
        self.page.keyboard.press("Escape")

    def screenshot(self, name: str) -> Path:
        """Keep what is seen."""
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"page-{name}.png"
        self.settle()
        self.page.screenshot(path=path, full_page=True)
        return path

    @contextmanager
    def timed(self, what: str) -> Iterator[None]:
        """Note how long the block took."""
        started = time.perf_counter()
        yield
        self.times[what] = round(time.perf_counter() - started, 2)

    def focusable_nodes(self) -> list[dict[str, Any]]:
        """The nodes that take the focus, as a screen reader is told of them."""
        session = self.page.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        focusable = []
        for node in nodes:
            properties = {one["name"]: one["value"].get("value") for one in node.get("properties", ())}
            role = node.get("role", {}).get("value")
            if role in FOCUSABLE and properties.get("focusable"):
                focusable.append({"role": role, "name": node.get("name", {}).get("value", "")})
        session.detach()
        return focusable

    def _log_console(self, kind: str, text: str) -> None:
        if kind == "error":
            self.errors.append(text)

    def _dismiss_dialog(self, dialog: Any) -> None:
        self.errors.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()


def save_times(name: str, times: dict[str, float]) -> None:
    """Write how long things took beside the screenshots, and say it."""
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / f"{name}.json").write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")
    for what, seconds in times.items():
        print(f"{name}: {what} {seconds:.2f} s")
