"""The Anomaly Detection tab: current status, alerts, and the history of readings with anomalies and scores.

Scoring is done by the commands and the endpoint; alerts are laid out in `tabs.alerts`, charts in `charts`.
"""

from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import AlertType
from monitoring.alerts.sensor_status import SensorCondition, status_name
from monitoring.dashboard.chart_elements import PLOTLY_CONFIG
from monitoring.dashboard.charts import ChartBuilder
from monitoring.dashboard.fleet_view import stored_reason
from monitoring.dashboard.mlflow_links import show_model_links
from monitoring.dashboard.sensor_data import get_model, load_history, load_scores, sampling_step
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.limits import sensor_limits
from monitoring.dashboard.theme import current_palette, escape_markdown, severity_badge, show_cards
from monitoring.dashboard.url_state import (
    auto_refresh,
    fleet_with,
    pick_hours,
    pick_sensor,
    sensor_title,
    shared_state,
)
from monitoring.dashboard.wording import score_text
from monitoring.i18n.translation import Translator, unit_symbol
from training.data.sensors import Sensor
from training.kinds import Kind

MAX_REASONS = 12  # anomalies listed below the chart
SCORE_BANDS = ((0.0, 0.3, 0), (0.3, 0.6, 1), (0.6, 0.9, 2), (0.9, 1.0, 3))  # from, to, severity


