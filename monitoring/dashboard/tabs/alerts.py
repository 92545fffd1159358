"""One sensor's alerts: what is open, what became of it so far, and what people say it was.

Knows how an alert, its life and the answers to it are laid out. The answers are those of the command line
(`alerts`); which alerts there are was decided by the watch.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from html import escape

import pandas as pd
import streamlit as st

from monitoring.alerts.alert import Alert, Event
from monitoring.alerts.kinds import (
    SIGNS,
    AlertType,
    Change,
    Judgement,
    Severity,
    State,
    judgement_name,
    severity_name,
    state_name,
)
from monitoring.dashboard.login import needs
from monitoring.dashboard.theme import mark, table_height
from monitoring.dashboard.url_state import attempt, caller, may, plant
from monitoring.dashboard.wording import lasting
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from monitoring.notify.message import alert_name, change_name
from monitoring.watch.operator_actions import acknowledge, history_of, judge, list_alerts
from serving.http.tokens import Role
from training.data.sensors import Sensor

EARLIER = 100  # closed alerts listed, the newest
STEPS = 6  # of an alert's life shown at once, the newest


def show_alerts(_: Words, sensor: Sensor, kinds: Collection[AlertType] | None = None) -> None:
    """A sensor's alerts of some kinds: those that live, each with its answers, then those that are over."""
    workspace = plant().workspace
    living = list_alerts(workspace, [sensor.id], alive=True, kinds=kinds)
    over = list_alerts(workspace, [sensor.id], alive=False, kinds=kinds)
    if not living and not over:
        return
    for alert in living:
        _show_alert(_, alert, sensor)
    if living:
        needs(_, Role.OPERATE)
    if over:
        _show_earlier(_, over, sensor)


def alert_words(_: Words, alert: Alert, sensor: Sensor) -> str:
    """What an alert says: a forecast's limit, moment and probability, else the reason it was given."""
    said = alert.evidence
    if said.crosses_at is None or said.limit is None or said.probability is None or said.probability >= 1:
        return retold(_, said.reason)
    return _(
        "Will probably ({probability}) cross {limit} at {moment}",
        probability=_.percent(said.probability),
        limit=f"{_.number(said.limit)} {sensor.unit}".strip(),
        moment=_.moment(said.crosses_at),
    )


def alert_mark(_: Words, alert: Alert) -> str:
    """How bad an alert is, or that it is over, as HTML."""
    if alert.state is State.OPEN:
        return mark(alert.severity, severity_name(_, alert.severity))
    return mark(1, f"{severity_name(_, alert.severity)}, {state_name(_, alert.state)}")


def life_of(_: Words, events: list[Event]) -> list[str]:
    """What happened to an alert, a sentence each, in order."""
    return [_told(_, event) for event in events]


def _told(_: Words, event: Event) -> str:
    parts = [_.moment(event.at), change_name(_, event.change)]
    if event.change in {Change.OPENED, Change.WORSENED, Change.REPEATED}:
        parts.append(severity_name(_, event.severity))
    if event.change is Change.JUDGED:
        verdict, colon, note = event.detail.partition(": ")
        parts.append(judgement_name(_, Judgement(verdict)) + colon + note)
    if event.by:
        parts.append(_("by {who}", who=event.by))
    return " · ".join(parts)


def _show_alert(_: Words, alert: Alert, sensor: Sensor) -> None:
    assert alert.id is not None
    with st.container(border=True, key=f"alert-{alert.id}"):
        told, life = st.columns([3, 2], gap="medium")
        with told:
            below = escape(_("since {moment}", moment=_.moment(alert.began_at)))
            st.html(
                f"<p>{alert_mark(_, alert)} <b>{escape(alert_name(_, alert))}</b> "
                f'<small class="sp-faint">{below}</small></p>'
                f"<p>{escape(alert_words(_, alert, sensor))}</p>{_verdict(_, alert)}"
            )
            if may(Role.OPERATE):
                _answers(_, alert)
        with life:
            _life(_, alert)


def _verdict(_: Words, alert: Alert) -> str:
    if alert.verdict is None:
        return ""
    said = _("Verdict: {verdict}", verdict=judgement_name(_, alert.verdict))
    by = _("by {who}", who=alert.verdict_by or "-")
    return f"<p><b>{escape(said)}</b> {escape(by)}{escape(f': {alert.note}') if alert.note else ''}</p>"


