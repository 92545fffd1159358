"""The Trends tab: several sensors on one time axis, with alerts, verdicts, maintenance and limits.

The address holds the sensors and the period, so a view is saved as a bookmark. The chart is drawn in
`trend_chart`.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import pandas as pd
import streamlit as st

from monitoring.alerts.alert import Alert
from monitoring.alerts.maintenance import MaintenanceWindow, list_maintenance
from monitoring.alerts.store import FLOOD_SUBJECT, AlertStore
from monitoring.dashboard.chart_elements import PLOTLY_CONFIG
from monitoring.dashboard.sensor_data import load_period
from monitoring.dashboard.tabs.limits import sensor_limits
from monitoring.dashboard.theme import current_palette
from monitoring.dashboard.trend_chart import TrendPanel, alert_label, trend_figure
from monitoring.dashboard.url_state import (
    auto_refresh,
    pick_option,
    read_text,
    sensor_title,
    set_choices,
    set_widget,
    shared_state,
)
from monitoring.i18n.translation import Translator
from monitoring.watch.operator_actions import list_alerts
from training.data.sensors import Sensor

MAX_SENSORS = 8  # more panels do not fit on a screen
CUSTOM_PERIOD = "custom"
MAX_ALERTS_LISTED = 50
EVENT_MARGIN_SHARE = 0.25  # of the period, shown before an event that was stepped to


def show(_: Translator) -> None:
    """The whole tab; a period that ends with the newest reading refreshes itself."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    chosen = _pick_sensors(_, sensors)
    hours, period = _pick_period(_)
    if not chosen:
        st.info(_("Choose one or more sensors."))
        return
    auto_refresh(_show_trends, shared_state().settings.refresh)(_, chosen, hours, period)


def parse_sensors(text: str, known: Sequence[str]) -> list[str]:
    """The known sensors of an address such as `PT-1,TT%2C1`, at most `MAX_SENSORS`.

    >>> parse_sensors("PT-1,TT%2C1,unknown", ["PT-1", "TT,1"])
    ['PT-1', 'TT,1']
    """
    requested = [unquote(part) for part in text.split(",") if part]
    return [name for name in dict.fromkeys(requested) if name in known][:MAX_SENSORS]


def format_sensors(sensor_ids: Sequence[str]) -> str:
    """The inverse of `parse_sensors`."""
    return ",".join(quote(sensor_id, safe="") for sensor_id in sensor_ids)


def _pick_sensors(_: Translator, sensors: dict[str, Sensor]) -> list[Sensor]:
    default = parse_sensors(read_text("sensor"), list(sensors)) or list(sensors)[:1]
    current = parse_sensors(read_text("sensors"), list(sensors)) or default
    key = f"trend-sensors-{_.language}"
    set_widget(key, current)
    st.multiselect(
        _("Sensors"),
        list(sensors),
        format_func=lambda sensor_id: sensor_title(sensors[sensor_id]),
        key=key,
        max_selections=MAX_SENSORS,
        placeholder=_("Choose sensors"),
        on_change=lambda: set_choices(sensors=format_sensors(st.session_state[key])),
    )
    return [sensors[sensor_id] for sensor_id in current]


def _pick_period(_: Translator) -> tuple[float | None, tuple[datetime, datetime] | None]:
    """Hours up to the newest reading, or a period from and until times (naive UTC) of the reader."""
    options = {
        "1": _("1 h"),
        "8": _("8 h"),
        "24": _("24 h"),
        "168": _("7 d"),
        "720": _("30 d"),
        CUSTOM_PERIOD: _("From … until"),
    }
    selected = pick_option(_("Period"), "trend", options, "24", key=f"trend-period-{_.language}")
    if selected != CUSTOM_PERIOD:
        return float(selected), None
    newest = shared_state().fleet.get().rows["timestamp"].max()
    fallback = shared_state().clock() if pd.isna(newest) else newest.to_pydatetime()
    end = _read_time(_, "until", fallback)
    start = _read_time(_, "from", end - timedelta(days=1))
    columns = st.columns(2)
    for column, name, label, at in (
        (columns[0], "from", _("From"), start),
        (columns[1], "until", _("Until"), end),
    ):
        key = f"trend-{name}-{_.language}"
        set_widget(key, _.wall_clock(at))
        with column:
            st.datetime_input(
                f"{label} ({_.zone_name(at)})",
                key=key,
                format="DD/MM/YYYY" if _.language == "pt" else "YYYY-MM-DD",
                step=timedelta(minutes=1),
                on_change=_period_changed,
                args=(name, key),
            )
    if start >= end:
        st.warning(_("The period is empty: its end must be after its start."))
        return None, None
    return None, (start, end)


def _period_changed(name: str, key: str) -> None:
    # A reader who empties the box keeps the time.
    if (at := st.session_state[key]) is not None:
        set_choices(**{name: at.strftime("%Y-%m-%dT%H:%M")})


def _read_time(_: Translator, name: str, default: datetime) -> datetime:
    """A time of the address, which is a wall clock of the site, as naive UTC."""
    try:
        wall_clock = datetime.fromisoformat(read_text(name)).replace(tzinfo=_.zone)
    except ValueError:
        return default.replace(second=0, microsecond=0)
    return wall_clock.astimezone(UTC).replace(tzinfo=None)


