"""Logging in: the same tokens as the endpoint's, shown once a session.

Knows the dialog and who is in. What a role may do is `serving.http.tokens`'.
"""

import streamlit as st

from monitoring.dashboard.theme import plain
from monitoring.dashboard.url_state import caller, plant
from monitoring.i18n.translation import Words
from serving.http.tokens import Caller, Role


def show_login(_: Words) -> None:
    """A popover in the head of the page: log in, or who is in and a way out."""
    found = caller()
    label = _("Log in") if found is None else plain(found.name)
    with st.popover(label, icon=":material/lock:" if found is None else ":material/lock_open:"):
        if found is not None:
            st.write(_("You may {what}.", what=role_words(_, found)))
            st.button(_("Log out"), on_click=_log_out)
        elif not plant().tokens:
            st.write(_("Without tokens the page is read-only. Set SAFEPLAN_TOKENS or server.tokens."))
        else:
            st.write(_("Everybody may look. To judge alerts, train or promote, show your token."))
            st.caption(_("It is the one of the endpoint; what you do is kept under its name."))
            with st.form("login", border=False):
                st.text_input(_("Token"), type="password", key="offered", autocomplete="current-password")
                st.form_submit_button(_("Log in"), on_click=_log_in)
            if st.session_state.pop("refused", False):
                st.error(_("This token is not known."))


def needs(_: Words, role: Role) -> bool:
    """Whether this reader may do this; if not, the page says what is missing."""
    found = caller()
    if found is not None and found.has_role(role):
        return True
    if found is None:
        st.caption(_("Log in to act (top right)."))
    else:
        st.caption(_("Your token may {what} only.", what=role_words(_, found)))
    return False


def role_words(_: Words, found: Caller) -> str:
    """What a role may do."""
    return {
        Role.READ: _("look"),
        Role.OPERATE: _("look, train and judge"),
        Role.PROMOTE: _("look, train, judge and promote"),
    }[found.role]


def _log_in() -> None:
    offered = st.session_state.pop("offered", "")
    if plant().caller(offered) is None:
        st.session_state["refused"] = True
    else:
        st.session_state["token"] = offered


def _log_out() -> None:
    st.session_state.pop("token", None)
