"""Alerts of one sensor: the active ones with their events and buttons, and a table of the closed ones.

Shown on the tabs of anomalies, forecasts and models. The buttons do what `safeplan alerts` does
(`monitoring.watch.operator_actions`); which alerts exist is decided in `monitoring.watch`.
"""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from html import escape

import pandas as pd
import streamlit as st

from monitoring.alerts.actions import verdict_and_note
from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.evidence_text import evidence_text
from monitoring.alerts.kinds import (
    AlertChange,
    AlertState,
    AlertType,
    AlertVerdict,
    severity_label,
    severity_name,
    state_name,
    verdict_name,
)
from monitoring.dashboard.login import require_role
from monitoring.dashboard.theme import severity_badge, table_height
from monitoring.dashboard.url_state import has_role, run_action, shared_state
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name, change_name
from monitoring.watch.operator_actions import (
    accept_level,
    acknowledge,
    alert_history,
    list_alerts,
    set_verdict,
    shelve,
    unshelve,
)
from serving.http.tokens import Role
from training.data.sensors import Sensor

MAX_CLOSED_ALERTS = 100  # listed, the newest
SHELVING_HOURS = (1, 8)  # offered; at most life.longest_shelving
MAX_EVENTS_SHOWN = 6  # of one alert: the first and the newest


def show_alerts(_: Translator, sensor: Sensor, kinds: Collection[AlertType] | None = None) -> None:
    """A sensor's alerts of some types: active ones with buttons, then closed ones."""
    workspace = shared_state().workspace
    active_alerts = list_alerts(workspace, [sensor.id], alive=True, kinds=kinds)
    closed_alerts = list_alerts(workspace, [sensor.id], alive=False, kinds=kinds)
    for alert in active_alerts:
        _show_alert(_, alert, sensor)
    if active_alerts:
        require_role(_, Role.OPERATE)
    if closed_alerts:
        _show_closed(_, closed_alerts, sensor)


def alert_text(_: Translator, alert: Alert, sensor: Sensor) -> str:
    """The evidence of an alert; for an expected crossing, with its time."""
    evidence = alert.evidence
    text = evidence_text(_, alert, sensor.unit)
    if evidence.crosses_at is None or evidence.probability is None or evidence.probability >= 1:
        return text
    return _("{reason}: {moment}", reason=text, moment=_.moment(evidence.crosses_at))


def alert_badge(_: Translator, alert: Alert) -> str:
    """The severity of an alert as HTML, with its state unless it is open."""
    if alert.settled is not None:
        settled = change_name(_, AlertChange.SETTLED)
        return severity_badge(alert.severity, f"{severity_name(_, alert.severity)}, {settled}")
    if alert.state is AlertState.OPEN:
        return severity_badge(alert.severity, severity_name(_, alert.severity))
    return severity_badge(1, f"{severity_name(_, alert.severity)}, {state_name(_, alert.state)}")


def event_text(_: Translator, event: AlertEvent, unit: str | None = None) -> str:
    """One event of an alert: time, change, severity, readings or verdict, and the person."""
    parts = [_.moment(event.at), change_name(_, event.change)]
    if event.change in {AlertChange.OPENED, AlertChange.WORSENED, AlertChange.REPEATED}:
        parts.append(severity_name(_, event.severity))
    if event.change is AlertChange.JUDGED:
        verdict, note = verdict_and_note(event)
        parts.append(": ".join(filter(None, (verdict_name(_, verdict), note))))
    if event.change in {AlertChange.RETURNED, AlertChange.SETTLED} and event.reasons:
        parts.append(_.reason_text(event.reasons, event.detail, unit=unit))
    if event.by:
        parts.append(_("by {who}", who=event.by))
    return " · ".join(parts)