def _show_trends(
    _: Translator, sensors: Sequence[Sensor], hours: float | None, period: tuple[datetime, datetime] | None
) -> None:
    view = shared_state().fleet.get()
    newest = [at for sensor in sensors if (at := view.newest_of(sensor.id)) is not None]
    if not newest:
        st.info(_("These sensors have no readings yet."))
        return
    if period is None:
        if hours is None:
            return
        period = max(newest) - timedelta(hours=hours), max(newest)
    start, end = period
    ids = [sensor.id for sensor in sensors]
    alerts = [
        alert
        for alert in list_alerts(shared_state().workspace, ids, alive=None, start=start, end=end)
        if alert.topic.subject != FLOOD_SUBJECT and (alert.returned_at or end) >= start
    ]
    windows = [work for work in list_maintenance(shared_state().workspace, since=start) if work.start < end]
    _show_steps(_, ids, start, end)
    panels = [_panel(_, sensor, start, end, max(newest), alerts, windows) for sensor in sensors]
    figure = trend_figure(current_palette(), _, panels, start, end)
    alt = _("Readings of {sensors} on one time axis", sensors=", ".join(ids))
    st.plotly_chart(figure, config=PLOTLY_CONFIG, key="trend-chart", alt=alt, theme=None)
    _show_downsampling_note(_, panels)
    _list_alerts(_, alerts)
    st.download_button(
        _("Download CSV"),
        data=lambda: export_csv(sensors, start, end),
        file_name=f"trends-{_.moment(start, 'yyyyMMdd-HHmm')}-{_.moment(end, 'yyyyMMdd-HHmm')}.csv",
        mime="text/csv",
        help=_("All readings of the period, times in UTC"),
        key="trend-csv",
    )


def _panel(
    _: Translator,
    sensor: Sensor,
    start: datetime,
    end: datetime,
    newest: datetime,
    alerts: Sequence[Alert],
    windows: Sequence[MaintenanceWindow],
) -> TrendPanel:
    return TrendPanel(
        sensor,
        load_period(sensor.id, start, end, newest),
        sensor_limits(_, sensor),
        [alert for alert in alerts if alert.topic.sensor_id == sensor.id],
        [
            work
            for work in windows
            if work.sensor_id == sensor.id or work.platform == (sensor.platform or None)
        ],
    )


def _show_steps(_: Translator, sensor_ids: Sequence[str], start: datetime, end: datetime) -> None:
    """Buttons to the period before and after, and to the previous and the next alert of these sensors."""
    length = end - start
    margin = length * EVENT_MARGIN_SHARE
    # The event that a step leads to lies at the margin; the next step must lead to another.
    at, minute = start + margin, timedelta(minutes=1)
    store = AlertStore(shared_state().workspace.engine)
    before, after = store.nearest_beginnings(sensor_ids, at - minute, at + minute)
    steps = (
        ("back", _("◀ Earlier"), start - length / 2),
        ("previous", _("◀ Previous alert"), before - margin if before else None),
        ("next", _("Next alert ▶"), after - margin if after else None),
        ("forward", _("Later ▶"), start + length / 2),
    )
    with st.container(horizontal=True, gap="small"):
        for name, label, target in steps:
            st.button(
                label,
                key=f"trend-{name}-{_.language}",
                disabled=target is None,
                on_click=_show_period,
                args=(_, target or start, length),
            )


def _show_period(_: Translator, start: datetime, length: timedelta) -> None:
    times = {
        name: _.wall_clock(at).strftime("%Y-%m-%dT%H:%M")
        for name, at in (("from", start), ("until", start + length))
    }
    set_choices(trend=CUSTOM_PERIOD, **times)


def _show_downsampling_note(_: Translator, panels: Sequence[TrendPanel]) -> None:
    empty = [panel.sensor.id for panel in panels if panel.readings.empty]
    if empty:
        st.caption(_("No good readings in this period: {sensors}", sensors=", ".join(empty)))


def _list_alerts(_: Translator, alerts: Sequence[Alert]) -> None:
    if not alerts:
        st.caption(_("No alerts of these sensors in this period."))
        return
    newest = sorted(alerts, key=lambda alert: alert.began_at, reverse=True)[:MAX_ALERTS_LISTED]
    table = pd.DataFrame(
        {
            "sensor": [alert.topic.sensor_id for alert in newest],
            "alert": [alert_label(_, alert) for alert in newest],
            "since": [_.moment(alert.began_at) for alert in newest],
            "until": ["" if alert.returned_at is None else _.moment(alert.returned_at) for alert in newest],
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        height="content" if len(newest) <= 10 else 380,
        column_config={
            "sensor": st.column_config.TextColumn(_("Sensor"), width="small"),
            "alert": st.column_config.TextColumn(_("Alert"), width="large"),
            "since": st.column_config.TextColumn(_("Since"), width="small"),
            "until": st.column_config.TextColumn(_("Until"), width="small"),
        },
        alt=_("Alerts of these sensors, newest first"),
    )


def export_csv(sensors: Sequence[Sensor], start: datetime, end: datetime) -> bytes:
    """All readings of a period as CSV: `sensor_id,timestamp,value,data_quality,unit`, times with Z."""
    frames = []
    for sensor in sensors:
        readings = shared_state().workspace.readings.between(sensor.id, start, end)
        times = readings["timestamp"].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        columns = {"sensor_id": sensor.id, "timestamp": times, "unit": sensor.unit}
        frames.append(readings.assign(**columns))
    columns_in_order = ["sensor_id", "timestamp", "value", "data_quality", "unit"]
    return pd.concat(frames)[columns_in_order].to_csv(index=False).encode()
