"""The dashboard page: the script that Streamlit runs for each reader, from the header to the chosen tab.

Contains the frame around the tabs: name, language, login, result of the last action. Each tab is a module of
`monitoring.dashboard.tabs`.
"""

from collections.abc import Callable

import streamlit as st

from monitoring.dashboard.login import show_login
from monitoring.dashboard.tabs import anomalies, fleet, forecast, models, training
from monitoring.dashboard.theme import apply_style, escape_markdown
from monitoring.dashboard.url_state import (
    VIEWS,
    pick_option,
    read_choice,
    reader_translator,
    render_safely,
    set_choices,
    set_widget,
    shared_state,
    show_action_result,
    synchronize_address,
)
from monitoring.i18n.translation import Translator, available_languages

LANGUAGE_LABELS = {"en": "EN", "pt": "PT"}
TAB_RENDERERS: dict[str, Callable[[Translator], None]] = {
    "fleet": fleet.show,
    "forecast": forecast.show,
    "anomalies": anomalies.show,
    "models": models.show,
    "training": training.show,
}


def main() -> None:
    """Draw the page as the reader chose it."""
    st.set_page_config(page_title="SafePlan ML", layout="wide", initial_sidebar_state="collapsed")
    apply_style()
    synchronize_address()
    _ = reader_translator()
    _show_header(_)
    show_action_result()
    names = dict(zip(VIEWS, tab_names(_), strict=True))
    view = read_choice("view", VIEWS, VIEWS[0])
    key = f"view-{_.language}"
    set_widget(key, names[view])

    def changed() -> None:
        set_choices(view=next(name for name in VIEWS if names[name] == st.session_state[key]))

    tabs = st.tabs(list(names.values()), key=key, on_change=changed)
    with tabs[VIEWS.index(view)]:
        _show_tab(_, view)


def tab_names(_: Translator) -> tuple[str, ...]:
    """The names of the tabs, in the order of VIEWS."""
    return _("Overview"), _("Forecasting"), _("Anomaly Detection"), _("Model Status"), _("Training")


def _show_header(_: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f'<h1 class="sp-name">SafePlan<span>{_("Predictions")}</span></h1>', width="content")
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            options = {name: LANGUAGE_LABELS.get(name, name.upper()) for name in available_languages()}
            label, hidden = _("Language"), "collapsed"
            pick_option(label, "lang", options, _.language, key="lang-buttons", label_visibility=hidden)
            show_login(_)


def _show_tab(_: Translator, view: str) -> None:
    if not render_safely(TAB_RENDERERS[view], _):
        return
    error = shared_state().models.last_error
    if error is not None:
        st.warning(_("Model status could not be updated: {error}", error=escape_markdown(str(error))))


if __name__ == "__main__":
    main()