def _show_alert(_: Translator, alert: Alert, sensor: Sensor) -> None:
    assert alert.id is not None
    with st.container(border=True, key=f"alert-{alert.id}"):
        description_column, event_column = st.columns([3, 2], gap="medium")
        with description_column:
            since = escape(_("since {moment}", moment=_.moment(alert.began_at)))
            st.html(
                f"<p>{alert_badge(_, alert)} <b>{escape(alert_name(_, alert))}</b> "
                f'<small class="sp-faint">{since}</small></p>'
                f"<p>{escape(alert_text(_, alert, sensor))}</p>{_verdict_html(_, alert)}"
            )
            if has_role(Role.OPERATE):
                _show_actions(_, alert)
        with event_column:
            _show_events(_, alert.id, sensor.unit)


def _verdict_html(_: Translator, alert: Alert) -> str:
    if alert.verdict is None:
        return ""
    verdict_line = _("Verdict: {verdict}", verdict=verdict_name(_, alert.verdict))
    by = _("by {who}", who=alert.verdict_by or "-")
    note = f": {alert.note}" if alert.note else ""
    return f"<p><b>{escape(verdict_line)}</b> {escape(by + note)}</p>"


def _show_events(_: Translator, alert_id: int, unit: str) -> None:
    texts = [event_text(_, event, unit) for event in alert_history(shared_state().workspace, alert_id)]
    if len(texts) > MAX_EVENTS_SHOWN:
        texts = [*texts[:1], "…", *texts[1 - MAX_EVENTS_SHOWN :]]
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    st.html(f'<ul class="sp-life" aria-label="{escape(_("Events of this alert"))}">{items}</ul>')


def _show_actions(_: Translator, alert: Alert) -> None:
    note_key = f"note-{alert.id}"
    st.text_input(_("Comment (optional)"), key=note_key, max_chars=500)
    with st.container(horizontal=True, gap="small"):
        if can_acknowledge(alert):
            show_acknowledge_button(_, alert, key=f"ack-{alert.id}")
        for verdict, label, help_text in (
            (AlertVerdict.CONFIRM, _("Confirm anomaly"), _("A real fault; detectors are evaluated with it")),
            (AlertVerdict.FALSE, _("False alarm"), _("No fault; the next training learns from it")),
            (AlertVerdict.MAINTENANCE, _("Maintenance"), _("Work on the equipment; excluded from training")),
        ):
            st.button(
                label,
                key=f"{verdict}-{alert.id}",
                on_click=_set_verdict,
                args=(_, alert.id, verdict, note_key),
                help=help_text,
            )
        if alert.settled is not None:
            st.button(
                _("Accept new level"),
                key=f"accept-{alert.id}",
                on_click=_accept_level,
                args=(_, alert.id),
                help=_("The new level is normal; the alert closes"),
            )
        if alert.shelved_until is not None:
            show_unshelve_button(_, alert)
        elif alert.state is not AlertState.CLOSED:
            for hours in SHELVING_HOURS:
                st.button(
                    _("Shelve {duration}", duration=_.duration(3600 * hours)),
                    key=f"shelve-{hours}-{alert.id}",
                    on_click=_shelve,
                    args=(_, alert.id, hours),
                    help=_("No notifications for this time; the alert stays in the list of shelved alerts"),
                )


def can_acknowledge(alert: Alert) -> bool:
    """Whether an alert waits for somebody to look after it."""
    return alert.acknowledged_at is None and alert.state is not AlertState.CLOSED


def show_acknowledge_button(_: Translator, alert: Alert, *, key: str) -> None:
    """The button that acknowledges an alert."""
    help_text = _("The alert is being handled; it is no longer escalated")
    st.button(_("Acknowledge"), key=key, on_click=_acknowledge, args=(_, alert.id), help=help_text)


def show_unshelve_button(_: Translator, alert: Alert) -> None:
    """The button that ends the shelving of an alert."""
    help_text = _("Send notifications of the alert again")
    st.button(
        _("Unshelve"), key=f"unshelve-{alert.id}", on_click=_unshelve, args=(_, alert.id), help=help_text
    )


def _acknowledge(_: Translator, alert_id: int) -> None:
    change_alert(
        _,
        lambda who, now: acknowledge(shared_state().workspace, alert_id, by=who, now=now),
        lambda alert: _("Alert {number} acknowledged by {who}.", number=alert.id, who=alert.acknowledged_by),
    )


