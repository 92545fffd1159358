"""What one reader has chosen: kept in the address, so that a view can be sent to a colleague.

Knows query parameters, the session's token and the words of the reader's language, and how a click in a part
that renews itself reaches the rest of the page. Whatever an address says that cannot be meant is as if it had
not been said.
"""

from collections.abc import Callable, Collection
from datetime import timedelta
from functools import wraps
from typing import Any, TypeVar

import streamlit as st

from monitoring.dashboard.dashboard_state import DashboardState
from monitoring.dashboard.theme import escape_markdown
from monitoring.i18n.translation import Translator, available_languages, load_translator
from serving.http.tokens import Caller, Role
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.workspace import Workspace

T = TypeVar("T")

RERUN_PAGE_KEY = "around"  # something outside of the part that was clicked in has changed
VIEWS = ("fleet", "forecast", "anomalies", "models", "training")


@st.cache_resource(show_spinner=False)
def shared_state() -> DashboardState:
    """The installation, opened once for all readers."""
    return DashboardState(Workspace.here())


def read_choice(name: str, allowed: Collection[str], otherwise: str) -> str:
    """What the address says of one choice, if that is possible."""
    requested = st.query_params.get(name, otherwise)
    return requested if requested in allowed else otherwise


def read_number(name: str, otherwise: int, *, low: int, high: int) -> int:
    """The same of a number."""
    requested = st.query_params.get(name, "")
    return min(max(int(requested), low), high) if requested.isascii() and requested.isdigit() else otherwise


def set_choices(**changes: str) -> None:
    """Write choices into the address."""
    for name, value in changes.items():
        st.query_params[name] = value
    st.session_state[RERUN_PAGE_KEY] = True


def auto_refresh(show: Callable[..., None], every: float) -> Callable[..., None]:
    """A part of the page that renews itself; what a click in it changes around it is drawn anew as well."""

    @wraps(show)
    def shown(*arguments: Any) -> None:
        if st.session_state.pop(RERUN_PAGE_KEY, False):
            st.rerun()
        render_safely(show, *arguments)

    return st.fragment(shown, run_every=every)


def render_safely(show: Callable[..., None], *arguments: Any) -> bool:
    """Draw a part; where a database or registry that is away ends it, that is said in its place."""
    try:
        show(*arguments)
    except SafePlanError as error:
        _ = reader_translator()
        st.error(escape_markdown(str(error)))
        st.caption(_("The rest of the page goes on. This is tried anew as you go on."))
        return False
    return True


def reader_translator() -> Translator:
    """The words of the language chosen, by the plant's clock."""
    return load_translator(read_choice("lang", available_languages(), load_translator().language))


def pick_option(
    _: Translator,
    label: str,
    name: str,
    options: dict[str, str],
    otherwise: str,
    **options_of_control: object,
) -> str:
    """A row of buttons of which one is chosen and kept in the address; the option's key."""
    now = read_choice(name, options, otherwise)

    def changed() -> None:
        set_choices(**{name: st.session_state[key] or now})

    # A key of its own for each language, or the browser would keep the old labels.
    key = f"{name}-{_.language}"
    selected = st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=now,
        key=key,
        on_change=changed,
        required=True,
        **options_of_control,  # type: ignore[call-overload]
    )
    return str(selected or now)


def pick_hours(_: Translator, step: timedelta | None) -> float | None:
    """How far back is looked, counted from the newest reading; None: to the first one.

    At first, far enough for some 150 readings.
    """
    options = {
        "1": _("1 h"),
        "6": _("6 h"),
        "24": _("24 h"),
        "168": _("7 d"),
        "720": _("30 d"),
        "8784": _("1 y"),
        "all": _("all"),
    }
    min_hours = 150 * (step or timedelta(hours=1)) / timedelta(hours=1)
    usual = next((name for name in list(options)[:-1] if float(name) >= min_hours), "all")
    selected = pick_option(_, _("Look back"), "hours", options, usual)
    return None if selected == "all" else float(selected)


def pick_sensor(_: Translator, sensors: dict[str, Sensor]) -> Sensor:
    """The sensor looked at; typing finds one by its id, its name or its platform.

    At first, one that was scored, for there is more to see.
    """
    ids = list(sensors)
    scored = shared_state().fleet.get().rows["anomaly_score"].dropna().index
    now = read_choice("sensor", sensors, next((name for name in ids if name in scored), ids[0]))

    def changed() -> None:
        set_choices(sensor=st.session_state["sensor-box"])

    selected = st.selectbox(
        _("Sensor"),
        ids,
        index=ids.index(now),
        format_func=lambda sensor_id: sensor_title(sensors[sensor_id]),
        key="sensor-box",
        on_change=changed,
    )
    return sensors[selected]


def sensor_title(sensor: Sensor) -> str:
    """A sensor's id with what people call it and where it is."""
    description = " · ".join(part for part in (sensor.name, sensor.platform) if part)
    return f"{sensor.id} · {description}" if description else sensor.id


def current_caller() -> Caller | None:
    """Whose token this session has shown; looked up each time, so that a withdrawn one counts no more."""
    token = st.session_state.get("token")
    return shared_state().caller(token) if token else None


def has_role(role: Role) -> bool:
    """Whether this reader may do what needs a role."""
    token_caller = current_caller()
    return token_caller is not None and token_caller.has_role(role)


def run_action(action: Callable[[], T], done: Callable[[T], str] | None = None) -> T | None:
    """Do something a reader asked for; what went wrong is said on the page in the error's own words."""
    st.session_state[RERUN_PAGE_KEY] = True
    try:
        result = action()
    except SafePlanError as error:
        st.session_state["said"] = ("error", str(error))
        return None
    if done is not None:
        st.session_state["said"] = ("success", done(result))
    return result


def show_action_result() -> None:
    """Show what the last action came to, once; whatever it changed is drawn by this run."""
    st.session_state.pop(RERUN_PAGE_KEY, None)
    action_result = st.session_state.pop("said", None)
    if action_result is not None:
        kind, sentence = action_result
        (st.error if kind == "error" else st.success)(escape_markdown(sentence))
