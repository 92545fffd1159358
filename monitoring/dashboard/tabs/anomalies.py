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
from monitoring.dashboard.charts import TOOLS, Pen
from monitoring.dashboard.mlflow_links import links_of
from monitoring.dashboard.sensor_data import history, model_of, scores, step_of
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.limits import limits_of
from monitoring.dashboard.theme import cards, mark, palette, plain
from monitoring.dashboard.url_state import live, pick_hours, pick_sensor, plant, title_of
from monitoring.dashboard.wording import score_words
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from training.data.sensors import Sensor
from training.kinds import Kind

REASONS = 12  # odd readings told below the chart
BANDS = ((0.0, 0.3, 0), (0.3, 0.6, 1), (0.6, 0.9, 3), (0.9, 1.0, 4))


def show(_: Words) -> None:
    """The whole tab; what depends on readings renews itself."""
    sensors = dict(plant().fleet.look().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    left, right = st.columns([4, 5], vertical_alignment="bottom")
    with left:
        sensor = pick_sensor(_, sensors)
    newest = plant().fleet.look().newest_of(sensor.id)
    if newest is None:
        st.info(_("This sensor has sent no reading yet. Load some: safeplan load FILE"))
        return
    with right:
        hours = pick_hours(_, step_of(sensor.id, newest))
    kinds, often = (AlertType.ANOMALY, AlertType.INSTRUMENT), plant().settings.refresh
    live(_show_now, often)(_, sensor)
    live(show_alerts, often)(_, sensor, kinds)
    live(_show_history, often)(_, sensor, hours)


def _show_now(_: Words, sensor: Sensor) -> None:
    said = plant().fleet.look().rows.loc[sensor.id].to_dict()
    st.subheader(plain(title_of(sensor)), anchor=False)
    if pd.isna(said["anomaly_score"]):
        st.info(
            _(
                "No reading of this sensor was scored yet. Train a detector (tab Training), then run: "
                "safeplan detect {sensor}",
                sensor=sensor.id,
            )
        )
    else:
        _tell(_, sensor, said)


def _show_history(_: Words, sensor: Sensor, hours: float | None) -> None:
    view = plant().fleet.look()
    newest, said = view.newest_of(sensor.id), view.rows.loc[sensor.id].to_dict()
    assert newest is not None
    measured = history(sensor.id, hours, newest)
    span = hours or (newest - measured.good["timestamp"].min()) / timedelta(hours=1)
    scored_at = newest if pd.isna(said["scored_at"]) else said["scored_at"]
    found = scores(sensor.id, float(span), newest, scored_at)
    found = found.assign(reason=[retold(_, why) for why in found["reason"].fillna("")])
    figure = Pen(palette(), _).anomalies(
        sensor,
        measured.good,
        found,
        average=_known(said["historical_average"]),
        deviation=_known(said["historical_std"]),
        limits=limits_of(_, sensor),
    )
    described = _("Readings of {sensor}, the odd ones marked, over their scores", sensor=sensor.id)
    st.plotly_chart(figure, config=TOOLS, key="anomaly-chart", alt=described, theme=None)
    _list_odd(_, sensor, found)
    if (model := model_of(sensor.id, Kind.DETECTOR)) is not None:
        links_of(_, model)


def _tell(_: Words, sensor: Sensor, said: Mapping[Any, Any]) -> None:
    score, odd = float(said["anomaly_score"]), bool(said["is_anomaly"])
    weight, words = score_words(_, score)
    status = mark(max(weight, 2), _("anomaly")) if odd else mark(0, _("normal"))
    average, deviation = _known(said["historical_average"]), _known(said["historical_std"])
    value = float(said["value"])
    usual, off = "-", ""
    if average is not None and deviation is not None:
        usual = f"{_.number(average, 4)} <small>± {_.number(deviation, 3)} {escape(sensor.unit)}</small>"
        away = (value - average) / deviation if deviation > 0 else 0.0
        off = _("{count} deviations away", count=f"{'+' if away > 0 else ''}{_.number(round(away, 1))}")
    cards(
        [
            (_("Status now"), status, _.moment(said["scored_at"])),
            (_("Score"), _.number(score, 3), words),
            (_("Newest reading"), f"{_.number(value)} <small>{escape(sensor.unit)}</small>", off),
            (_("Usual before it"), usual, _("average ± deviation")),
        ]
    )
    st.html(scale(_, score, _known(said["threshold"])))
    if said["reason"] and isinstance(said["reason"], str):
        st.markdown(f"**{_('Why')}:** {plain(retold(_, said['reason']))}")


def scale(_: Words, score: float, threshold: float | None) -> str:
    """A score on the scale that means the same on each sensor, as HTML."""
    parts = "".join(
        f'<i class="sp-fill-{weight}" style="width:{100 * (high - low):g}%"></i>'
        for low, high, weight in BANDS
    )
    ticks = "".join(f'<u style="left:{100 * low:g}%">{_.number(low)}</u>' for low, _high, _w in BANDS[1:])
    limit = "" if threshold is None else f", {_('threshold')} {_.number(threshold)}"
    told = f"{_('Score')} {_.number(score, 3)}: {score_words(_, score)[1]}{limit}"
    return (
        f'<div class="sp-scale" role="img" aria-label="{escape(told)}" title="{escape(told)}">'
        f'{parts}<b style="left:{100 * score:.1f}%"></b>{ticks}</div>'
    )


def _list_odd(_: Words, sensor: Sensor, found: pd.DataFrame) -> None:
    odd = found[found["is_anomaly"].astype(bool)] if len(found) else found
    if odd.empty:
        return
    st.markdown(f"##### {_('What was odd')}")
    newest = odd.iloc[::-1].head(REASONS)
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
    if len(odd) > REASONS:
        st.caption(
            _.plural(
                "{count} odd reading in this stretch.", "{count} odd readings in this stretch.", len(odd)
            )
        )


def _known(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)
