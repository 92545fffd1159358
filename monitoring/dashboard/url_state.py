"""Choices of one reader (tab, sensor, period, language), mirrored in the page's address.

The session holds the choices; the address is a copy that can be sent to a colleague. A value in the address
that is not possible is ignored. Drawing the controls for a sensor and a period is here too; what all readers
share is in `dashboard_state`.
"""

from collections.abc import Callable, Collection, Iterator
from datetime import datetime, timedelta
from functools import wraps
from itertools import count
from typing import Any, TypeVar

import streamlit as st

from monitoring.dashboard.dashboard_state import DashboardState
from monitoring.dashboard.fleet_view import FleetView
from monitoring.dashboard.login_session import COOKIE, login_sessions
from monitoring.dashboard.part_errors import describe_error, forget_error
from monitoring.dashboard.theme import escape_markdown
from monitoring.i18n.translation import Translator, available_languages, load_translator
from serving.http.tokens import Caller, Role
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.workspace import Workspace

T = TypeVar("T")

CHOICES_KEY = "choices"
SYNCHRONIZED_KEY = "synchronized-choices"  # those that the address was last written from or read into
SENT_ADDRESS_KEY = "sent-address"  # an address that the browser has not confirmed yet
RERUN_PAGE_KEY = "rerun-page"  # a click inside a fragment changed something outside of it
ACTION_RESULT_KEY = "action-result"
TOKEN_DIGEST_KEY = "token-digest"  # noqa: S105 - a key of the session, no secret
RETRY_SECONDS = 5.0
VIEWS = ("fleet", "trends", "forecast", "anomalies", "models", "training")


@st.cache_resource(show_spinner=False)
def shared_state() -> DashboardState:
    """The installation, opened once for all readers."""
    return DashboardState(Workspace.here())


def synchronize_address() -> None:
    """Write changed choices into the address, or follow the address where the reader changed it.

    Each request carries the address that the browser had when it sent it. The timer of a fragment may fire
    between a click and the arrival of the new address, so an address that differs is a decision of the reader
    (the Back button) only after the browser has confirmed the one sent last.
    """
    confirm_address()
    state, address = st.session_state, st.query_params.to_dict()
    choices = state.get(CHOICES_KEY)
    if choices is not None and choices != state[SYNCHRONIZED_KEY]:
        st.query_params.from_dict(choices)
        state[SENT_ADDRESS_KEY] = state[SYNCHRONIZED_KEY] = choices
    elif choices is None or SENT_ADDRESS_KEY not in state:
        state[CHOICES_KEY] = state[SYNCHRONIZED_KEY] = address


def confirm_address() -> None:
    """Note that the browser has the address sent last, where this request shows it."""
    if st.query_params.to_dict() == st.session_state.get(SENT_ADDRESS_KEY):
        del st.session_state[SENT_ADDRESS_KEY]


def read_choice(name: str, allowed: Collection[str], default: str) -> str:
    """A choice, or the default where there is none or it is not possible."""
    chosen = _choices().get(name, default)
    return chosen if chosen in allowed else default


def read_text(name: str) -> str:
    """The text of a choice in the address; empty where there is none."""
    return _choices().get(name, "")


def read_number(name: str, default: int, *, low: int, high: int) -> int:
    """A number among the choices, clipped to its limits."""
    chosen = _choices().get(name, "")
    return min(max(int(chosen), low), high) if chosen.isascii() and chosen.isdigit() else default


def set_choices(**changes: str) -> None:
    """Change choices; the next run of the whole page writes them into the address."""
    st.session_state[CHOICES_KEY] = _choices() | changes
    st.session_state[RERUN_PAGE_KEY] = True


def set_widget(key: str, value: object) -> None:
    """Let a control show a value, whatever it showed before."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value


def auto_refresh(show: Callable[..., None], every: float) -> Callable[..., None]:
    """A part of the page that is redrawn by itself every `every` seconds, as a fragment.

    A click in it that changes something outside reruns the whole page.
    """

    runs = count()

    @wraps(show)
    def shown(*arguments: Any) -> None:
        if next(runs):  # a request of the browser for this part; the first run is within that of the page
            confirm_address()
        if st.session_state.get(RERUN_PAGE_KEY, False):
            st.rerun()
        render_safely(show, *arguments)

    return st.fragment(shown, run_every=every)


def render_safely(show: Callable[..., None], *arguments: Any) -> bool:
    """Draw a part; False, with the error in its place, where that fails."""
    part = show.__qualname__
    try:
        show(*arguments)
    except Exception as error:  # noqa: BLE001 (logged and shown; the other parts must be drawn)
        st.error(escape_markdown(describe_error(error, part)))
        st.caption(_retry_notice())
        return False
    forget_error(part)
    return True


def render_with_retry(show: Callable[..., None], *arguments: Any) -> None:
    """Draw a part that has no refresh of its own; where that fails, rerun the page every few seconds."""
    if not render_safely(show, *arguments):
        auto_refresh(_rerun_page, RETRY_SECONDS)(count())


def _rerun_page(runs: Iterator[int]) -> None:
    if next(runs):  # the first run is within that of the page
        st.rerun()


def _retry_notice() -> str:
    try:
        _: Callable[[str], str] = reader_translator()
    except SafePlanError:
        _ = str  # English: the settings cannot be read, which may be the error itself
    return _("This part is retried automatically.")


def reader_translator() -> Translator:
    """The reader's language, in the time zone of the site."""
    return load_translator(read_choice("lang", available_languages(), load_translator().language))


