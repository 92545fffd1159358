"""Login sessions of the page: a signed, short-lived cookie, so that a login survives reloads and links.

The cookie holds the digest of the token, never the token, and the time of the login. Scripts cannot read it,
and other sites cannot send it. Streamlit cannot set such a cookie, so the page exchanges a ticket, valid once
and for a minute, at the route `SESSION_PATH`. Roles are in `serving.http.tokens`.
"""

import json
import os
import secrets
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus

import streamlit as st
from itsdangerous import BadSignature, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

COOKIE = "safeplan_session"
SESSION_PATH = "/session"
KEY_VARIABLE = "SAFEPLAN_PAGE_SESSION_KEY"  # shared by several pages; otherwise a restart ends all sessions
SESSION_DURATION = timedelta(hours=12)  # a shift
TICKET_DURATION = timedelta(minutes=1)


class LoginSessions:
    """Signs cookies and exchanges tickets for them; thread-safe."""

    def __init__(self, key: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        given = key or os.environ.get(KEY_VARIABLE) or secrets.token_hex(32)
        self._signer = URLSafeTimedSerializer(given, salt=COOKIE)
        self._tickets: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()
        self._clock = clock

    def issue_ticket(self, token_digest: str) -> str:
        """A ticket for the cookie of a login that has just succeeded."""
        ticket, now = secrets.token_urlsafe(24), self._clock()
        with self._lock:
            self._tickets = {name: entry for name, entry in self._tickets.items() if entry[1] > now}
            self._tickets[ticket] = (token_digest, now + TICKET_DURATION.total_seconds())
        return ticket

    def redeem(self, ticket: str) -> str | None:
        """The value of the cookie; None for a ticket that is unknown, used or too old."""
        with self._lock:
            digest, expires = self._tickets.pop(ticket, ("", 0.0))
        return str(self._signer.dumps(digest)) if expires > self._clock() else None

    def token_digest(self, cookie: str | None) -> str | None:
        """The digest of the token of a cookie; None if it is forged, altered or too old."""
        try:
            return str(self._signer.loads(cookie or "", max_age=int(SESSION_DURATION.total_seconds())))
        except BadSignature:
            return None

    async def answer(self, request: Request) -> Response:
        """POST with a ticket sets the cookie, DELETE deletes it."""
        ticket = request.headers.get("x-ticket", "")
        value = "" if request.method == "DELETE" else self.redeem(ticket)
        if value is None:
            return Response(status_code=HTTPStatus.FORBIDDEN)
        response = Response(status_code=HTTPStatus.NO_CONTENT)
        response.set_cookie(
            COOKIE,
            value,
            max_age=int(SESSION_DURATION.total_seconds()) if value else 0,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response


@st.cache_resource(show_spinner=False)
def login_sessions() -> LoginSessions:
    """The sessions of this process."""
    return LoginSessions()


def exchange_script(ticket: str | None) -> str:
    """A script that exchanges a ticket for the cookie, or without one deletes the cookie."""
    method = "DELETE" if ticket is None else "POST"
    headers = {} if ticket is None else {"X-Ticket": ticket}
    options = json.dumps({"method": method, "headers": headers, "credentials": "same-origin"})
    return f"<script>fetch({json.dumps(SESSION_PATH)}, {options})</script>"
