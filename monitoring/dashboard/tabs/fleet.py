"""The fleet first: what needs a human now, then every sensor at a glance.

Knows how concerns and sensors are listed and how one comes from there to a sensor. What is a concern was
decided elsewhere.
"""

from collections.abc import Collection, Mapping
from datetime import timedelta
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertState, AlertType, Severity, severity_name
from monitoring.dashboard.fleet_view import (
    Concern,
    ConcernTopic,
    FleetView,
    ModelOutcomes,
    alert_concerns,
    anomaly_concerns,
    decision_concerns,
    drift_concerns,
    untrained_concerns,
)
from monitoring.dashboard.sensor_data import load_newest_values
from monitoring.dashboard.tabs.alerts import alert_badge, alert_text
from monitoring.dashboard.theme import (
    current_palette,
    escape_markdown,
    severity_badge,
    show_cards,
    sparkline_html,
    table_height,
)
from monitoring.dashboard.url_state import auto_refresh, set_choices, shared_state
from monitoring.dashboard.wording import duration_text, kind_name
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name
from training.data.sensors import Sensor
from training.kinds import Kind

INITIAL_CONCERNS, CONCERNS_PER_CLICK = 8, 24  # concerns shown at first, and with each click
SHOWN_KEY = "concerns-shown"
VIEW_BY_TOPIC = {
    ConcernTopic.ANOMALY: "anomalies",
    ConcernTopic.DRIFT: "models",
    ConcernTopic.DECISION: "models",
    ConcernTopic.UNTRAINED: "training",
}
VIEW_BY_ALERT_TYPE = {
    AlertType.ANOMALY: "anomalies",
    AlertType.INSTRUMENT: "anomalies",
    AlertType.FORECAST_WARNING: "forecast",
    AlertType.DRIFT: "models",
}


def show(_: Translator) -> None:
    """The whole tab, renewed as readings arrive."""
    auto_refresh(_show_fleet, shared_state().settings.refresh)(_)


def _show_fleet(_: Translator) -> None:
    # Each is looked at once: what is counted above and what is listed below must agree.
    view, models, alerts = (
        shared_state().fleet.get(),
        shared_state().models.get_if_loaded(),
        shared_state().alerts.get(),
    )
    if not view.sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    concerns = collect_concerns(view, models, alerts)
    _show_summary(_, view, models, concerns, alerts)
    _show_concerns(_, view, concerns)
    _show_sensor_table(_, view, models)


def collect_concerns(
    view: FleetView, models: ModelOutcomes | None, alerts: Collection[Alert]
) -> list[Concern]:
    """Everything that a human should look at: the worst first, of these what nobody has seen yet."""
    checks, able = shared_state().checks.get_if_loaded() or [], shared_state().trainable.get_if_loaded()
    alerted_sensors = {
        kind: {one.topic.sensor_id for one in alerts if one.topic.type in kinds}
        for kind, kinds in (
            (ConcernTopic.ANOMALY, (AlertType.ANOMALY, AlertType.INSTRUMENT)),
            (ConcernTopic.DRIFT, (AlertType.DRIFT,)),
        )
    }
    concerns = [
        *alert_concerns(alerts, view.sensors),
        *anomaly_concerns(view, alerted_sensors[ConcernTopic.ANOMALY]),
        *drift_concerns(checks, alerted_sensors[ConcernTopic.DRIFT]),
    ]
    if models is not None:
        concerns += decision_concerns(models, view.sensors)
        if able is not None:
            concerns += untrained_concerns(models, able)
    return sorted(concerns, key=lambda one: (-one.weight, one.seen_by is not None))


def _show_summary(
    _: Translator,
    view: FleetView,
    models: ModelOutcomes | None,
    concerns: list[Concern],
    alerts: Collection[Alert],
) -> None:
    urgent = [one for one in concerns if one.weight >= 2 and one.seen_by is None]
    worst = max((one.weight for one in urgent), default=0)
    urgent_badge = (
        severity_badge(worst, _.number(len({one.sensor_id for one in urgent})))
        if urgent
        else severity_badge(0, _("nothing"))
    )
    anomaly_count = int(view.rows["is_anomaly"].fillna(value=False).astype(bool).sum())
    platforms = _.plural("on {count} platform", "on {count} platforms", len(view.platforms))
    cards_shown = [
        (
            _("Needs a human now"),
            urgent_badge,
            _("sensors with something urgent") if urgent else _("all is calm"),
        ),
        _open_alerts_card(_, alerts),
        (_("Odd now"), _.number(anomaly_count), _("by their newest reading")),
        (_("Sensors"), _.number(len(view.sensors)), platforms),
    ]
    if models is not None:
        serving = sum(outcome.status == "serving" for outcome in models.values())
        share = _("of {count}", count=_.number(len(models)))
        cards_shown.append((_("Models serving"), _.number(serving), share))
    newest = view.newest
    if newest is not None:
        age = duration_text(_, max(shared_state().clock() - newest, timedelta(0)))
        cards_shown.append((_("Newest reading"), escape(_.moment(newest)), _("{time} ago", time=age)))
    show_cards(cards_shown)


