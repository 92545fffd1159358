"""Server of the dashboard: address, Streamlit options and security headers of `safeplan dashboard`.

The page itself is the script `app`.
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
from starlette.routing import Route
from streamlit import config

from monitoring.dashboard.dashboard_state import PageSettings
from monitoring.dashboard.login_session import SESSION_PATH, login_sessions
from monitoring.dashboard.theme import THEME_OPTIONS
from monitoring.dashboard.url_state import shared_state
from serving.http.process_tuning import limit_registry_waits
from serving.http.server_process import ServerSettings, check_address, log_to_stderr
from serving.http.tokens import Tokens
from training.settings import load_settings

SCRIPT = Path(__file__).with_name("app.py")

# The page loads nothing from other hosts and sends nothing to them; the headers below enforce that.
STREAMLIT_OPTIONS: dict[str, Any] = {
    **THEME_OPTIONS,
    "browser.gatherUsageStats": False,
    "server.headless": True,
    "server.fileWatcherType": "none",
    "client.toolbarMode": "minimal",
    "client.showErrorDetails": "none",
    "runner.magicEnabled": False,
}
SECURITY_HEADERS = {
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


class SecurityHeaders:
    """ASGI middleware that adds SECURITY_HEADERS to every response."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        """Pass the request on, and the response with the headers back."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS.items()]
            await send(message)

        await self.app(scope, receive, send_with_headers)


def create_dashboard_app() -> st.App:
    """The dashboard as an ASGI app; it starts loading the shared state at once."""
    limit_registry_waits()
    for name, value in STREAMLIT_OPTIONS.items():
        config.set_option(name, value)
    session = Route(SESSION_PATH, login_sessions().answer, methods=["POST", "DELETE"])
    return st.App(SCRIPT, lifespan=_lifespan, routes=[session], middleware=[Middleware(SecurityHeaders)])


def serve_dashboard(settings: PageSettings) -> None:
    """Serve until the process is stopped.

    Raises:
        ConfigurationError: other machines could reach it and there is no token.
    """
    server = load_settings(ServerSettings)
    requested_server = server.model_copy(
        update={"host": settings.host, "allow_everyone": settings.allow_everyone}
    )
    check_address(requested_server, Tokens.from_environment(server.tokens))
    if settings.mlflow:
        os.environ["SAFEPLAN_PAGE_MLFLOW"] = settings.mlflow
    log_to_stderr()
    uvicorn.run(
        create_dashboard_app(),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
    )


@asynccontextmanager
async def _lifespan(_: st.App) -> AsyncIterator[None]:
    threading.Thread(target=_warm_up, name="warm-up", daemon=True).start()
    yield


def _warm_up() -> None:
    shared = shared_state()
    for cache in (shared.fleet, shared.alerts, shared.models, shared.checks, shared.trainable):
        cache.get_if_loaded()
