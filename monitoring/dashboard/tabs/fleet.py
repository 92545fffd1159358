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
from monitoring.alerts.kinds import AlertType, Severity, State, severity_name
from monitoring.dashboard.fleet_view import (
    Concern,
    FleetView,
    Models,
    Topic,
    alarms,
    drifted,
    odd_readings,
    undecided,
    untrained,
)
from monitoring.dashboard.sensor_data import newest_values
from monitoring.dashboard.tabs.alerts import alert_mark, alert_words
from monitoring.dashboard.theme import cards, mark, palette, plain, sparkline, table_height
from monitoring.dashboard.url_state import choose, live, plant
from monitoring.dashboard.wording import kind_name, lasting
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from monitoring.notify.message import alert_name
from training.data.sensors import Sensor
from training.kinds import Kind

FEW, MORE = 8, 24  # concerns shown at first, and with each click
SHOWN = "concerns-shown"
VIEW_OF = {
    Topic.ODD: "anomalies",
    Topic.DRIFT: "models",
    Topic.DECISION: "models",
    Topic.UNTRAINED: "training",
}
VIEW_OF_ALERT = {
    AlertType.ANOMALY: "anomalies",
    AlertType.INSTRUMENT: "anomalies",
    AlertType.FORECAST_WARNING: "forecast",
    AlertType.DRIFT: "models",
}


def show(_: Words) -> None:
    """The whole tab, renewed as readings arrive."""
    live(_show_fleet, plant().settings.refresh)(_)


def _show_fleet(_: Words) -> None:
    # Each is looked at once: what is counted above and what is listed below must agree.
    view, models, alerts = plant().fleet.look(), plant().models.peek(), plant().alerts.look()
    if not view.sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    concerns = concerns_of(view, models, alerts)
    _summary(_, view, models, concerns, alerts)
    _list(_, view, concerns)
    _table(_, view, models)


def concerns_of(view: FleetView, models: Models | None, alerts: Collection[Alert]) -> list[Concern]:
    """Everything that a human should look at: the worst first, of these what nobody has seen yet."""
    checks, able = plant().checks.peek() or [], plant().able.peek()
    known = {
        kind: {one.topic.sensor_id for one in alerts if one.topic.type in kinds}
        for kind, kinds in (
            (Topic.ODD, (AlertType.ANOMALY, AlertType.INSTRUMENT)),
            (Topic.DRIFT, (AlertType.DRIFT,)),
        )
    }
    found = [
        *alarms(alerts, view.sensors),
        *odd_readings(view, known[Topic.ODD]),
        *drifted(checks, known[Topic.DRIFT]),
    ]
    if models is not None:
        found += undecided(models, view.sensors)
        if able is not None:
            found += untrained(models, able)
    return sorted(found, key=lambda one: (-one.weight, one.seen_by is not None))


def _summary(
    _: Words, view: FleetView, models: Models | None, concerns: list[Concern], alerts: Collection[Alert]
) -> None:
    urgent = [one for one in concerns if one.weight >= 2 and one.seen_by is None]
    worst = max((one.weight for one in urgent), default=0)
    state = mark(worst, _.number(len({one.sensor_id for one in urgent}))) if urgent else mark(0, _("nothing"))
    odd = int(view.rows["is_anomaly"].fillna(value=False).astype(bool).sum())
    platforms = _.plural("on {count} platform", "on {count} platforms", len(view.platforms))
    shown = [
        (_("Needs a human now"), state, _("sensors with something urgent") if urgent else _("all is calm")),
        _open_alerts(_, alerts),
        (_("Odd now"), _.number(odd), _("by their newest reading")),
        (_("Sensors"), _.number(len(view.sensors)), platforms),
    ]
    if models is not None:
        serving = sum(outcome.status == "serving" for outcome in models.values())
        share = _("of {count}", count=_.number(len(models)))
        shown.append((_("Models serving"), _.number(serving), share))
    newest = view.newest
    if newest is not None:
        age = lasting(_, max(plant().clock() - newest, timedelta(0)))
        shown.append((_("Newest reading"), escape(_.moment(newest)), _("{time} ago", time=age)))
    cards(shown)


def _open_alerts(_: Words, alerts: Collection[Alert]) -> tuple[str, str, str]:
    """How many alerts are open, and how bad they are."""
    still = [alert for alert in alerts if alert.state is State.OPEN]
    counts = {severity: sum(one.severity is severity for one in still) for severity in reversed(Severity)}
    told = [f"{_.number(count)} {severity_name(_, severity)}" for severity, count in counts.items() if count]
    worst = max((alert.severity for alert in still), default=0)
    shown = mark(worst, _.number(len(still))) if still else mark(0, "0")
    return _("Open alerts"), shown, ", ".join(told) or _("none")


def _list(_: Words, view: FleetView, concerns: list[Concern]) -> None:
    st.markdown(f"#### {_('Needs a human now')}")
    if not concerns:
        st.html(f"<p>{mark(0, _('Nothing needs you now.'))}</p>")
        return
    shown = st.session_state.get(SHOWN, FEW)
    with st.container(key="concerns", gap=None):
        for place, concern in enumerate(concerns[:shown]):
            _row(_, view, concern, place)
    if len(concerns) > shown:
        label = _("Show more of {count}", count=_.number(len(concerns)))
        st.button(label, key="more-concerns", on_click=_show_more, args=(shown,))


