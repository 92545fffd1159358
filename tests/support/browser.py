"""A real browser on the page: Chromium, watched for errors, foreign hosts and durations.

Each click is made once: a click that is lost is a defect of the page. What a tab should show is in the tests.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from re import Pattern
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright

from monitoring.dashboard.part_errors import UNEXPECTED
from tests.support.installation import ROOT
from tests.support.requirements import skip_or_fail

CHROMIUM = os.environ.get("SAFEPLAN_TEST_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
ARTEFACTS = ROOT / "artefacts"
TIMEOUT = 180_000  # ms, after which a test fails; no test measures time
CHROMIUM_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
# Roles that take the focus, and so need a name.
FOCUSABLE = {"button", "textbox", "combobox", "tab", "radio", "checkbox", "spinbutton", "link", "slider"}
# Controls that the keyboard cannot reach: Tab skips them, and no arrow key leads to them as in a group.
UNREACHABLE = """() => [...document.querySelectorAll('button, a[href], input, textarea')]
  .filter(e => e.checkVisibility() && !e.disabled && e.tabIndex < 0)
  .filter(e => !e.closest('[role=tablist], [role=radiogroup], [role=group], .stNumberInput'))
  .filter(e => !e.closest('[aria-hidden=true]'))
  .map(e => e.outerHTML.slice(0, 150))"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, closed at the end of the block."""
    if not Path(CHROMIUM).exists():
        skip_or_fail(f"no browser at {CHROMIUM}: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@dataclass
class PageReader:
    """One reader in one browser window, with a session of their own."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    times: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(TIMEOUT)
        self.page.on("console", lambda message: self._log_console(message.type, message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("dialog", self._dismiss_dialog)
        self.page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))

    def open(self, address: str, expected_text: str) -> None:
        """Go to an address of the page and wait for a text of the tab."""
        with self.timed(f"open {address}"):
            self.page.goto(self.base + address)
            self.wait_for_text(expected_text)

    def tab(self, name: str, expected_text: str) -> None:
        """Click on a tab and wait for a text of it."""
        with self.timed(f"tab {name}"):
            self.page.get_by_role("tab", name=name).click()
            self.wait_for_text(expected_text)

    def wait_for_text(self, text: str | Pattern[str]) -> None:
        """Wait until a text is visible, on a page without an unexpected error.

        Tables repeat their text, hidden, for screen readers.
        """
        self.page.get_by_text(text).filter(visible=True).first.wait_for()
        assert not self.page.get_by_text(UNEXPECTED).count(), self.page.get_by_text(
            UNEXPECTED
        ).all_inner_texts()

    def settle(self) -> None:
        """Wait until the script has finished and everything it sent is drawn."""
        self.page.wait_for_function(
            "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState !== 'running'"
            " && !document.querySelector('[data-testid=stSkeleton]')"
        )

    def log_in(self, token: str, name: str) -> None:
        """Log in with a token."""
        self.page.get_by_role("button", name="Log in").first.click()
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_label("Token").press("Enter")
        self.page.get_by_role("button", name=name).wait_for()
        self.page.keyboard.press("Escape")

    def screenshot(self, name: str) -> Path:
        """Save the whole page as an image."""
        ARTEFACTS.mkdir(exist_ok=True)
        path = ARTEFACTS / f"page-{name}.png"
        self.settle()
        self.page.screenshot(path=path, full_page=True)
        return path

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note the duration of the block."""
        started = time.perf_counter()
        yield
        self.times[name] = round(time.perf_counter() - started, 2)

    def focusable_nodes(self) -> list[dict[str, Any]]:
        """The nodes that take the focus, with role and name as a screen reader gets them."""
        session = self.page.context.new_cdp_session(self.page)
        nodes = session.send("Accessibility.getFullAXTree")["nodes"]
        focusable = []
        for node in nodes:
            properties = {item["name"]: item["value"].get("value") for item in node.get("properties", ())}
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
    """Write durations in seconds beside the screenshots, and print them."""
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / f"{name}.json").write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")
    for step, seconds in times.items():
        print(f"{name}: {step} {seconds:.2f} s")
