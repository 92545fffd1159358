"""The Forecasting tab: what a sensor did, what is expected of it, how far that can be believed.

Knows how the answers of the forecaster are laid out. Leaves forecasts to `page_data`, what numbers mean to
`page_words`, figures to `charts`.
"""

from datetime import datetime, timedelta
from html import escape

import streamlit as st

from monitoring.charts import TOOLS, Crossing, Limit, Pen
from monitoring.page_data import (
    Outlook,
    history,
    model_of,
    outlook,
    serving_version,
    step_of,
    usual_range,
)
from monitoring.page_links import links_of
from monitoring.page_look import cards, mark, palette, plain
from monitoring.page_state import choose, chosen_number, pick_hours, pick_sensor, plant, title_of
from monitoring.page_words import direction_words, forecast_quality, lasting, volatility_words
from monitoring.translation import Words
from training.errors import DataError, RegistryError
from training.fitted_forecaster import FARTHEST
from training.kinds import Kind
from training.plan import ForecasterSettings
from training.sensors import Sensor
from training.settings import load

FAR = min(1_000, FARTHEST)


def show(_: Words) -> None:
    """The whole tab; what depends on readings renews itself."""
    sensors = dict(plant().fleet.look().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, middle, right = st.columns([5, 2, 4], vertical_alignment="bottom")
    with left:
        sensor = pick_sensor(_, sensors)
    newest = plant().fleet.look().newest_of(sensor.id)
    if newest is None:
        st.info(_("This sensor has sent no reading yet. Load some: safeplan load FILE"))
        return
    step = step_of(sensor.id, newest)
    with middle:
        steps = _pick_steps(_, step)
    with right:
        hours = pick_hours(_, step)
    st.fragment(_show_sensor, run_every=plant().settings.refresh)(_, sensor, steps, hours)


def _pick_steps(_: Words, step: timedelta | None) -> int:
    usual = load(ForecasterSettings).horizon_steps
    now = chosen_number("steps", usual, low=1, high=FAR)
    label = _("Steps ahead")
    if step is not None:
        label = _("Steps ahead (of {step})", step=lasting(_, step))

    def changed() -> None:
        choose(steps=str(st.session_state["steps-box"]))

    return int(st.number_input(label, 1, FAR, now, step=usual, key="steps-box", on_change=changed))


def _show_sensor(_: Words, sensor: Sensor, steps: int, hours: float | None) -> None:
    view = plant().fleet.look()
    newest = view.newest_of(sensor.id)
    assert newest is not None
    measured = history(sensor.id, hours, newest)
    try:
        ahead = outlook(sensor.id, steps, newest, serving_version(sensor.id, Kind.FORECASTER))
    except (DataError, RegistryError) as error:
        st.warning(plain(str(error)))
        return
    st.subheader(plain(title_of(sensor)), anchor=False)
    crossings = crossings_of(_, sensor, ahead, newest)
    _tell(_, sensor, ahead, newest, crossings)
    figure = Pen(palette(), _).forecast(
        sensor, measured.good, ahead.frame, limits=limits_of(_, sensor), crossings=crossings
    )
    described = _("Readings of {sensor} and their forecast", sensor=sensor.id)
    st.plotly_chart(figure, config=TOOLS, key="forecast-chart", alt=described, theme=None)
    if measured.count > len(measured.good):
        st.caption(
            _(
                "{count} readings, thinned out for the eye; extremes are kept.",
                count=_.number(measured.count, 12),
            )
        )
    _show_quality(_, sensor, newest)
    _show_parts(_, sensor, ahead)


def limits_of(_: Words, sensor: Sensor) -> list[Limit]:
    """The critical limits and the physical range of a sensor, as far as they are known."""
    named = (
        (sensor.critical_high, _("upper critical limit"), 4),
        (sensor.critical_low, _("lower critical limit"), 4),
        (sensor.high, _("end of range"), 1),
        (sensor.low, _("end of range"), 1),
    )
    return [
        Limit(value, f"{name} {_.number(value)} {sensor.unit}".strip(), weight)
        for value, name, weight in named
        if value is not None
    ]


def crossings_of(_: Words, sensor: Sensor, ahead: Outlook, newest: datetime) -> list[Crossing]:
    """Where the forecast first passes each critical limit; where it does not, where its band does."""
    frame, found = ahead.frame, []
    for limit in limits_of(_, sensor):
        if limit.weight < 4:
            continue
        above = limit.value == sensor.critical_high
        edge, middle = frame["upper_bound" if above else "lower_bound"], frame["forecasted_values"]
        sentences = (
            (middle, _("Will probably cross the {limit}", limit=limit.name)),
            (edge, _("May cross the {limit}", limit=limit.name)),
        )
        for values, sentence in sentences:
            beyond = frame.loc[values >= limit.value if above else values <= limit.value, "timestamps"]
            if len(beyond):
                at = beyond.iloc[0].to_pydatetime()
                when = _("{moment}, in {time}", moment=_.moment(at), time=lasting(_, at - newest))
                found.append(Crossing(at, limit, f"{sentence}: {when}"))
                break
    return found


def _tell(
    _: Words,
    sensor: Sensor,
    ahead: Outlook,
    newest: datetime,
    crossings: list[Crossing],
) -> None:
    for crossing in crossings:
        st.html(f"<p role='status'>{mark(4, crossing.sentence)}</p>")
    said, unit = ahead.summary, sensor.unit
    last = ahead.frame.iloc[-1]
    cards(
        [
            (_("Newest reading"), _value(_, said["current_value"], unit), _.moment(newest)),
            (
                _("Expected at the end"),
                _value(_, said["final_value"], unit),
                f"{_.number(last['lower_bound'], 4)} … {_.number(last['upper_bound'], 4)} {unit}",
            ),
            (_("Direction"), direction_words(_, said["direction"]), _change(_, said["change"], unit)),
            (_("Lowest"), _value(_, said["min"], unit), _.moment(said["min_at"])),
            (_("Highest"), _value(_, said["max"], unit), _.moment(said["max_at"])),
            (
                _("Volatility"),
                _value(_, said["volatility"], unit),
                volatility_words(_, said["volatility"], usual_range(sensor.id, newest)),
            ),
        ]
    )


def _show_quality(_: Words, sensor: Sensor, newest: datetime) -> None:
    st.markdown(f"##### {_('How far this can be believed')}")
    model = model_of(sensor.id, Kind.FORECASTER)
    if model is None:
        st.caption(_("The registry has not been read yet."))
        return
    if model.status != "serving":
        gate = plain(str(model.detail.get("gate", "")))
        told = _("No forecaster serves this sensor: this is the naive forecast.")
        st.warning(f"{told} {gate}")
    measures = forecast_quality(_, model.metrics, sensor.unit, usual_range(sensor.id, newest))
    if measures:
        cards([(one.label, one.value + mark(one.weight, one.words, "small"), "") for one in measures])
        st.caption(_("Measured when it was trained, on the newest readings, which it had not seen then."))
        with st.expander(_("What these numbers mean")):
            st.markdown("\n".join(f"* **{one.label}**: {one.help}" for one in measures))
    links_of(_, model)


def _show_parts(_: Words, sensor: Sensor, ahead: Outlook) -> None:
    if not ahead.parts:
        return
    names = {
        "trend": _("Trend"),
        "daily": _("Over a day"),
        "weekly": _("Over a week"),
        "yearly": _("Over a year"),
    }
    with st.expander(_("What the forecast is made of")):
        st.caption(_("Prophet's trend and seasons; what the newest readings add comes on top."))
        pen = Pen(palette(), _)
        columns = st.columns(2)
        for place, (name, frame) in enumerate(ahead.parts.items()):
            with columns[place % 2]:
                st.markdown(f"**{names[name]}**")
                figure = pen.component(frame, unit=sensor.unit, season=None if name == "trend" else name)
                st.plotly_chart(figure, config=TOOLS, key=f"part-{name}", alt=names[name], theme=None)


def _value(_: Words, value: float, unit: str) -> str:
    return f"{_.number(value, 4)} <small>{escape(unit)}</small>"


def _change(_: Words, change: float, unit: str) -> str:
    return f"{'+' if change > 0 else ''}{_.number(change, 3)} {unit}".strip()
