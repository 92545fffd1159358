"""Login sessions: a signed cookie that lasts for a shift; tickets are valid once and for a minute."""

import httpx
import pytest
from itsdangerous import URLSafeTimedSerializer
from starlette.applications import Starlette
from starlette.routing import Route

from monitoring.dashboard.login_session import COOKIE, SESSION_DURATION, SESSION_PATH, LoginSessions
from tests.serving.conftest import listening

DIGEST = "ab" * 32


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def sessions(now):
    return LoginSessions("a key", clock=lambda: now[0])


def test_a_ticket_is_valid_once(sessions):
    ticket = sessions.issue_ticket(DIGEST)

    assert sessions.token_digest(sessions.redeem(ticket)) == DIGEST
    assert sessions.redeem(ticket) is None


def test_a_ticket_expires_after_a_minute(sessions, now):
    ticket = sessions.issue_ticket(DIGEST)
    now[0] = 61.0

    assert sessions.redeem(ticket) is None


@pytest.mark.attack("a forged, altered or expired login cookie on the dashboard", "nobody is logged in")
def test_forged_altered_and_expired_cookies_log_nobody_in(sessions, monkeypatch):
    cookie = sessions.redeem(sessions.issue_ticket(DIGEST))
    forged = URLSafeTimedSerializer("another key", salt=COOKIE).dumps(DIGEST)

    assert [sessions.token_digest(c) for c in (None, "", "x", cookie[:-2], forged)] == [None] * 5
    later = SESSION_DURATION.total_seconds() + 60
    signer = type(sessions._signer.make_signer(COOKIE))
    real = signer.get_timestamp
    monkeypatch.setattr(signer, "get_timestamp", lambda self: real(self) + int(later))
    assert sessions.token_digest(cookie) is None


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(sessions):
    app = Starlette(routes=[Route(SESSION_PATH, sessions.answer, methods=["POST", "DELETE"])])
    with listening(app) as url:
        refused = httpx.post(url + SESSION_PATH, headers={"X-Ticket": "guess"})
        accepted = httpx.post(url + SESSION_PATH, headers={"X-Ticket": sessions.issue_ticket(DIGEST)})
        deleted = httpx.delete(url + SESSION_PATH)

    assert (refused.status_code, accepted.status_code, deleted.status_code) == (403, 204, 204)
    attributes = accepted.headers["set-cookie"].lower()
    assert all(
        name in attributes for name in ("httponly", "samesite=strict", f"max-age={12 * 3600}", "path=/")
    )
    assert 'safeplan_session=""' in deleted.headers["set-cookie"]