def _row(_: Words, view: FleetView, concern: Concern, place: int) -> None:
    sensor = view.sensors[concern.sensor_id]
    sign, name, picture, what, way = st.columns([1.5, 2.6, 1.6, 4.6, 1.4], vertical_alignment="center")
    with sign:
        alert = concern.alert
        st.html(alert_mark(_, alert) if alert else mark(concern.weight, topic_words(_, concern)))
    with name:
        below = " · ".join(part for part in (sensor.name, sensor.platform) if part)
        st.html(f'<b>{escape(sensor.id)}</b><br><small class="sp-faint">{escape(below)}</small>')
    newest = view.newest_of(sensor.id)
    with picture:
        if newest is not None:
            told = _("The newest readings of {sensor}", sensor=sensor.id)
            st.html(sparkline(newest_values(sensor.id, newest), palette(), concern.weight, told))
    with what:
        st.html(f"{escape(what_words(_, concern, sensor))}{_below(_, concern)}")
    with way:
        st.button(
            _("Look"),
            key=f"look-{place}",
            on_click=go,
            args=(view_of(concern), concern.sensor_id),
            help=_("Open {sensor}", sensor=plain(sensor.id)),
        )


def view_of(concern: Concern) -> str:
    """The tab in which a concern is looked at."""
    return VIEW_OF[concern.topic] if concern.alert is None else VIEW_OF_ALERT[concern.alert.topic.type]


def _below(_: Words, concern: Concern) -> str:
    parts = [_("since {moment}", moment=_.moment(concern.since))] if concern.since else []
    if concern.seen_by:
        parts.append(_("seen by {who}", who=concern.seen_by))
    return f'<br><small class="sp-faint">{escape(" · ".join(parts))}</small>' if parts else ""


def go(view: str, sensor_id: str) -> None:
    """Show one sensor in another tab."""
    choose(view=view, sensor=sensor_id)
    st.session_state.pop("sensor-box", None)


def topic_words(_: Words, concern: Concern) -> str:
    """What a concern is about."""
    return {
        Topic.ODD: _("odd reading"),
        Topic.DRIFT: _("drift"),
        Topic.DECISION: _("to decide"),
        Topic.UNTRAINED: _("no model"),
    }[concern.topic]


def what_words(_: Words, concern: Concern, sensor: Sensor) -> str:
    """A concern in a sentence."""
    if concern.alert is not None:
        return f"{alert_name(_, concern.alert)}: {alert_words(_, concern.alert, sensor)}"
    kind = kind_name(_, concern.kind) if concern.kind else ""
    if concern.topic is Topic.DECISION:
        return _("A {kind} waits for a decision. The gate: {gate}", kind=kind, gate=retold(_, concern.what))
    if concern.topic is Topic.UNTRAINED and concern.kind is None:
        return _("There are readings enough for both models, and none was trained yet.")
    if concern.topic is Topic.UNTRAINED:
        return _("There are readings enough for a {kind}, and none was trained yet.", kind=kind)
    return retold(_, concern.what)


def _table(_: Words, view: FleetView, models: Models | None) -> None:
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
            _("Open {sensor}", sensor=plain(sensor_id)),
            type="primary",
            on_click=go,
            args=("anomalies", sensor_id),
        )
    else:
        st.caption(_("Choose a row to open its sensor."))


def sensor_table(_: Words, view: FleetView, models: Models | None) -> pd.DataFrame:
    """One row a sensor, the oddest first."""
    rows = []
    for sensor_id, row in zip(view.rows.index, view.rows.to_dict("records"), strict=True):
        sensor = view.sensors[sensor_id]
        known, scored = not pd.isna(row["timestamp"]), not pd.isna(row["anomaly_score"])
        rows.append(
            {
                "status": status_of(_, row) if scored else f"○ {_('not scored') if known else _('silent')}",
                "sensor": sensor_id,
                "name": sensor.name,
                "platform": sensor.platform,
                "value": f"{_.number(row['value'])} {sensor.unit}".strip() if known else "",
                "when": _.moment(row["timestamp"]) if known else "",
                "score": float(row["anomaly_score"]) if scored else None,
                "why": retold(_, row["reason"]) if isinstance(row["reason"], str) else "",
                "models": "" if models is None else models_of(_, models, sensor_id),
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values("score", ascending=False, na_position="last", kind="stable")


def status_of(_: Words, row: Mapping[Any, Any]) -> str:
    """A scored sensor's state as sign and word."""
    score = float(row["anomaly_score"])
    if not row["is_anomaly"]:
        return f"✓ {_('normal')}"
    return f"{'◆' if score >= 0.9 else '▲'} {_('anomaly')}"


def models_of(_: Words, models: Models, sensor_id: str) -> str:
    """Which of its two models serve."""
    words = []
    for kind in Kind:
        outcome = models.get((sensor_id, kind))
        if outcome is None or outcome.status == "no model":
            words.append("-")
        else:
            words.append(f"v{outcome.version}" + ("" if outcome.status == "serving" else "?"))
    return " / ".join(words)


def _show_more(shown: int) -> None:
    st.session_state[SHOWN] = shown + MORE
