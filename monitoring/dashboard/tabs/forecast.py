"""The Forecasting tab: what a sensor did, what is expected of it, how far that can be believed.

Knows how the answers of the forecaster are laid out. Leaves forecasts to `page_data`, what numbers mean to
`page_words`, figures to `charts`.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from html import escape

import streamlit as st

from monitoring.alerts.kinds import AlertType
from monitoring.dashboard.charts import TOOLS, Crossing, Pen
from monitoring.dashboard.mlflow_links import links_of
from monitoring.dashboard.sensor_data import (
    Outlook,
    history,
    model_of,
    outlook,
    serving_version,
    step_of,
    usual_range,
)
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.limits import crossings_of, limits_of
from monitoring.dashboard.theme import cards, mark, palette, plain
from monitoring.dashboard.url_state import (
    choose,
    chosen_number,
    live,
    pick_hours,
    pick_sensor,
    plant,
    title_of,
)
from monitoring.dashboard.wording import direction_words, forecast_quality, lasting, volatility_words
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from training.data.sensors import Sensor
from training.errors import DataError, RegistryError
from training.forecasting.fitted_forecaster import MAX_STEPS_AHEAD
from training.kinds import Kind
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings

FAR = min(1_000, MAX_STEPS_AHEAD)


def show(_: Words) -> None:
    """The whole tab; what depends on readings renews itself."""
    sensors = dict(plant().fleet.look().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, middle, right = st.columns([7, 4, 10], vertical_alignment="bottom")
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
    live(_show_outlook, plant().settings.refresh)(_, sensor, steps, hours)
    live(show_alerts, plant().settings.refresh)(_, sensor, (AlertType.FORECAST_WARNING,))
    live(_show_model, plant().settings.models_refresh)(_, sensor, steps)


def _pick_steps(_: Words, step: timedelta | None) -> int:
    usual = load_settings(ForecasterSettings).horizon_steps
    now = chosen_number("steps", usual, low=1, high=FAR)
    label = _("Steps ahead")
    if step is not None:
        label = _("Steps ahead (of {step})", step=lasting(_, step))

    def changed() -> None:
        choose(steps=str(st.session_state["steps-box"]))

    return int(st.number_input(label, 1, FAR, now, step=usual, key="steps-box", on_change=changed))


def _show_outlook(_: Words, sensor: Sensor, steps: int, hours: float | None) -> None:
    view = plant().fleet.look()
    newest = view.newest_of(sensor.id)
    assert newest is not None
    measured = history(sensor.id, hours, newest)
    try:
        ahead = _ahead(sensor, steps, newest)
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


def _ahead(sensor: Sensor, steps: int, newest: datetime) -> Outlook:
    return outlook(sensor.id, steps, newest, serving_version(sensor.id, Kind.FORECASTER))


def _tell(
    _: Words,
    sensor: Sensor,
    ahead: Outlook,
    newest: datetime,
    crossings: list[Crossing],
) -> None:
    for crossing in crossings:
        st.html(f"<p role='status'>{mark(crossing.weight, crossing.sentence)}</p>")
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


def _show_model(_: Words, sensor: Sensor, steps: int) -> None:
    newest = plant().fleet.look().newest_of(sensor.id)
    assert newest is not None
    _show_quality(_, sensor, newest)
    with suppress(DataError, RegistryError):  # told above the chart
        _show_parts(_, sensor, _ahead(sensor, steps, newest))


def _show_quality(_: Words, sensor: Sensor, newest: datetime) -> None:
    st.markdown(f"##### {_('How far this can be believed')}")
    model = model_of(sensor.id, Kind.FORECASTER)
    if model is None:
        st.caption(_("The registry has not been read yet."))
        return
    if model.status != "serving":
        gate = plain(retold(_, str(model.detail.get("gate", ""))))
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