def _open_alerts_card(_: Translator, alerts: Collection[Alert]) -> tuple[str, str, str]:
    """How many alerts are open, and how bad they are."""
    open_alerts = [alert for alert in alerts if alert.state is AlertState.OPEN]
    counts = {
        severity: sum(one.severity is severity for one in open_alerts) for severity in reversed(Severity)
    }
    severity_counts = [
        f"{_.number(count)} {severity_name(_, severity)}" for severity, count in counts.items() if count
    ]
    worst = max((alert.severity for alert in open_alerts), default=0)
    badge = severity_badge(worst, _.number(len(open_alerts))) if open_alerts else severity_badge(0, "0")
    return _("Open alerts"), badge, ", ".join(severity_counts) or _("none")


def _show_concerns(_: Translator, view: FleetView, concerns: list[Concern]) -> None:
    st.markdown(f"#### {_('Needs a human now')}")
    if not concerns:
        st.html(f"<p>{severity_badge(0, _('Nothing needs you now.'))}</p>")
        return
    shown_count = st.session_state.get(SHOWN_KEY, INITIAL_CONCERNS)
    with st.container(key="concerns", gap=None):
        for index, concern in enumerate(concerns[:shown_count]):
            _show_concern(_, view, concern, index)
    if len(concerns) > shown_count:
        label = _("Show more of {count}", count=_.number(len(concerns)))
        st.button(label, key="more-concerns", on_click=_show_more, args=(shown_count,))


def _show_concern(_: Translator, view: FleetView, concern: Concern, index: int) -> None:
    sensor = view.sensors[concern.sensor_id]
    badge_column, name_column, sparkline_column, text_column, button_column = st.columns(
        [1.5, 2.6, 1.6, 4.6, 1.4], vertical_alignment="center"
    )
    with badge_column:
        alert = concern.alert
        st.html(alert_badge(_, alert) if alert else severity_badge(concern.weight, topic_name(_, concern)))
    with name_column:
        below = " · ".join(part for part in (sensor.name, sensor.platform) if part)
        st.html(f'<b>{escape(sensor.id)}</b><br><small class="sp-faint">{escape(below)}</small>')
    newest = view.newest_of(sensor.id)
    with sparkline_column:
        if newest is not None:
            alt_text = _("The newest readings of {sensor}", sensor=sensor.id)
            st.html(
                sparkline_html(
                    load_newest_values(sensor.id, newest), current_palette(), concern.weight, alt_text
                )
            )
    with text_column:
        st.html(f"{escape(concern_text(_, concern, sensor))}{_concern_details_html(_, concern)}")
    with button_column:
        st.button(
            _("Look"),
            key=f"look-{index}",
            on_click=open_sensor,
            args=(concern_view(concern), concern.sensor_id),
            help=_("Open {sensor}", sensor=escape_markdown(sensor.id)),
        )


def concern_view(concern: Concern) -> str:
    """The tab in which a concern is looked at."""
    return (
        VIEW_BY_TOPIC[concern.topic]
        if concern.alert is None
        else VIEW_BY_ALERT_TYPE[concern.alert.topic.type]
    )


def _concern_details_html(_: Translator, concern: Concern) -> str:
    parts = [_("since {moment}", moment=_.moment(concern.since))] if concern.since else []
    if concern.seen_by:
        parts.append(_("seen by {who}", who=concern.seen_by))
    return f'<br><small class="sp-faint">{escape(" · ".join(parts))}</small>' if parts else ""


def open_sensor(view: str, sensor_id: str) -> None:
    """Show one sensor in another tab."""
    set_choices(view=view, sensor=sensor_id)
    st.session_state.pop("sensor-box", None)


