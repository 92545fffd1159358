"""`safeplan dashboard` as a process: where it listens, what browsers are told, what it does not do.

Knows Streamlit's server and its settings. The page itself is `dashboard`.
"""

import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from streamlit import config

from monitoring.dashboard.dashboard_state import PageSettings
from monitoring.dashboard.theme import OPTIONS
from monitoring.dashboard.url_state import plant
from serving.http.server_process import ServerSettings, check_address, log_to_stderr
from serving.http.tokens import Tokens
from serving.scoring.fleet_service import MLFLOW_CLIENT_ENVIRONMENT
from training.settings import load_settings

SCRIPT = Path(__file__).with_name("app.py")

# Nothing is sent to or fetched from anywhere else; that is also what the headers below tell the browser.
CHOICES: dict[str, Any] = {
    **OPTIONS,
    "browser.gatherUsageStats": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "runner.magicEnabled": False,
}
HEADERS = {
    b"content-security-policy": (
        b"default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
        b"style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        b"connect-src 'self' ws: wss:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        b"form-action 'self'; frame-ancestors 'none'"
    ),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
}

Message = dict[str, Any]
Send = Callable[[Message], Awaitable[None]]


class SafeHeaders:
    """Adds the headers to every answer."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """Answer as the app does."""

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS.items()]
            await send(message)

        await self.app(scope, receive, answer)


def page_app() -> st.App:
    """The page as an app; what all readers share is fetched while it starts."""
    for name, value in MLFLOW_CLIENT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name, value in CHOICES.items():
        config.set_option(name, value)
    return st.App(SCRIPT, lifespan=_warm, middleware=[Middleware(SafeHeaders)])


def serve_page(settings: PageSettings) -> None:
    """Serve until asked to end.

    Raises:
        ConfigurationError: everyone could reach it, and there is no token; with what to do.
    """
    server = load_settings(ServerSettings)
    asked = server.model_copy(update={"host": settings.host, "allow_everyone": settings.allow_everyone})
    check_address(asked, Tokens.from_environment(server.tokens))
    if settings.mlflow:
        os.environ["SAFEPLAN_PAGE_MLFLOW"] = settings.mlflow
    log_to_stderr()
    uvicorn.run(
        page_app(),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
    )


@asynccontextmanager
async def _warm(_: st.App) -> AsyncIterator[None]:
    threading.Thread(target=_look_once, name="warm-up", daemon=True).start()
    yield


def _look_once() -> None:
    shared = plant()
    for kept in (shared.fleet, shared.alerts, shared.models, shared.checks, shared.able):
        kept.peek()