def _life(_: Words, alert: Alert) -> None:
    assert alert.id is not None
    told = life_of(_, history_of(plant().workspace, alert.id))
    if len(told) > STEPS:
        told = [*told[:1], "…", *told[1 - STEPS :]]
    items = "".join(f"<li>{escape(one)}</li>" for one in told)
    st.html(f'<ul class="sp-life" aria-label="{escape(_("The life of this alert"))}">{items}</ul>')


def _answers(_: Words, alert: Alert) -> None:
    note = f"note-{alert.id}"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(_("What it was"), key=note, placeholder=_("a note, if you like"), max_chars=500)
        if alert.acknowledged_at is None and alert.state is not State.CLOSED:
            st.button(
                _("Seen"),
                key=f"ack-{alert.id}",
                on_click=_acknowledge,
                args=(_, alert.id),
                help=_("Somebody looks after it; it does not escalate any more"),
            )
        for verdict, label, help_ in (
            (Judgement.CONFIRM, _("Confirm"), _("Something was wrong; detectors are judged by it")),
            (Judgement.FALSE, _("False alarm"), _("Nothing was wrong; the next training learns that")),
            (Judgement.MAINTENANCE, _("Maintenance"), _("Somebody worked there; nothing is learned from it")),
        ):
            st.button(
                label,
                key=f"{verdict}-{alert.id}",
                on_click=_judge,
                args=(_, alert.id, verdict, note),
                help=help_,
            )


def _acknowledge(_: Words, alert_id: int) -> None:
    def act(who: str, now: datetime) -> Alert:
        return acknowledge(plant().workspace, alert_id, by=who, now=now)

    _answer(
        _, act, lambda alert: _("Alert {number}: seen by {who}.", number=alert.id, who=alert.acknowledged_by)
    )


def _judge(_: Words, alert_id: int, verdict: Judgement, note: str) -> None:
    said = str(st.session_state.get(note, "")).strip() or None

    def act(who: str, now: datetime) -> Alert:
        return judge(plant().workspace, alert_id, verdict, by=who, now=now, note=said)

    _answer(
        _,
        act,
        lambda alert: _("Alert {number}: {verdict}.", number=alert.id, verdict=judgement_name(_, verdict)),
    )


def _answer(_: Words, act: Callable[[str, datetime], Alert], told: Callable[[Alert], str]) -> None:
    """Answer under the token's name, if it still allows that, and look at the alerts again."""
    found = caller()
    if found is None or not found.has_role(Role.OPERATE):
        st.session_state["said"] = ("error", _("Your token does not allow this any more. Log in again."))
        return

    def answered() -> Alert:
        done = act(found.name, plant().clock())
        plant().alerts.renew()
        return done

    attempt(answered, told)


def _show_earlier(_: Words, over: list[Alert], sensor: Sensor) -> None:
    newest = sorted(over, key=lambda alert: alert.opened_at, reverse=True)[:EARLIER]
    with st.expander(_.plural("{count} earlier alert", "{count} earlier alerts", len(over))):
        event = st.dataframe(
            earlier_table(_, newest, sensor),
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
            needs(_, Role.OPERATE)
        else:
            st.caption(_("Choose a row to see its life, or to say what it was."))


def earlier_table(_: Words, alerts: list[Alert], sensor: Sensor) -> pd.DataFrame:
    """One row a closed alert."""
    return pd.DataFrame(
        [
            {
                "severity": f"{SIGNS[Severity(alert.severity)]} {severity_name(_, alert.severity)}",
                "type": alert_name(_, alert),
                "since": _.moment(alert.began_at),
                "lasted": lasting(_, alert.last_at - alert.began_at)
                if alert.last_at > alert.began_at
                else "",
                "verdict": " · ".join(
                    filter(
                        None,
                        (
                            alert.verdict and judgement_name(_, alert.verdict),
                            alert.verdict_by,
                            alert.note,
                        ),
                    )
                ),
                "why": alert_words(_, alert, sensor),
            }
            for alert in alerts
        ]
    )
