"""The Anomaly Detection tab: what the newest reading is, what was odd before it, and what people say of it.

Knows how scores and reasons are laid out. Leaves scoring to the commands, alerts to `page_alerts`, figures to
`charts`.
"""

from collections.abc import Mapping
from datetime import timedelta
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import AlertType
from monitoring.dashboard.charts import PLOTLY_CONFIG, ChartBuilder
from monitoring.dashboard.mlflow_links import show_model_links
from monitoring.dashboard.sensor_data import get_model, load_history, load_scores, sampling_step
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.limits import sensor_limits
from monitoring.dashboard.theme import current_palette, escape_markdown, severity_badge, show_cards
from monitoring.dashboard.url_state import auto_refresh, pick_hours, pick_sensor, sensor_title, shared_state
from monitoring.dashboard.wording import score_text
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from training.data.sensors import Sensor
from training.kinds import Kind

MAX_REASONS = 12  # odd readings told below the chart
SCORE_BANDS = ((0.0, 0.3, 0), (0.3, 0.6, 1), (0.6, 0.9, 3), (0.9, 1.0, 4))


def show(_: Translator) -> None:
    """The whole tab; what depends on readings renews itself."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    with left:
        sensor = pick_sensor(_, sensors)
    newest = shared_state().fleet.get().newest_of(sensor.id)
    if newest is None:
        st.info(_("This sensor has sent no reading yet. Load some: safeplan load FILE"))
        return
    with right:
        hours = pick_hours(_, sampling_step(sensor.id, newest))
    kinds, often = (AlertType.ANOMALY, AlertType.INSTRUMENT), shared_state().settings.refresh
    auto_refresh(_show_current, often)(_, sensor)
    auto_refresh(show_alerts, often)(_, sensor, kinds)
    auto_refresh(_show_history, often)(_, sensor, hours)


def _show_current(_: Translator, sensor: Sensor) -> None:
    newest_score = shared_state().fleet.get().rows.loc[sensor.id].to_dict()
    st.subheader(escape_markdown(sensor_title(sensor)), anchor=False)
    if pd.isna(newest_score["anomaly_score"]):
        st.info(
            _(
                "No reading of this sensor was scored yet. Train a detector (tab Training), then run: "
                "safeplan detect {sensor}",
                sensor=sensor.id,
            )
        )
    else:
        _show_status(_, sensor, newest_score)


def _show_history(_: Translator, sensor: Sensor, hours: float | None) -> None:
    view = shared_state().fleet.get()
    newest, newest_score = view.newest_of(sensor.id), view.rows.loc[sensor.id].to_dict()
    assert newest is not None
    measured = load_history(sensor.id, hours, newest)
    span = hours or (newest - measured.good["timestamp"].min()) / timedelta(hours=1)
    scored_at = newest if pd.isna(newest_score["scored_at"]) else newest_score["scored_at"]
    scored = load_scores(sensor.id, float(span), newest, scored_at)
    scored = scored.assign(reason=[translate_reason(_, why) for why in scored["reason"].fillna("")])
    figure = ChartBuilder(current_palette(), _).anomalies(
        sensor,
        measured.good,
        scored,
        average=_to_float(newest_score["historical_average"]),
        deviation=_to_float(newest_score["historical_std"]),
        limits=sensor_limits(_, sensor),
    )
    alt_text = _("Readings of {sensor}, the odd ones marked, over their scores", sensor=sensor.id)
    st.plotly_chart(figure, config=PLOTLY_CONFIG, key="anomaly-chart", alt=alt_text, theme=None)
    _list_anomalies(_, sensor, scored)
    if (model := get_model(sensor.id, Kind.DETECTOR)) is not None:
        show_model_links(_, model)


def _show_status(_: Translator, sensor: Sensor, newest_score: Mapping[Any, Any]) -> None:
    score, is_anomaly = float(newest_score["anomaly_score"]), bool(newest_score["is_anomaly"])
    weight, score_meaning = score_text(_, score)
    status = severity_badge(max(weight, 2), _("anomaly")) if is_anomaly else severity_badge(0, _("normal"))
    average, deviation = (
        _to_float(newest_score["historical_average"]),
        _to_float(newest_score["historical_std"]),
    )
    value = float(newest_score["value"])
    usual, deviation_text = "-", ""
    if average is not None and deviation is not None:
        usual = f"{_.number(average, 4)} <small>± {_.number(deviation, 3)} {escape(sensor.unit)}</small>"
        deviations = (value - average) / deviation if deviation > 0 else 0.0
        deviation_text = _(
            "{count} deviations away",
            count=f"{'+' if deviations > 0 else ''}{_.number(round(deviations, 1))}",
        )
    show_cards(
        [
            (_("Status now"), status, _.moment(newest_score["scored_at"])),
            (_("Score"), _.number(score, 3), score_meaning),
            (_("Newest reading"), f"{_.number(value)} <small>{escape(sensor.unit)}</small>", deviation_text),
            (_("Usual before it"), usual, _("average ± deviation")),
        ]
    )
    st.html(score_scale_html(_, score, _to_float(newest_score["threshold"])))
    if newest_score["reason"] and isinstance(newest_score["reason"], str):
        st.markdown(f"**{_('Why')}:** {escape_markdown(translate_reason(_, newest_score['reason']))}")


def score_scale_html(_: Translator, score: float, threshold: float | None) -> str:
    """A score on the scale that means the same on each sensor, as HTML."""
    parts = "".join(
        f'<i class="sp-fill-{weight}" style="width:{100 * (high - low):g}%"></i>'
        for low, high, weight in SCORE_BANDS
    )
    ticks = "".join(
        f'<u style="left:{100 * low:g}%">{_.number(low)}</u>' for low, _high, _w in SCORE_BANDS[1:]
    )
    limit = "" if threshold is None else f", {_('threshold')} {_.number(threshold)}"
    label = f"{_('Score')} {_.number(score, 3)}: {score_text(_, score)[1]}{limit}"
    return (
        f'<div class="sp-scale" role="img" aria-label="{escape(label)}" title="{escape(label)}">'
        f'{parts}<b style="left:{100 * score:.1f}%"></b>{ticks}</div>'
    )


def _list_anomalies(_: Translator, sensor: Sensor, scored: pd.DataFrame) -> None:
    anomalies = scored[scored["is_anomaly"].astype(bool)] if len(scored) else scored
    if anomalies.empty:
        return
    st.markdown(f"##### {_('What was odd')}")
    newest = anomalies.iloc[::-1].head(MAX_REASONS)
    table = pd.DataFrame(
        {
            "when": [_.moment(at) for at in newest["timestamp"]],
            "value": [_.number(value) for value in newest["value"]],
            "score": newest["anomaly_score"].to_numpy(float),
            "why": newest["reason"].to_numpy(),
        }
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "when": st.column_config.TextColumn(_("When"), width="small"),
            "value": st.column_config.TextColumn(
                f"{_('Value')} {sensor.unit}".strip(), width="small", alignment="right"
            ),
            "score": st.column_config.ProgressColumn(
                _("Score"), min_value=0, max_value=1, format="%.2f", width="small"
            ),
            "why": st.column_config.TextColumn(_("Why"), width="large"),
        },
        alt=_("Odd readings of {sensor}, the newest first", sensor=sensor.id),
    )
    if len(anomalies) > MAX_REASONS:
        st.caption(
            _.plural(
                "{count} odd reading in this stretch.",
                "{count} odd readings in this stretch.",
                len(anomalies),
            )
        )


def _to_float(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
