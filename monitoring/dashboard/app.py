"""The dashboard page: the script that Streamlit runs for each reader, from the header to the chosen tab.

Contains the frame around the tabs: name, language, login, result of the last action. Each tab is a module of
`monitoring.dashboard.tabs`.
"""

from collections.abc import Callable

import streamlit as st

from monitoring.dashboard.login import show_login
from monitoring.dashboard.part_errors import describe_error
from monitoring.dashboard.tabs import anomalies, fleet, forecast, models, training, trends
from monitoring.dashboard.theme import apply_style, escape_markdown
from monitoring.dashboard.url_state import (
    VIEWS,
    auto_refresh,
    pick_option,
    read_choice,
    reader_translator,
    render_with_retry,
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
    "trends": trends.show,
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
    render_with_retry(_show_page)


def _show_page() -> None:
    _ = reader_translator()
    _show_header(_)
    show_action_result()
    with st.container(key="refresh-errors"):  # its place exists at all times, as that of the action result
        auto_refresh(_show_refresh_errors, shared_state().settings.refresh)(_)
    names = dict(zip(VIEWS, tab_names(_), strict=True))
    view = read_choice("view", VIEWS, VIEWS[0])
    key = f"view-{_.language}"
    set_widget(key, names[view])

    def changed() -> None:
        set_choices(view=next(name for name in VIEWS if names[name] == st.session_state[key]))

    tabs = st.tabs(list(names.values()), key=key, on_change=changed)
    with tabs[VIEWS.index(view)]:
        render_with_retry(TAB_RENDERERS[view], _)


def tab_names(_: Translator) -> tuple[str, ...]:
    """The names of the tabs, in the order of VIEWS."""
    return (
        *(_("Overview"), _("Trends"), _("Forecasting")),
        *(_("Anomaly Detection"), _("Model Status"), _("Training")),
    )


def _show_header(_: Translator) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.html(f'<h1 class="sp-name">SafePlan<span>{_("Predictions")}</span></h1>', width="content")
        with st.container(horizontal=True, vertical_alignment="center", width="content"):
            options = {name: LANGUAGE_LABELS.get(name, name.upper()) for name in available_languages()}
            label, hidden = _("Language"), "collapsed"
            pick_option(label, "lang", options, _.language, key="lang-buttons", label_visibility=hidden)
            show_login(_)


def _show_refresh_errors(_: Translator) -> None:
    """Which data shown is old because its last refresh failed, and why."""
    shared = shared_state()
    readings = {describe_error(error, "refresh") for error in shared.refresh_errors()}
    for text in sorted(readings):
        st.warning(_("Readings and alerts could not be updated: {error}", error=escape_markdown(text)))
    if (error := shared.models.last_error) is not None:
        text = escape_markdown(describe_error(error, "models"))
        st.warning(_("Model status could not be updated: {error}", error=text))


if __name__ == "__main__":
    main()
