"""Middleware around every request: checks the token, formats errors, counts and logs.

A request is logged in one line, without its rows and its token. Requests are answered by `app`.
"""

import logging
import time
import uuid
from typing import Any

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.contract import BadRequest
from serving.http.metrics import Metrics
from serving.http.request_bodies import to_json
from serving.http.tokens import Tokens

log = logging.getLogger("safeplan.requests")

PUBLIC_PATHS = frozenset({"/health", "/ready", "/ping", "/openapi.json"})
ERROR_TEXTS = {
    404: (
        "There is no path {path}. The paths are /invocations, /models, /metrics, /health, /ready and "
        "/openapi.json."
    ),
    405: "{path} does not accept {method}.",
}

# A client that sends too much or too slowly is disconnected.
ERROR_HEADERS = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},
    413: {"Connection": "close"},
    503: {"Retry-After": "1"},
}
CLIENT_CLOSED_REQUEST = 499  # logged and counted where the client disconnected before its answer


class AuthMiddleware:
    """Wraps the app in plain ASGI: Starlette's middleware class costs half a millisecond per answer."""

    def __init__(self, app: ASGIApp, *, tokens: Tokens, metrics: Metrics, paths: frozenset[str]) -> None:
        self.app = app
        self.tokens = tokens
        self.metrics = metrics
        self.paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on or refuse it; count and log it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, number, status = time.perf_counter(), uuid.uuid4().hex[:16], 0
        log_fields: dict[str, Any] = {}
        scope.setdefault("state", {})["log_fields"] = log_fields
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def send_numbered(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"safeplan-request", number.encode())]
            await send(message)

        try:
            app = self.app if self._is_allowed(scope, path) else MISSING_TOKEN_RESPONSE
            await app(scope, receive, send_numbered)
        except ClientDisconnect:
            status = status or CLIENT_CLOSED_REQUEST
        # Any fault of ours: the client still gets an answer, the log gets the trace.
        except Exception:
            log.exception("request failed")
            if not status:
                failed = error_response("Internal error; see the server log for details.", 500)
                await failed(scope, receive, send_numbered)
        finally:
            self._log_request(
                path, scope["method"], status, number, time.perf_counter() - started, log_fields
            )

    def _is_allowed(self, scope: Scope, path: str) -> bool:
        return path in PUBLIC_PATHS or self.tokens.is_allowed(Request(scope).headers.get("authorization"))

    def _log_request(
        self, path: str, method: str, status: int, number: str, seconds: float, log_fields: dict[str, Any]
    ) -> None:
        self.metrics.requests.labels(path, status).inc()
        if path == "/invocations":
            self.metrics.seconds.observe(seconds)
        if status >= 400:
            self.metrics.refusals.labels(str(status)).inc()
        ms = round(1000 * seconds, 1)
        line = {"request": number, "method": method, "path": path, "status": status, "ms": ms, **log_fields}
        log.info("request", extra=line)


def error_response(message: str, status: int) -> Response:
    """An error in the form that all errors of this app have."""
    return Response(to_json({"error": message}), status, ERROR_HEADERS.get(status), "application/json")


async def handle_bad_request(_: Request, error: Exception) -> Response:
    """The answer to an invalid request."""
    assert isinstance(error, BadRequest)
    return error_response(str(error), error.status)


async def handle_http_exception(request: Request, error: Exception) -> Response:
    """The answer to a request that the framework refuses."""
    assert isinstance(error, HTTPException)
    message = ERROR_TEXTS.get(error.status_code, str(error.detail))
    response = error_response(
        message.format(path=request.url.path[:80], method=request.method), error.status_code
    )
    response.headers.update(error.headers or {})
    return response


MISSING_TOKEN_RESPONSE = error_response("This path needs a token. Send: Authorization: Bearer TOKEN", 401)
