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

from monitoring.dashboard.dashboard_state import Plant
from monitoring.dashboard.theme import plain
from monitoring.i18n.translation import Words, languages, words
from serving.http.tokens import Caller, Role
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.workspace import Workspace

T = TypeVar("T")

AROUND = "around"  # something outside of the part that was clicked in has changed
VIEWS = ("fleet", "forecast", "anomalies", "models", "training")


@st.cache_resource(show_spinner=False)
def plant() -> Plant:
    """The installation, opened once for all readers."""
    return Plant(Workspace.here())


def chosen(name: str, allowed: Collection[str], otherwise: str) -> str:
    """What the address says of one choice, if that is possible."""
    said = st.query_params.get(name, otherwise)
    return said if said in allowed else otherwise


def chosen_number(name: str, otherwise: int, *, low: int, high: int) -> int:
    """The same of a number."""
    said = st.query_params.get(name, "")
    return min(max(int(said), low), high) if said.isascii() and said.isdigit() else otherwise


def choose(**changes: str) -> None:
    """Write choices into the address."""
    for name, value in changes.items():
        st.query_params[name] = value
    st.session_state[AROUND] = True


def live(show: Callable[..., None], every: float) -> Callable[..., None]:
    """A part of the page that renews itself; what a click in it changes around it is drawn anew as well."""

    @wraps(show)
    def shown(*given: Any) -> None:
        if st.session_state.pop(AROUND, False):
            st.rerun()
        shown_whole(show, *given)

    return st.fragment(shown, run_every=every)


def shown_whole(show: Callable[..., None], *given: Any) -> bool:
    """Draw a part; where a database or registry that is away ends it, that is said in its place."""
    try:
        show(*given)
    except SafePlanError as error:
        _ = reader_words()
        st.error(plain(str(error)))
        st.caption(_("The rest of the page goes on. This is tried anew as you go on."))
        return False
    return True


def reader_words() -> Words:
    """The words of the language chosen, by the plant's clock."""
    return words(chosen("lang", languages(), words().language))


def pick(_: Words, label: str, name: str, options: dict[str, str], otherwise: str, **how: object) -> str:
    """A row of buttons of which one is chosen and kept in the address; the option's key."""
    now = chosen(name, options, otherwise)

    def changed() -> None:
        choose(**{name: st.session_state[key] or now})

    # A key of its own for each language, or the browser would keep the old labels.
    key = f"{name}-{_.language}"
    found = st.segmented_control(
        label,
        list(options),
        format_func=options.__getitem__,
        default=now,
        key=key,
        on_change=changed,
        required=True,
        **how,  # type: ignore[call-overload]
    )
    return str(found or now)


def pick_hours(_: Words, step: timedelta | None) -> float | None:
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
    wanted = 150 * (step or timedelta(hours=1)) / timedelta(hours=1)
    usual = next((name for name in list(options)[:-1] if float(name) >= wanted), "all")
    found = pick(_, _("Look back"), "hours", options, usual)
    return None if found == "all" else float(found)


def pick_sensor(_: Words, sensors: dict[str, Sensor]) -> Sensor:
    """The sensor looked at; typing finds one by its id, its name or its platform.

    At first, one that was scored, for there is more to see.
    """
    ids = list(sensors)
    scored = plant().fleet.look().rows["anomaly_score"].dropna().index
    now = chosen("sensor", sensors, next((name for name in ids if name in scored), ids[0]))

    def changed() -> None:
        choose(sensor=st.session_state["sensor-box"])

    found = st.selectbox(
        _("Sensor"),
        ids,
        index=ids.index(now),
        format_func=lambda sensor_id: title_of(sensors[sensor_id]),
        key="sensor-box",
        on_change=changed,
    )
    return sensors[found]


def title_of(sensor: Sensor) -> str:
    """A sensor's id with what people call it and where it is."""
    known = " · ".join(part for part in (sensor.name, sensor.platform) if part)
    return f"{sensor.id} · {known}" if known else sensor.id


def caller() -> Caller | None:
    """Whose token this session has shown; looked up each time, so that a withdrawn one counts no more."""
    token = st.session_state.get("token")
    return plant().caller(token) if token else None


def may(role: Role) -> bool:
    """Whether this reader may do what needs a role."""
    found = caller()
    return found is not None and found.has_role(role)


def attempt(action: Callable[[], T], done: Callable[[T], str] | None = None) -> T | None:
    """Do something a reader asked for; what went wrong is said on the page in the error's own words."""
    st.session_state[AROUND] = True
    try:
        found = action()
    except SafePlanError as error:
        st.session_state["said"] = ("error", str(error))
        return None
    if done is not None:
        st.session_state["said"] = ("success", done(found))
    return found


def say_what_happened() -> None:
    """Show what the last action came to, once; whatever it changed is drawn by this run."""
    st.session_state.pop(AROUND, None)
    said = st.session_state.pop("said", None)
    if said is not None:
        kind, sentence = said
        (st.error if kind == "error" else st.success)(plain(sentence))
