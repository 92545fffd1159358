"""The Predictions page: the script that Streamlit runs for each reader, from its head to the tab chosen.

Knows the frame around the tabs: name, language, login, troubles. Each tab is a `page_*` module.
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
    shared_state,
    show_action_result,
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
    """Draw the page as its address says."""
    st.set_page_config(page_title="SafePlan ML", layout="wide", initial_sidebar_state="collapsed")
    apply_style()
    _ = reader_translator()
    _show_header(_)
    show_action_result()
    names = dict(zip(VIEWS, tab_names(_), strict=True))
    now = read_choice("view", VIEWS, VIEWS[0])
    key = f"view-{_.language}"
    if st.session_state.get(key) != names[now]:
        st.session_state[key] = names[now]

    def changed() -> None:
        set_choices(view=next(view for view, name in names.items() if name == st.session_state[key]))

    tabs = st.tabs(list(names.values()), key=key, on_change=changed)
    for view, tab in zip(VIEWS, tabs, strict=True):
        if view == now:
            with tab:
                _show_tab(_, view)


def tab_names(_: Translator) -> tuple[str, ...]:
    """What the tabs are called, in the order of VIEWS."""
    return _("Fleet"), _("Forecasting"), _("Anomaly Detection"), _("Model Status"), _("Training")


def _show_header(_: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f'<h1 class="sp-name">SafePlan<span>{_("Predictions")}</span></h1>', width="content")
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            options = {name: LANGUAGE_LABELS.get(name, name.upper()) for name in available_languages()}
            pick_option(_, _("Language"), "lang", options, _.language, label_visibility="collapsed")
            show_login(_)


def _show_tab(_: Translator, view: str) -> None:
    if not render_safely(TAB_RENDERERS[view], _):
        return
    error = shared_state().models.last_error
    if error is not None:
        st.warning(_("Models are shown as they were: {why}", why=escape_markdown(str(error))))


if __name__ == "__main__":
    main()
