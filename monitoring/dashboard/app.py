"""The Predictions page: the script that Streamlit runs for each reader, from its head to the tab chosen.

Knows the frame around the tabs: name, language, login, troubles. Each tab is a `page_*` module.
"""

from collections.abc import Callable

import streamlit as st

from monitoring.dashboard.login import show_login
from monitoring.dashboard.tabs import anomalies, fleet, forecast, models, training
from monitoring.dashboard.theme import plain, style
from monitoring.dashboard.url_state import (
    VIEWS,
    choose,
    chosen,
    pick,
    plant,
    reader_words,
    say_what_happened,
    shown_whole,
)
from monitoring.i18n.translation import Words, languages

LANGUAGES = {"en": "EN", "pt": "PT"}
SHOW: dict[str, Callable[[Words], None]] = {
    "fleet": fleet.show,
    "forecast": forecast.show,
    "anomalies": anomalies.show,
    "models": models.show,
    "training": training.show,
}


def main() -> None:
    """Draw the page as its address says."""
    st.set_page_config(page_title="SafePlan ML", layout="wide", initial_sidebar_state="collapsed")
    style()
    _ = reader_words()
    _head(_)
    say_what_happened()
    names = dict(zip(VIEWS, view_names(_), strict=True))
    now = chosen("view", VIEWS, VIEWS[0])
    key = f"view-{_.language}"
    if st.session_state.get(key) != names[now]:
        st.session_state[key] = names[now]

    def changed() -> None:
        choose(view=next(view for view, name in names.items() if name == st.session_state[key]))

    tabs = st.tabs(list(names.values()), key=key, on_change=changed)
    for view, tab in zip(VIEWS, tabs, strict=True):
        if view == now:
            with tab:
                _show(_, view)


def view_names(_: Words) -> tuple[str, ...]:
    """What the tabs are called, in the order of VIEWS."""
    return _("Fleet"), _("Forecasting"), _("Anomaly Detection"), _("Model Status"), _("Training")


def _head(_: Words) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f'<h1 class="sp-name">SafePlan<span>{_("Predictions")}</span></h1>', width="content")
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            options = {name: LANGUAGES.get(name, name.upper()) for name in languages()}
            pick(_, _("Language"), "lang", options, _.language, label_visibility="collapsed")
            show_login(_)


def _show(_: Words, view: str) -> None:
    if not shown_whole(SHOW[view], _):
        return
    trouble = plant().models.trouble
    if trouble is not None:
        st.warning(_("Models are shown as they were: {why}", why=plain(str(trouble))))


if __name__ == "__main__":
    main()
