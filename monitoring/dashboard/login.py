"""Login on the page with a token of the endpoint; it lasts for a shift, over reloads and links.

Contains the login dialog and the notice for readers without the needed role. The roles are in
`serving.http.tokens`, the cookie is in `login_session`.
"""

import streamlit as st

from monitoring.dashboard.login_session import exchange_script, login_sessions
from monitoring.dashboard.theme import escape_markdown
from monitoring.dashboard.url_state import TOKEN_DIGEST_KEY, current_caller, has_role, shared_state
from monitoring.i18n.translation import Translator
from serving.http.tokens import Role, token_digest

LOGIN_BOX_KEY = "login-box"
REFUSED_KEY = "login-refused"
SCRIPT_KEY = "login-script"


def show_login(_: Translator) -> None:
    """A popover in the header: log in, or who is logged in and a way out."""
    caller = current_caller()
    _send_cookie()
    label = _("Log in") if caller is None else f"{escape_markdown(caller.name)} · {role_name(_, caller.role)}"
    icon = ":material/lock:" if caller is None else ":material/lock_open:"
    with st.popover(label, icon=icon):
        if caller is not None:
            st.write(_("Your role allows you to {actions}.", actions=role_text(_, caller.role)))
            st.button(_("Log out"), on_click=_log_out)
        elif not shared_state().tokens:
            st.write(_("Without tokens the page is read-only. Set SAFEPLAN_TOKENS or server.tokens."))
        else:
            st.write(_("Enter your API token to acknowledge alerts, train or promote."))
            st.caption(_("Viewing needs no login. Actions are recorded under the name of the token."))
            with st.form("login", border=False):
                st.text_input(_("Token"), type="password", key=LOGIN_BOX_KEY, autocomplete="current-password")
                st.form_submit_button(_("Log in"), on_click=_log_in)
            if st.session_state.pop(REFUSED_KEY, False):
                st.error(_("Unknown token."))


def require_role(_: Translator, role: Role) -> bool:
    """Whether this reader has a role; if not, the page shows what is missing."""
    if has_role(role):
        return True
    caller = current_caller()
    if caller is None:
        st.caption(_("Log in to acknowledge alerts, train or promote (top right)."))
    else:
        st.caption(_("Your role only allows you to {actions}.", actions=role_text(_, caller.role)))
    return False


def role_name(_: Translator, role: Role) -> str:
    """The name of a role."""
    return {Role.READ: _("viewer"), Role.OPERATE: _("operator"), Role.PROMOTE: _("engineer")}[role]


def role_text(_: Translator, role: Role) -> str:
    """What a role allows."""
    return {
        Role.READ: _("view"),
        Role.OPERATE: _("view, train and review alerts"),
        Role.PROMOTE: _("view, train, review alerts and promote"),
    }[role]


def _log_in() -> None:
    digest = token_digest(st.session_state.pop(LOGIN_BOX_KEY, "").strip())
    if shared_state().caller(digest) is None:
        st.session_state[REFUSED_KEY] = True
    else:
        st.session_state[TOKEN_DIGEST_KEY] = digest
        st.session_state[f"{SCRIPT_KEY}-text"] = exchange_script(login_sessions().issue_ticket(digest))


def _log_out() -> None:
    st.session_state[TOKEN_DIGEST_KEY] = None
    st.session_state[f"{SCRIPT_KEY}-text"] = exchange_script(None)


def _send_cookie() -> None:
    """Let the browser set or delete its cookie, once after a login or logout."""
    with st.container(key=SCRIPT_KEY):
        script = st.session_state.pop(f"{SCRIPT_KEY}-text", None)
        if script is not None:
            st.html(script, unsafe_allow_javascript=True)
