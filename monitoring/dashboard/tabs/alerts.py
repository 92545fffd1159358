"""One sensor's alerts: what is open, what became of it so far, and what people say it was.

Knows how an alert, its life and the answers to it are laid out. The answers are those of the command line
(`alerts`); which alerts there are was decided by the watch.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from html import escape

import pandas as pd
import streamlit as st

from monitoring.alerts.alert import Alert, AlertEvent
from monitoring.alerts.kinds import (
    SEVERITY_SYMBOLS,
    AlertChange,
    AlertState,
    AlertType,
    AlertVerdict,
    Severity,
    severity_name,
    state_name,
    verdict_name,
)
from monitoring.dashboard.login import require_role
from monitoring.dashboard.theme import severity_badge, table_height
from monitoring.dashboard.url_state import current_caller, has_role, run_action, shared_state
from monitoring.dashboard.wording import duration_text
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from monitoring.notify.message import alert_name, change_name
from monitoring.watch.operator_actions import acknowledge, alert_history, list_alerts, set_verdict
from serving.http.tokens import Role
from training.data.sensors import Sensor

MAX_CLOSED_ALERTS = 100  # closed alerts listed, the newest
MAX_EVENTS_SHOWN = 6  # of an alert's life shown at once, the newest


def show_alerts(_: Translator, sensor: Sensor, kinds: Collection[AlertType] | None = None) -> None:
    """A sensor's alerts of some kinds: those that live, each with its answers, then those that are over."""
    workspace = shared_state().workspace
    active_alerts = list_alerts(workspace, [sensor.id], alive=True, kinds=kinds)
    closed_alerts = list_alerts(workspace, [sensor.id], alive=False, kinds=kinds)
    if not active_alerts and not closed_alerts:
        return
    for alert in active_alerts:
        _show_alert(_, alert, sensor)
    if active_alerts:
        require_role(_, Role.OPERATE)
    if closed_alerts:
        _show_closed(_, closed_alerts, sensor)


def alert_text(_: Translator, alert: Alert, sensor: Sensor) -> str:
    """What an alert says: a forecast's limit, moment and probability, else the reason it was given."""
    evidence = alert.evidence
    if (
        evidence.crosses_at is None
        or evidence.limit is None
        or evidence.probability is None
        or evidence.probability >= 1
    ):
        return translate_reason(_, evidence.reason)
    return _(
        "Will probably ({probability}) cross {limit} at {moment}",
        probability=_.percent(evidence.probability),
        limit=f"{_.number(evidence.limit)} {sensor.unit}".strip(),
        moment=_.moment(evidence.crosses_at),
    )


def alert_badge(_: Translator, alert: Alert) -> str:
    """How bad an alert is, or that it is over, as HTML."""
    if alert.state is AlertState.OPEN:
        return severity_badge(alert.severity, severity_name(_, alert.severity))
    return severity_badge(1, f"{severity_name(_, alert.severity)}, {state_name(_, alert.state)}")


def event_texts(_: Translator, events: list[AlertEvent]) -> list[str]:
    """What happened to an alert, a sentence each, in order."""
    return [_event_text(_, event) for event in events]


def _event_text(_: Translator, event: AlertEvent) -> str:
    parts = [_.moment(event.at), change_name(_, event.change)]
    if event.change in {AlertChange.OPENED, AlertChange.WORSENED, AlertChange.REPEATED}:
        parts.append(severity_name(_, event.severity))
    if event.change is AlertChange.JUDGED:
        verdict, colon, note = event.detail.partition(": ")
        parts.append(verdict_name(_, AlertVerdict(verdict)) + colon + note)
    if event.by:
        parts.append(_("by {who}", who=event.by))
    return " · ".join(parts)


def _show_alert(_: Translator, alert: Alert, sensor: Sensor) -> None:
    assert alert.id is not None
    with st.container(border=True, key=f"alert-{alert.id}"):
        description_column, event_column = st.columns([3, 2], gap="medium")
        with description_column:
            below = escape(_("since {moment}", moment=_.moment(alert.began_at)))
            st.html(
                f"<p>{alert_badge(_, alert)} <b>{escape(alert_name(_, alert))}</b> "
                f'<small class="sp-faint">{below}</small></p>'
                f"<p>{escape(alert_text(_, alert, sensor))}</p>{_verdict_html(_, alert)}"
            )
            if has_role(Role.OPERATE):
                _show_actions(_, alert)
        with event_column:
            _show_events(_, alert)


def _verdict_html(_: Translator, alert: Alert) -> str:
    if alert.verdict is None:
        return ""
    verdict_line = _("Verdict: {verdict}", verdict=verdict_name(_, alert.verdict))
    by = _("by {who}", who=alert.verdict_by or "-")
    return (
        f"<p><b>{escape(verdict_line)}</b> {escape(by)}{escape(f': {alert.note}') if alert.note else ''}</p>"
    )