def topic_name(_: Translator, concern: Concern) -> str:
    """What a concern is about."""
    return {
        ConcernTopic.ANOMALY: _("odd reading"),
        ConcernTopic.DRIFT: _("drift"),
        ConcernTopic.DECISION: _("to decide"),
        ConcernTopic.UNTRAINED: _("no model"),
    }[concern.topic]


def concern_text(_: Translator, concern: Concern, sensor: Sensor) -> str:
    """A concern in a sentence."""
    if concern.alert is not None:
        return f"{alert_name(_, concern.alert)}: {alert_text(_, concern.alert, sensor)}"
    kind = kind_name(_, concern.kind) if concern.kind else ""
    if concern.topic is ConcernTopic.DECISION:
        return _(
            "A {kind} waits for a decision. The gate: {gate}",
            kind=kind,
            gate=translate_reason(_, concern.text),
        )
    if concern.topic is ConcernTopic.UNTRAINED and concern.kind is None:
        return _("There are readings enough for both models, and none was trained yet.")
    if concern.topic is ConcernTopic.UNTRAINED:
        return _("There are readings enough for a {kind}, and none was trained yet.", kind=kind)
    return translate_reason(_, concern.text)


def _show_sensor_table(_: Translator, view: FleetView, models: ModelOutcomes | None) -> None:
    st.markdown(f"#### {_('Every sensor')}")
    table = sensor_table(_, view, models)
    event = st.dataframe(
        table,
        hide_index=True,
        height=table_height(len(table), 560),
        key="fleet-table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "status": st.column_config.TextColumn(_("Status"), width=110),
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "name": st.column_config.TextColumn(_("Name")),
            "platform": st.column_config.TextColumn(_("Platform")),
            "value": st.column_config.TextColumn(_("Newest reading"), alignment="right"),
            "when": st.column_config.TextColumn(_("When")),
            "score": st.column_config.ProgressColumn(
                _("Score"), min_value=0.0, max_value=1.0, format="%.2f", width="small"
            ),
            "why": st.column_config.TextColumn(_("Why"), width="medium"),
            "models": st.column_config.TextColumn(_("Models")),
        },
        alt=_("All sensors with their newest reading, score and models"),
    )
    rows = event["selection"]["rows"]
    if rows:
        sensor_id = str(table["sensor"].iloc[rows[0]])
        st.button(
            _("Open {sensor}", sensor=escape_markdown(sensor_id)),
            type="primary",
            on_click=open_sensor,
            args=("anomalies", sensor_id),
        )
    else:
        st.caption(_("Choose a row to open its sensor."))


def sensor_table(_: Translator, view: FleetView, models: ModelOutcomes | None) -> pd.DataFrame:
    """One row a sensor, the oddest first."""
    rows = []
    for sensor_id, row in zip(view.rows.index, view.rows.to_dict("records"), strict=True):
        sensor = view.sensors[sensor_id]
        has_reading, has_score = not pd.isna(row["timestamp"]), not pd.isna(row["anomaly_score"])
        rows.append(
            {
                "status": status_text(_, row)
                if has_score
                else f"○ {_('not scored') if has_reading else _('silent')}",
                "sensor": sensor_id,
                "name": sensor.name,
                "platform": sensor.platform,
                "value": f"{_.number(row['value'])} {sensor.unit}".strip() if has_reading else "",
                "when": _.moment(row["timestamp"]) if has_reading else "",
                "score": float(row["anomaly_score"]) if has_score else None,
                "why": translate_reason(_, row["reason"]) if isinstance(row["reason"], str) else "",
                "models": "" if models is None else models_text(_, models, sensor_id),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("score", ascending=False, na_position="last", kind="stable")


def status_text(_: Translator, row: Mapping[Any, Any]) -> str:
    """A scored sensor's state as sign and word."""
    score = float(row["anomaly_score"])
    if not row["is_anomaly"]:
        return f"✓ {_('normal')}"
    return f"{'◆' if score >= 0.9 else '▲'} {_('anomaly')}"


def models_text(_: Translator, models: ModelOutcomes, sensor_id: str) -> str:
    """Which of its two models serve."""
    texts = []
    for kind in Kind:
        outcome = models.get((sensor_id, kind))
        if outcome is None or outcome.status == "no model":
            texts.append("-")
        else:
            texts.append(f"v{outcome.version}" + ("" if outcome.status == "serving" else "?"))
    return " / ".join(texts)


def _show_more(shown_count: int) -> None:
    st.session_state[SHOWN_KEY] = shown_count + CONCERNS_PER_CLICK
