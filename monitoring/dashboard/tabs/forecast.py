"""The Forecasting tab: forecast with limits, forecast alerts, and the reliability of the forecaster.

Forecasts are loaded in `sensor_data`, rated in `wording` and drawn in `charts`.
"""

from contextlib import suppress
from datetime import datetime, timedelta
from html import escape

import streamlit as st

from monitoring.alerts.kinds import AlertType
from monitoring.dashboard.chart_elements import PLOTLY_CONFIG, LimitCrossing
from monitoring.dashboard.charts import ChartBuilder
from monitoring.dashboard.fleet_view import gate_reason
from monitoring.dashboard.mlflow_links import show_model_links
from monitoring.dashboard.sensor_data import (
    ForecastView,
    get_model,
    get_serving_version,
    load_forecast,
    load_history,
    load_value_range,
    sampling_step,
)
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.limits import forecast_crossings, sensor_limits
from monitoring.dashboard.theme import current_palette, escape_markdown, severity_badge, show_cards
from monitoring.dashboard.url_state import (
    auto_refresh,
    fleet_with,
    pick_hours,
    pick_sensor,
    read_number,
    sensor_title,
    set_choices,
    set_widget,
    shared_state,
)
from monitoring.dashboard.wording import direction_text, forecast_quality, volatility_text
from monitoring.i18n.translation import Translator, unit_symbol
from training.data.sensors import Sensor
from training.errors import DataError, RegistryError
from training.forecasting.fitted_forecaster import MAX_STEPS_AHEAD
from training.kinds import Kind
from training.outcomes import OutcomeStatus
from training.pipeline.plan import ForecasterSettings
from training.settings import load_settings

MAX_STEPS = min(1_000, MAX_STEPS_AHEAD)