def _show_events(_: Translator, alert: Alert) -> None:
    assert alert.id is not None
    texts = event_texts(_, alert_history(shared_state().workspace, alert.id))
    if len(texts) > MAX_EVENTS_SHOWN:
        texts = [*texts[:1], "…", *texts[1 - MAX_EVENTS_SHOWN :]]
    items = "".join(f"<li>{escape(one)}</li>" for one in texts)
    st.html(f'<ul class="sp-life" aria-label="{escape(_("The life of this alert"))}">{items}</ul>')


def _show_actions(_: Translator, alert: Alert) -> None:
    note = f"note-{alert.id}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(_("What it was"), key=note, placeholder=_("a note, if you like"), max_chars=500)
        if alert.acknowledged_at is None and alert.state is not AlertState.CLOSED:
            st.button(
                _("Seen"),
                key=f"ack-{alert.id}",
                on_click=_acknowledge,
                args=(_, alert.id),
                help=_("Somebody looks after it; it does not escalate any more"),
            )
        for verdict, label, help_ in (
            (AlertVerdict.CONFIRM, _("Confirm"), _("Something was wrong; detectors are judged by it")),
            (AlertVerdict.FALSE, _("False alarm"), _("Nothing was wrong; the next training learns that")),
            (
                AlertVerdict.MAINTENANCE,
                _("Maintenance"),
                _("Somebody worked there; nothing is learned from it"),
            ),
        ):
            st.button(
                label,
                key=f"{verdict}-{alert.id}",
                on_click=_set_verdict,
                args=(_, alert.id, verdict, note),
                help=help_,
            )


def _acknowledge(_: Translator, alert_id: int) -> None:
    def act(who: str, now: datetime) -> Alert:
        return acknowledge(shared_state().workspace, alert_id, by=who, now=now)

    _apply_action(
        _, act, lambda alert: _("Alert {number}: seen by {who}.", number=alert.id, who=alert.acknowledged_by)
    )


def _set_verdict(_: Translator, alert_id: int, verdict: AlertVerdict, note: str) -> None:
    note_text = str(st.session_state.get(note, "")).strip() or None

    def act(who: str, now: datetime) -> Alert:
        return set_verdict(shared_state().workspace, alert_id, verdict, by=who, now=now, note=note_text)

    _apply_action(
        _,
        act,
        lambda alert: _("Alert {number}: {verdict}.", number=alert.id, verdict=verdict_name(_, verdict)),
    )


def _apply_action(
    _: Translator, act: Callable[[str, datetime], Alert], success_text: Callable[[Alert], str]
) -> None:
    """Answer under the token's name, if it still allows that, and look at the alerts again."""
    token_caller = current_caller()
    if token_caller is None or not token_caller.has_role(Role.OPERATE):
        st.session_state["said"] = ("error", _("Your token does not allow this any more. Log in again."))
        return

    def act_and_refresh() -> Alert:
        done = act(token_caller.name, shared_state().clock())
        shared_state().alerts.refresh()
        return done

    run_action(act_and_refresh, success_text)


def _show_closed(_: Translator, closed_alerts: list[Alert], sensor: Sensor) -> None:
    newest = sorted(closed_alerts, key=lambda alert: alert.opened_at, reverse=True)[:MAX_CLOSED_ALERTS]
    with st.expander(_.plural("{count} earlier alert", "{count} earlier alerts", len(closed_alerts))):
        event = st.dataframe(
            closed_alerts_table(_, newest, sensor),
            hide_index=True,
            height=table_height(len(newest), 290),
            key=f"earlier-{sensor.id}",
            on_select="rerun",
            selection_mode="single-row",
            column_config={
                "severity": st.column_config.TextColumn(_("Severity"), width="small"),
                "type": st.column_config.TextColumn(_("Type"), width="small"),
                "since": st.column_config.TextColumn(_("Since"), width="small"),
                "lasted": st.column_config.TextColumn(_("Lasted"), width="small"),
                "verdict": st.column_config.TextColumn(_("Verdict")),
                "why": st.column_config.TextColumn(_("Why"), width="large"),
            },
            alt=_("Closed alerts of {sensor}, the newest first", sensor=sensor.id),
        )
        rows = event["selection"]["rows"]
        if rows and rows[0] < len(newest):
            _show_alert(_, newest[rows[0]], sensor)
            require_role(_, Role.OPERATE)
        else:
            st.caption(_("Choose a row to see its life, or to say what it was."))


def closed_alerts_table(_: Translator, alerts: list[Alert], sensor: Sensor) -> pd.DataFrame:
    """One row a closed alert."""
    return pd.DataFrame(
        [
            {
                "severity": f"{SEVERITY_SYMBOLS[Severity(alert.severity)]} {severity_name(_, alert.severity)}",
                "type": alert_name(_, alert),
                "since": _.moment(alert.began_at),
                "lasted": duration_text(_, alert.last_at - alert.began_at)
                if alert.last_at > alert.began_at
                else "",
                "verdict": " · ".join(
                    filter(
                        None,
                        (
                            alert.verdict and verdict_name(_, alert.verdict),
                            alert.verdict_by,
                            alert.note,
                        ),
                    )
                ),
                "why": alert_text(_, alert, sensor),
            }
            for alert in alerts
        ]
    )