def pick_option(
    label: str, name: str, options: dict[str, str], default: str, *, key: str, **control_options: object
) -> str:
    """A row of buttons, one of them chosen; the key of that option.

    The labels of a control may not change; one with translated labels needs a key per language.
    """
    current = read_choice(name, options, default)
    set_widget(key, current)

    def changed() -> None:
        set_choices(**{name: st.session_state[key] or current})

    st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        key=key,
        on_change=changed,
        required=True,
        **control_options,  # type: ignore[call-overload]
    )
    return current


def pick_hours(_: Translator, step: timedelta | None) -> float | None:
    """How many hours up to the newest reading are shown; None for all. By default some 150 readings."""
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
    default = next((name for name in list(options)[:-1] if float(name) >= min_hours), "all")
    selected = pick_option(_("Period"), "hours", options, default, key=f"hours-{_.language}")
    return None if selected == "all" else float(selected)


def pick_sensor(_: Translator, sensors: dict[str, Sensor]) -> Sensor:
    """The chosen sensor, found by typing its id, name or platform; by default the first that has a score."""
    scored = set(shared_state().fleet.get().rows["anomaly_score"].dropna().index)
    default = next((sensor_id for sensor_id in sensors if sensor_id in scored), next(iter(sensors)))
    current = read_choice("sensor", sensors, default)
    set_widget("sensor-box", current)

    def changed() -> None:
        set_choices(sensor=st.session_state["sensor-box"])

    st.selectbox(
        _("Sensor"),
        list(sensors),
        format_func=lambda sensor_id: sensor_title(sensors[sensor_id]),
        key="sensor-box",
        on_change=changed,
    )
    return sensors[current]


def sensor_title(sensor: Sensor) -> str:
    """A sensor's id, name and platform."""
    description = " · ".join(part for part in (sensor.name, sensor.platform) if part)
    return f"{sensor.id} · {description}" if description else sensor.id


def fleet_with(sensor_id: str) -> tuple[FleetView, datetime]:
    """The fleet, and the newest reading of a sensor that is shown.

    Where the sensor has left the fleet or lost its readings meanwhile, the page is rerun with another one.
    """
    view = shared_state().fleet.get()
    newest = view.newest_of(sensor_id)
    if newest is None:
        st.rerun()
    return view, newest


def current_caller() -> Caller | None:
    """Who is logged in; looked up each time, so that a withdrawn token is no longer valid.

    A new session, after a reload or of a link, begins with the login of the browser's cookie.
    """
    if TOKEN_DIGEST_KEY not in st.session_state:
        st.session_state[TOKEN_DIGEST_KEY] = login_sessions().token_digest(st.context.cookies.get(COOKIE))
    digest = st.session_state[TOKEN_DIGEST_KEY]
    return shared_state().caller(digest) if digest else None


def has_role(role: Role) -> bool:
    """Whether this reader is logged in with at least this role."""
    caller = current_caller()
    return caller is not None and caller.has_role(role)


def run_action(
    _: Translator, role: Role, action: Callable[[str], T], success: Callable[[T], str] | None = None
) -> None:
    """Do what a button is for, with the name of the caller; the result or error is shown at the top.

    The role is checked again: the token may have been withdrawn since the button was drawn.
    """
    st.session_state[RERUN_PAGE_KEY] = True
    caller = current_caller()
    if caller is None or not caller.has_role(role):
        _keep_result("error", _("Your token no longer allows this. Log in again."))
        return
    try:
        result = action(caller.name)
    except Exception as error:  # noqa: BLE001 (logged and shown: the button did not do its work)
        _keep_result("error", describe_error(error, action.__qualname__))
        return
    if success is not None:
        _keep_result("success", success(result))


def show_action_result() -> None:
    """Show the result of the last action, once.

    Its place exists at all times: an element that comes and goes would move all others, and Streamlit would
    draw them from scratch and drop clicks on the old ones.
    """
    st.session_state.pop(RERUN_PAGE_KEY, None)
    with st.container(key=ACTION_RESULT_KEY):
        if (result := st.session_state.pop(f"{ACTION_RESULT_KEY}-text", None)) is not None:
            kind, text = result
            (st.error if kind == "error" else st.success)(escape_markdown(text))


def _keep_result(kind: str, text: str) -> None:
    st.session_state[f"{ACTION_RESULT_KEY}-text"] = (kind, text)


def _choices() -> dict[str, str]:
    choices: dict[str, str] = st.session_state.get(CHOICES_KEY, {})
    return choices