def _shelve(_: Translator, alert_id: int, hours: int) -> None:
    change_alert(
        _,
        lambda who, now: shelve(
            shared_state().workspace, alert_id, now + timedelta(hours=hours), by=who, now=now
        ),
        lambda alert: _("Alert {number} is shelved for {hours} h.", number=alert.id, hours=hours),
    )


def _unshelve(_: Translator, alert_id: int) -> None:
    change_alert(
        _,
        lambda who, now: unshelve(shared_state().workspace, alert_id, by=who, now=now),
        lambda alert: _("Alert {number} is no longer shelved.", number=alert.id),
    )


def _accept_level(_: Translator, alert_id: int) -> None:
    change_alert(
        _,
        lambda who, now: accept_level(shared_state().workspace, alert_id, by=who, now=now),
        lambda alert: _("Alert {number}: new level accepted.", number=alert.id),
    )


def _set_verdict(_: Translator, alert_id: int, verdict: AlertVerdict, note_key: str) -> None:
    note = str(st.session_state.get(note_key, "")).strip() or None
    st.session_state[note_key] = ""  # a second click would store it again

    def act(who: str, now: datetime) -> Alert:
        return set_verdict(shared_state().workspace, alert_id, verdict, by=who, now=now, note=note)

    def success(alert: Alert) -> str:
        return _("Alert {number}: {verdict}.", number=alert.id, verdict=verdict_name(_, verdict))

    change_alert(_, act, success)


def change_alert(
    _: Translator, change: Callable[[str, datetime], Alert], success: Callable[[Alert], str]
) -> None:
    """Do what an operator chose, and reload the alerts of the fleet."""

    def act(who: str) -> Alert:
        alert = change(who, shared_state().clock())
        shared_state().alerts.refresh()
        return alert

    run_action(_, Role.OPERATE, act, success)


def _show_closed(_: Translator, closed_alerts: list[Alert], sensor: Sensor) -> None:
    newest = sorted(closed_alerts, key=lambda alert: alert.opened_at, reverse=True)[:MAX_CLOSED_ALERTS]
    with st.expander(_.plural("{count} closed alert", "{count} closed alerts", len(closed_alerts))):
        event = st.dataframe(
            closed_alerts_table(_, newest, sensor),
            hide_index=True,
            height=table_height(len(newest), 290),
            key=f"closed-{sensor.id}",
            on_select="rerun",
            selection_mode="single-row",
            column_config={
                "severity": st.column_config.TextColumn(_("Severity"), width="small"),
                "type": st.column_config.TextColumn(_("Type"), width="small"),
                "since": st.column_config.TextColumn(_("Since"), width="small"),
                "duration": st.column_config.TextColumn(_("Duration"), width="small"),
                "verdict": st.column_config.TextColumn(_("Verdict")),
                "reason": st.column_config.TextColumn(_("Reason"), width="large"),
            },
            alt=_("Closed alerts of {sensor}, newest first", sensor=sensor.id),
        )
        rows = event["selection"]["rows"]
        if rows and rows[0] < len(newest):
            _show_alert(_, newest[rows[0]], sensor)
            require_role(_, Role.OPERATE)
        else:
            st.caption(_("Select a row to see the events of an alert and to set its verdict."))


def closed_alerts_table(_: Translator, alerts: list[Alert], sensor: Sensor) -> pd.DataFrame:
    """One row per closed alert."""
    return pd.DataFrame([_closed_alert_row(_, alert, sensor) for alert in alerts])


def _closed_alert_row(_: Translator, alert: Alert, sensor: Sensor) -> dict[str, str]:
    seconds = (alert.last_at - alert.began_at).total_seconds()
    verdict = (alert.verdict and verdict_name(_, alert.verdict), alert.verdict_by, alert.note)
    return {
        "severity": severity_label(_, alert.severity),
        "type": alert_name(_, alert),
        "since": _.moment(alert.began_at),
        "duration": _.duration(seconds) if seconds > 0 else "",
        "verdict": " · ".join(filter(None, verdict)),
        "reason": alert_text(_, alert, sensor),
    }
