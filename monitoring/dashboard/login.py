"""Logging in: the same tokens as the endpoint's, shown once a session.

Knows the dialog and who is in. What a role may do is `serving.http.tokens`'.
"""

import streamlit as st

from monitoring.dashboard.theme import escape_markdown
from monitoring.dashboard.url_state import current_caller, shared_state
from monitoring.i18n.translation import Translator
from serving.http.tokens import Caller, Role


def show_login(_: Translator) -> None:
    """A popover in the head of the page: log in, or who is in and a way out."""
    token_caller = current_caller()
    label = _("Log in") if token_caller is None else escape_markdown(token_caller.name)
    with st.popover(label, icon=":material/lock:" if token_caller is None else ":material/lock_open:"):
        if token_caller is not None:
            st.write(_("You may {what}.", what=role_text(_, token_caller)))
            st.button(_("Log out"), on_click=_log_out)
        elif not shared_state().tokens:
            st.write(_("Without tokens the page is read-only. Set SAFEPLAN_TOKENS or server.tokens."))
        else:
            st.write(_("Everybody may look. To judge alerts, train or promote, show your token."))
            st.caption(_("It is the one of the endpoint; what you do is kept under its name."))
            with st.form("login", border=False):
                st.text_input(_("Token"), type="password", key="offered", autocomplete="current-password")
                st.form_submit_button(_("Log in"), on_click=_log_in)
            if st.session_state.pop("refused", False):
                st.error(_("This token is not known."))


def require_role(_: Translator, role: Role) -> bool:
    """Whether this reader may do this; if not, the page says what is missing."""
    token_caller = current_caller()
    if token_caller is not None and token_caller.has_role(role):
        return True
    if token_caller is None:
        st.caption(_("Log in to act (top right)."))
    else:
        st.caption(_("Your token may {what} only.", what=role_text(_, token_caller)))
    return False


def role_text(_: Translator, token_caller: Caller) -> str:
    """What a role may do."""
    return {
        Role.READ: _("look"),
        Role.OPERATE: _("look, train and judge"),
        Role.PROMOTE: _("look, train, judge and promote"),
    }[token_caller.role]


def _log_in() -> None:
    offered = st.session_state.pop("offered", "")
    if shared_state().caller(offered) is None:
        st.session_state["refused"] = True
    else:
        st.session_state["token"] = offered


def _log_out() -> None:
    st.session_state.pop("token", None)
