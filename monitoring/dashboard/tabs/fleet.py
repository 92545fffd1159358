"""The Overview tab: figures of the fleet, the concerns that require action, and a table of all sensors.

Concerns are collected and ranked in `fleet_view`; here they are laid out, each with a button that opens its
sensor.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.alert import Alert
from monitoring.alerts.kinds import AlertState, AlertType, Severity, severity_name
from monitoring.alerts.sensor_status import SensorCondition, SensorStatus, count_monitored, status_name
from monitoring.dashboard.fleet_view import (
    Concern,
    ConcernTopic,
    FleetView,
    ModelOutcomes,
    alert_concerns,
    anomaly_concerns,
    decision_concerns,
    drift_concerns,
    stored_reason,
    untrained_concerns,
)
from monitoring.dashboard.sensor_data import load_newest_values
from monitoring.dashboard.tabs.alerts import (
    alert_badge,
    alert_text,
    can_acknowledge,
    change_alert,
    show_acknowledge_button,
)
from monitoring.dashboard.tabs.sensor_rows import pick_rows
from monitoring.dashboard.tabs.shelved import show_shelved
from monitoring.dashboard.theme import (
    current_palette,
    escape_markdown,
    severity_badge,
    show_cards,
    sparkline_html,
    table_height,
)
from monitoring.dashboard.url_state import auto_refresh, has_role, set_choices, shared_state
from monitoring.dashboard.wording import kind_name
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name
from monitoring.watch.operator_actions import acknowledge
from serving.http.tokens import Role
from training.data.sensors import Sensor
from training.kinds import Kind
from training.outcomes import OutcomeStatus

INITIAL_CONCERNS, CONCERNS_PER_CLICK = 8, 24  # concerns shown at first, and added by each click
SHOWN_KEY = "concerns-shown"
VIEW_BY_TOPIC = {
    ConcernTopic.ANOMALY: "anomalies",
    ConcernTopic.DRIFT: "models",
    ConcernTopic.DECISION: "models",
    ConcernTopic.UNTRAINED: "training",
}
VIEW_BY_ALERT_TYPE = {
    AlertType.LIMIT: "anomalies",
    AlertType.ANOMALY: "anomalies",
    AlertType.INSTRUMENT: "anomalies",
    AlertType.FORECAST_WARNING: "forecast",
    AlertType.DRIFT: "models",
}


def show(_: Translator) -> None:
    """The whole tab, refreshed as readings arrive."""
    auto_refresh(_show_fleet, shared_state().settings.refresh)(_)


def _show_fleet(_: Translator) -> None:
    # Read once: the counts above and the list below must agree.
    shared = shared_state()
    view, models, alerts = shared.fleet.get(), shared.model_outcomes(), shared.alerts.get()
    if not view.sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    concerns = collect_concerns(view, models, alerts)
    conditions = shared.statuses(view, alerts, models)
    _show_summary(_, view, models, concerns, alerts, conditions)
    _show_concerns(_, view, concerns)
    show_shelved(_, alerts, view.sensors)
    _show_sensor_table(_, view, models, conditions)


def collect_concerns(
    view: FleetView, models: ModelOutcomes | None, alerts: Collection[Alert]
) -> list[Concern]:
    """Everything that requires attention: by severity, unacknowledged first."""
    checks, trainable = shared_state().checks.get_if_loaded() or [], shared_state().trainable.get_if_loaded()
    concerns = [
        *alert_concerns(alerts, view.sensors),
        *anomaly_concerns(
            view, _alerted_sensors(alerts, AlertType.LIMIT, AlertType.ANOMALY, AlertType.INSTRUMENT)
        ),
        *drift_concerns(checks, _alerted_sensors(alerts, AlertType.DRIFT)),
    ]
    if models is not None:
        concerns += decision_concerns(models, view.sensors)
        if trainable is not None:
            concerns += untrained_concerns(models, trainable)
    return sorted(concerns, key=lambda concern: (-concern.weight, concern.acknowledged_by is not None))


def _alerted_sensors(alerts: Collection[Alert], *types: AlertType) -> set[str]:
    return {alert.topic.sensor_id for alert in alerts if alert.topic.type in types}


def _show_summary(
    _: Translator,
    view: FleetView,
    models: ModelOutcomes | None,
    concerns: list[Concern],
    alerts: Collection[Alert],
    conditions: Mapping[str, SensorCondition],
) -> None:
    anomaly_count = int(view.rows["is_anomaly"].fillna(value=False).astype(bool).sum())
    cards = [
        _action_required_card(_, concerns),
        _active_alerts_card(_, alerts),
        (_("Active anomalies"), _.number(anomaly_count), _("by newest reading")),
        monitored_card(_, conditions),
    ]
    if models is not None:
        serving = sum(outcome.status == OutcomeStatus.SERVING for outcome in models.values())
        share = _("of {count}", count=_.number(len(models)))
        cards.append((_("Models serving"), _.number(serving), share))
    newest = view.newest
    if newest is not None:
        age = max(shared_state().clock() - newest, timedelta(0)).total_seconds()
        age_text = _("{time} ago", time=_.duration(age))
        cards.append((_("Newest reading"), escape(_.moment(newest)), age_text))
    show_cards(cards)


def _action_required_card(_: Translator, concerns: list[Concern]) -> tuple[str, str, str]:
    """The number of sensors with an unacknowledged concern of at least severity 2."""
    urgent = [concern for concern in concerns if concern.weight >= 2 and concern.acknowledged_by is None]
    if not urgent:
        return _("Action required"), severity_badge(0, _("none")), _("nothing unacknowledged")
    count = len({concern.sensor_id for concern in urgent})
    badge = severity_badge(max(concern.weight for concern in urgent), _.number(count))
    return _("Action required"), badge, _("sensors with something unacknowledged")


def _active_alerts_card(_: Translator, alerts: Collection[Alert]) -> tuple[str, str, str]:
    """The number of open alerts, by severity."""
    severities = [alert.severity for alert in alerts if alert.state is AlertState.OPEN]
    counts = [
        f"{_.number(count)} {severity_name(_, severity)}"
        for severity in reversed(Severity)
        if (count := severities.count(severity))
    ]
    badge = severity_badge(max(severities, default=0), _.number(len(severities)))
    return _("Active alerts"), badge, ", ".join(counts) or _("none")


def monitored_card(_: Translator, conditions: Mapping[str, SensorCondition]) -> tuple[str, str, str]:
    """How many sensors a detector that passed the gate monitors, and how the others are monitored."""
    statuses = [condition.monitoring for condition in conditions.values()]
    counts = [
        f"{_.number(count)} {status_name(_, status)}"
        for status in (SensorStatus.NOT_MONITORED, SensorStatus.WEAKLY_MONITORED)
        if (count := statuses.count(status))
    ]
    monitored = count_monitored(conditions.values())
    share = _("{count} of {total}", count=_.number(monitored), total=_.number(len(statuses)))
    badge = severity_badge(0 if monitored == len(statuses) else int(Severity.WARNING), share)
    return _("Sensors monitored"), badge, ", ".join(counts) or _("all of them")


def _show_concerns(_: Translator, view: FleetView, concerns: list[Concern]) -> None:
    st.markdown(f"#### {_('Action required')}")
    if not concerns:
        st.html(f"<p>{severity_badge(0, _('No active alerts. No action required.'))}</p>")
        return
    shown_count = st.session_state.get(SHOWN_KEY, INITIAL_CONCERNS)
    unacknowledged = [c.alert.id for c in concerns[:shown_count] if c.alert and can_acknowledge(c.alert)]
    if len(unacknowledged) > 1 and has_role(Role.OPERATE):
        label = _("Acknowledge all {count} shown", count=_.number(len(unacknowledged)))
        st.button(label, key="ack-shown", on_click=_acknowledge_shown, args=(_, unacknowledged))
    with st.container(key="concerns", gap=None):
        for concern in concerns[:shown_count]:
            _show_concern(_, view, concern)
    if len(concerns) > shown_count:
        label = _("Show more ({count} in total)", count=_.number(len(concerns)))
        st.button(label, key="more-concerns", on_click=_show_more, args=(shown_count,))


def _show_concern(_: Translator, view: FleetView, concern: Concern) -> None:
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
            values = load_newest_values(sensor.id, newest)
            alt_text = _("Newest readings of {sensor}", sensor=sensor.id)
            st.html(sparkline_html(values, current_palette(), concern.weight, alt_text))
    with text_column:
        st.html(f"{escape(concern_text(_, concern, sensor))}{_concern_details_html(_, concern)}")
    with button_column:
        # Keyed by the concern, not by its row: a click meets what was under the pointer, whatever came above.
        st.button(
            _("Open"),
            key=f"open-{concern.key}",
            on_click=open_sensor,
            args=(concern_view(concern), concern.sensor_id),
            help=_("Open {sensor}", sensor=escape_markdown(sensor.id)),
        )
        if concern.alert and can_acknowledge(concern.alert) and has_role(Role.OPERATE):
            show_acknowledge_button(_, concern.alert, key=f"ack-row-{concern.alert.id}")


def _acknowledge_shown(_: Translator, alert_ids: Sequence[int]) -> None:
    """Acknowledge the alerts that the operator saw, and no later ones."""

    def act(who: str, now: datetime) -> Alert:
        return [acknowledge(shared_state().workspace, one, by=who, now=now) for one in alert_ids][-1]

    text = _.plural("{count} alert acknowledged.", "{count} alerts acknowledged.", len(alert_ids))
    change_alert(_, act, lambda _last: text)


def concern_view(concern: Concern) -> str:
    """The tab that shows a concern."""
    if concern.alert is None:
        return VIEW_BY_TOPIC[concern.topic]
    return VIEW_BY_ALERT_TYPE[concern.alert.topic.type]


def _concern_details_html(_: Translator, concern: Concern) -> str:
    parts = [_("since {moment}", moment=_.moment(concern.since))] if concern.since else []
    if concern.acknowledged_by:
        parts.append(_("acknowledged by {who}", who=concern.acknowledged_by))
    return f'<br><small class="sp-faint">{escape(" · ".join(parts))}</small>' if parts else ""


def open_sensor(view: str, sensor_id: str) -> None:
    """Show one sensor on another tab."""
    set_choices(view=view, sensor=sensor_id)


def topic_name(_: Translator, concern: Concern) -> str:
    """The topic of a concern that is no alert."""
    return {
        ConcernTopic.ANOMALY: _("anomalous reading"),
        ConcernTopic.DRIFT: _("drift"),
        ConcernTopic.DECISION: _("awaiting approval"),
        ConcernTopic.UNTRAINED: _("no model"),
    }[concern.topic]


def concern_text(_: Translator, concern: Concern, sensor: Sensor) -> str:
    """A concern in one sentence."""
    if concern.alert is not None:
        return f"{alert_name(_, concern.alert)}: {alert_text(_, concern.alert, sensor)}"
    kind = kind_name(_, concern.kind) if concern.kind else ""
    if concern.topic is ConcernTopic.DECISION:
        # Without the unit: the figures of the gate are relative.
        gate = _.reason_text(concern.reasons, concern.text)
        return _("A {kind} is awaiting approval. Gate: {gate}", kind=kind, gate=gate)
    if concern.topic is ConcernTopic.UNTRAINED and concern.kind is None:
        return _("Enough readings for both models; none has been trained yet.")
    if concern.topic is ConcernTopic.UNTRAINED:
        return _("Enough readings for a {kind}; none has been trained yet.", kind=kind)
    return _.reason_text(concern.reasons, concern.text, unit=sensor.unit)


def _show_sensor_table(
    _: Translator,
    view: FleetView,
    models: ModelOutcomes | None,
    conditions: Mapping[str, SensorCondition],
) -> None:
    st.markdown(f"#### {_('All sensors')}")
    by_score = view.rows["anomaly_score"].sort_values(ascending=False, na_position="last", kind="stable")
    ranked = sorted(by_score.index, key=lambda sensor_id: conditions[sensor_id].rank)
    shown_ids = pick_rows(_, ranked, view.sensors, "fleet-filter")
    table = sensor_table(_, view, models, shown_ids, conditions)
    event = st.dataframe(
        table,
        hide_index=True,
        height=table_height(len(table), 560),
        key="fleet-table",
        on_select="rerun",
        selection_mode="single-row",
        column_config={
            "status": st.column_config.TextColumn(_("Status"), width=160),
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "name": st.column_config.TextColumn(_("Name")),
            "platform": st.column_config.TextColumn(_("Platform")),
            "value": st.column_config.TextColumn(_("Newest reading"), alignment="right"),
            "time": st.column_config.TextColumn(_("Time")),
            "score": st.column_config.ProgressColumn(
                _("Score"), min_value=0.0, max_value=1.0, format="localized", width="small"
            ),
            "reason": st.column_config.TextColumn(_("Reason"), width="medium"),
            "models": st.column_config.TextColumn(_("Models")),
        },
        alt=_("All sensors with their newest reading, score and models"),
    )
    rows = event["selection"]["rows"]
    if rows and rows[0] < len(table):
        sensor_id = str(table["sensor"].iloc[rows[0]])
        label = _("Open {sensor}", sensor=escape_markdown(sensor_id))
        st.button(label, key="open-row", type="primary", on_click=open_sensor, args=("anomalies", sensor_id))
    else:
        st.caption(_("Select a row to open its sensor."))


def sensor_table(
    _: Translator,
    view: FleetView,
    models: ModelOutcomes | None,
    sensor_ids: Sequence[str],
    conditions: Mapping[str, SensorCondition],
) -> pd.DataFrame:
    """One row for each of these sensors, in their order."""
    rows = view.rows.loc[list(sensor_ids)].to_dict("index")
    return pd.DataFrame(
        [
            _sensor_row(_, view.sensors[sensor_id], rows[sensor_id], models, conditions[sensor_id])
            for sensor_id in sensor_ids
        ]
    )


def _sensor_row(
    _: Translator,
    sensor: Sensor,
    row: Mapping[Any, Any],
    models: ModelOutcomes | None,
    condition: SensorCondition,
) -> dict[str, Any]:
    has_reading, has_score = not pd.isna(row["timestamp"]), not pd.isna(row["anomaly_score"])
    text, reasons = stored_reason(row)
    return {
        "status": status_text(_, condition),
        "sensor": sensor.id,
        "name": sensor.name,
        "platform": sensor.platform,
        "value": _.quantity(row["value"], sensor.unit) if has_reading else "",
        "time": _.moment(row["timestamp"]) if has_reading else "",
        "score": round(float(row["anomaly_score"]), 2) if has_score else None,
        "reason": _.reason_text(condition.reasons or reasons, text, unit=sensor.unit),
        "models": "" if models is None else models_text(models, sensor.id),
    }


def status_text(_: Translator, condition: SensorCondition) -> str:
    """The status of a sensor as symbol and word."""
    return f"{condition.symbol} {status_name(_, condition.status)}"


def models_text(models: ModelOutcomes, sensor_id: str) -> str:
    """The versions of detector and forecaster; `?` marks one that does not serve."""
    texts = []
    for kind in Kind:
        outcome = models.get((sensor_id, kind))
        if outcome is None or outcome.version is None:
            texts.append("-")
        else:
            texts.append(f"v{outcome.version}" + ("" if outcome.status == OutcomeStatus.SERVING else "?"))
    return " / ".join(texts)


def _show_more(shown_count: int) -> None:
    st.session_state[SHOWN_KEY] = shown_count + CONCERNS_PER_CLICK