def show(_: Translator) -> None:
    """The whole tab; what depends on readings refreshes itself."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    with left:
        sensor = pick_sensor(_, sensors)
    newest = shared_state().fleet.get().newest_of(sensor.id)
    if newest is None:
        st.info(_("This sensor has no readings yet. Load some: safeplan load FILE"))
        return
    with right:
        hours = pick_hours(_, sampling_step(sensor.id, newest))
    kinds = (AlertType.LIMIT, AlertType.ANOMALY, AlertType.INSTRUMENT)
    interval = shared_state().settings.refresh
    auto_refresh(_show_current, interval)(_, sensor)
    auto_refresh(show_alerts, interval)(_, sensor, kinds)
    auto_refresh(_show_history, interval)(_, sensor, hours)


def _show_current(_: Translator, sensor: Sensor) -> None:
    shared = shared_state()
    view, _newest_at = fleet_with(sensor.id)
    condition = shared.statuses(view, shared.alerts.get(), shared.model_outcomes())[sensor.id]
    newest = view.rows.loc[sensor.id].to_dict()
    st.subheader(escape_markdown(sensor_title(sensor)), anchor=False)
    show_cards([status_card(_, sensor, condition), *_reading_cards(_, sensor, newest)])
    if pd.isna(newest["anomaly_score"]):
        st.info(
            _(
                "No reading of this sensor has been scored yet. Train a detector (tab Training), then run: "
                "safeplan detect {sensor}",
                sensor=sensor.id,
            )
        )
        return
    score = float(newest["anomaly_score"])
    st.html(score_scale_html(_, score, _to_float(newest["threshold"])))
    text, reasons = stored_reason(newest)
    if text:
        reason = escape_markdown(_.reason_text(reasons, text, unit=sensor.unit))
        st.markdown(f"**{_('Reason')}:** {reason}")


def status_card(_: Translator, sensor: Sensor, condition: SensorCondition) -> tuple[str, str, str]:
    """The status of a sensor, why, since when, and what is missing of its monitoring."""
    badge = severity_badge(condition.severity, status_name(_, condition.status))
    notes = [_.reason_text(condition.reasons, "", unit=sensor.unit)]
    if condition.since is not None:
        notes.append(_("since {moment}", moment=_.moment(condition.since)))
    monitoring = condition.coverage.reason
    if monitoring is not None and monitoring not in condition.reasons:
        notes.append(_.reason_text((monitoring,), "", unit=sensor.unit))
    return _("Current status"), badge, " · ".join(filter(None, notes)) or _("nothing unusual")


def _reading_cards(_: Translator, sensor: Sensor, newest: Mapping[Any, Any]) -> list[tuple[str, str, str]]:
    """Score, newest reading and normal range."""
    value, unit = float(newest["value"]), escape(unit_symbol(sensor.unit))
    normal_range, distance = "-", ""
    mean, deviation = (_to_float(newest[name]) for name in ("historical_average", "historical_std"))
    if mean is not None and deviation is not None:
        normal_range = f"{_.number(mean, 4)} <small>± {_.number(deviation, 3)} {unit}</small>"
        distance = deviation_text(_, (value - mean) / deviation if deviation > 0 else 0.0)
    cards = [
        (_("Newest reading"), f"{_.number(value)} <small>{unit}</small>", distance),
        (_("Normal range"), normal_range, _("mean ± SD of the readings before")),
    ]
    score = _to_float(newest["anomaly_score"])
    if score is not None:
        meaning = f"{score_text(_, score)[1]} · {_.moment(newest['scored_at'])}"
        cards.insert(0, (_("Score"), _.number(score, 3), meaning))
    return cards


def deviation_text(_: Translator, deviations: float) -> str:
    """How far a value is from the mean, in standard deviations."""
    count = _.decimal(abs(round(deviations, 1)), 4)
    if deviations < 0:
        return _("{count} SD below the mean", count=count)
    return _("{count} SD above the mean", count=count)


def score_scale_html(_: Translator, score: float, threshold: float | None) -> str:
    """A score on the scale from 0 to 1, as HTML."""
    bands = "".join(
        f'<i class="sp-fill-{weight}" style="width:{100 * (high - low):g}%"></i>'
        for low, high, weight in SCORE_BANDS
    )
    ticks = "".join(
        f'<u style="left:{100 * low:g}%">{_.number(low)}</u>' for low, _high, _weight in SCORE_BANDS[1:]
    )
    limit = "" if threshold is None else f", {_('threshold')} {_.number(threshold)}"
    label = f"{_('Score')} {_.number(score, 3)}: {score_text(_, score)[1]}{limit}"
    return (
        f'<div class="sp-scale" role="img" aria-label="{escape(label)}" title="{escape(label)}">'
        f'{bands}<b style="left:{100 * score:.1f}%"></b>{ticks}</div>'
    )


def _show_history(_: Translator, sensor: Sensor, hours: float | None) -> None:
    view, newest = fleet_with(sensor.id)
    newest_score = view.rows.loc[sensor.id].to_dict()
    measured = load_history(sensor.id, hours, newest)
    span = hours or (newest - measured.good["timestamp"].min()) / timedelta(hours=1)
    scored_at = newest if pd.isna(newest_score["scored_at"]) else newest_score["scored_at"]
    scored = load_scores(sensor.id, float(span), newest, scored_at)
    reasons = [
        _.reason_text(data, text, unit=sensor.unit)
        for data, text in zip(scored["reason_data"], scored["reason"].fillna(""), strict=True)
    ]
    scored = scored.assign(reason=reasons)
    figure = ChartBuilder(current_palette(), _).anomalies(
        sensor,
        measured.good,
        scored,
        mean=_to_float(newest_score["historical_average"]),
        deviation=_to_float(newest_score["historical_std"]),
        limits=sensor_limits(_, sensor),
    )
    alt_text = _("Readings of {sensor} with anomalies marked, above their scores", sensor=sensor.id)
    st.plotly_chart(figure, config=PLOTLY_CONFIG, key="anomaly-chart", alt=alt_text, theme=None)
    _list_anomalies(_, sensor, scored)
    if (model := get_model(sensor.id, Kind.DETECTOR)) is not None:
        show_model_links(_, model)


def _list_anomalies(_: Translator, sensor: Sensor, scored: pd.DataFrame) -> None:
    anomalies = scored[scored["is_anomaly"].astype(bool)] if len(scored) else scored
    if anomalies.empty:
        return
    st.markdown(f"##### {_('Anomalies in this period')}")
    newest = anomalies.iloc[::-1].head(MAX_REASONS)
    table = pd.DataFrame(
        {
            "time": [_.moment(at) for at in newest["timestamp"]],
            "value": [_.number(value) for value in newest["value"]],
            "score": newest["anomaly_score"].to_numpy(float).round(2),
            "reason": newest["reason"].to_numpy(),
        }
    )
    unit = f" ({unit_symbol(sensor.unit)})" if sensor.unit else ""
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config={
            "time": st.column_config.TextColumn(_("Time")),
            "value": st.column_config.TextColumn(f"{_('Value')}{unit}", width="small", alignment="right"),
            "score": st.column_config.ProgressColumn(
                _("Score"), min_value=0, max_value=1, format="localized", width="small"
            ),
            "reason": st.column_config.TextColumn(_("Reason"), width="large"),
        },
        alt=_("Anomalous readings of {sensor}, newest first", sensor=sensor.id),
    )
    if len(anomalies) > MAX_REASONS:
        st.caption(
            _.plural(
                "{count} anomalous reading in this period.",
                "{count} anomalous readings in this period.",
                len(anomalies),
            )
        )


def _to_float(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