def show(_: Translator) -> None:
    """The whole tab; what depends on readings refreshes itself."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, middle, right = st.columns([7, 4, 10], vertical_alignment="bottom")
    with left:
        sensor = pick_sensor(_, sensors)
    newest = shared_state().fleet.get().newest_of(sensor.id)
    if newest is None:
        st.info(_("This sensor has no readings yet. Load some: safeplan load FILE"))
        return
    step = sampling_step(sensor.id, newest)
    with middle:
        steps = _pick_steps(_, step)
    with right:
        hours = pick_hours(_, step)
    auto_refresh(_show_forecast, shared_state().settings.refresh)(_, sensor, steps, hours)
    auto_refresh(show_alerts, shared_state().settings.refresh)(_, sensor, (AlertType.FORECAST_WARNING,))
    auto_refresh(_show_model, shared_state().settings.models_refresh)(_, sensor, steps)


def _pick_steps(_: Translator, step: timedelta | None) -> int:
    default = load_settings(ForecasterSettings).horizon_steps
    current = read_number("steps", default, low=1, high=MAX_STEPS)
    set_widget("steps-box", current)
    label = _("Steps ahead")
    if step is not None:
        label = _("Steps ahead (of {step})", step=_.duration(step.total_seconds()))

    def changed() -> None:
        set_choices(steps=str(st.session_state["steps-box"]))

    st.number_input(label, 1, MAX_STEPS, step=default, key="steps-box", on_change=changed)
    return current


def _show_forecast(_: Translator, sensor: Sensor, steps: int, hours: float | None) -> None:
    newest = fleet_with(sensor.id)[1]
    measured = load_history(sensor.id, hours, newest)
    try:
        forecast = _load_forecast(sensor, steps, newest)
    except (DataError, RegistryError) as error:
        st.warning(escape_markdown(str(error)))
        return
    st.subheader(escape_markdown(sensor_title(sensor)), anchor=False)
    crossings = forecast_crossings(_, sensor, forecast, newest)
    _show_summary(_, sensor, forecast, newest, crossings)
    figure = ChartBuilder(current_palette(), _).forecast(
        sensor, measured.good, forecast.frame, limits=sensor_limits(_, sensor), crossings=crossings
    )
    alt_text = _("Readings of {sensor} and forecast", sensor=sensor.id)
    st.plotly_chart(figure, config=PLOTLY_CONFIG, key="forecast-chart", alt=alt_text, theme=None)
    if measured.count > len(measured.good):
        st.caption(
            _(
                "{count} readings, downsampled for display; extremes are kept.",
                count=_.number(measured.count, 12),
            )
        )


def _load_forecast(sensor: Sensor, steps: int, newest: datetime) -> ForecastView:
    return load_forecast(sensor.id, steps, newest, get_serving_version(sensor.id, Kind.FORECASTER))


def _show_summary(
    _: Translator,
    sensor: Sensor,
    forecast: ForecastView,
    newest: datetime,
    crossings: list[LimitCrossing],
) -> None:
    for crossing in crossings:
        st.html(f"<p role='status'>{severity_badge(crossing.weight, crossing.text)}</p>")
    summary, unit = forecast.summary, unit_symbol(sensor.unit)
    last = forecast.frame.iloc[-1]
    show_cards(
        [
            (_("Newest reading"), _value_html(_, summary["current_value"], unit), _.moment(newest)),
            (
                _("Forecast at the end"),
                _value_html(_, summary["final_value"], unit),
                f"{_.number(last['lower_bound'], 4)} … {_.number(last['upper_bound'], 4)} {unit}",
            ),
            (
                _("Direction"),
                direction_text(_, summary["direction"]),
                _change_text(_, summary["change"], unit),
            ),
            (_("Lowest"), _value_html(_, summary["min"], unit), _.moment(summary["min_at"])),
            (_("Highest"), _value_html(_, summary["max"], unit), _.moment(summary["max_at"])),
            (
                _("Volatility"),
                _value_html(_, summary["volatility"], unit),
                volatility_text(_, summary["volatility"], load_value_range(sensor.id, newest)),
            ),
        ]
    )


def _show_model(_: Translator, sensor: Sensor, steps: int) -> None:
    newest = fleet_with(sensor.id)[1]
    _show_quality(_, sensor, newest)
    with suppress(DataError, RegistryError):  # shown in place of the chart
        _show_components(_, sensor, _load_forecast(sensor, steps, newest))


def _show_quality(_: Translator, sensor: Sensor, newest: datetime) -> None:
    st.markdown(f"##### {_('Forecast reliability')}")
    model = get_model(sensor.id, Kind.FORECASTER)
    if model is None:
        st.caption(_("The registry has not been read yet."))
        return
    if model.status != OutcomeStatus.SERVING:
        text, reasons = gate_reason(model)
        notice = _("No forecaster serves this sensor; this is the naive forecast.")
        gate = f" {_('Gate')}: {escape_markdown(_.reason_text(reasons, text))}." if text else ""
        st.warning(notice + gate)
    measures = forecast_quality(_, model.metrics, sensor.unit, load_value_range(sensor.id, newest))
    if measures:
        show_cards(
            [(one.label, one.value + severity_badge(one.weight, one.rating, "small"), "") for one in measures]
        )
        st.caption(_("Measured at training time on the newest readings, which were held out."))
        with st.expander(_("About these measures")):
            st.markdown("\n".join(f"* **{one.label}**: {one.help}" for one in measures))
    show_model_links(_, model)


def _show_components(_: Translator, sensor: Sensor, forecast: ForecastView) -> None:
    if not forecast.components:
        return
    names = {
        "trend": _("Trend"),
        "daily": _("Daily"),
        "weekly": _("Weekly"),
        "yearly": _("Yearly"),
    }
    with st.expander(_("Forecast components")):
        st.caption(_("Trend and seasonality of Prophet, without the correction by the newest readings."))
        chart_builder = ChartBuilder(current_palette(), _)
        columns = st.columns(2)
        for index, (name, frame) in enumerate(forecast.components.items()):
            with columns[index % 2]:
                st.markdown(f"**{names[name]}**")
                figure = chart_builder.component(
                    frame, unit=sensor.unit, season=None if name == "trend" else name
                )
                st.plotly_chart(
                    figure, config=PLOTLY_CONFIG, key=f"component-{name}", alt=names[name], theme=None
                )


def _value_html(_: Translator, value: float, unit: str) -> str:
    return f"{_.number(value, 4)} <small>{escape(unit)}</small>"


def _change_text(_: Translator, change: float, unit: str) -> str:
    return f"{'+' if change > 0 else ''}{_.number(change, 3)} {unit}".strip()
