"""The Model Status tab: which versions serve the fleet, one sensor's two models, and moving an alias.

Knows how models are laid out. Promotion and roll-back are `training.operations.promotion`'s, as on the
command line.
"""

from collections.abc import Mapping
from datetime import timedelta

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SIGNS, AlertType
from monitoring.dashboard.fleet_view import FleetView, Models
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.model_card import show_model
from monitoring.dashboard.theme import cards, mark, plain, table_height
from monitoring.dashboard.url_state import choose, live, pick_sensor, plant, title_of
from monitoring.dashboard.wording import drift_words, kind_name, lasting
from monitoring.drift.store import DriftCheck
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from training.kinds import Kind
from training.outcomes import Outcome
from training.pipeline.recording import PASSED

EVERY_PLATFORM = "*"
Checks = Mapping[tuple[str, str], DriftCheck]


def show(_: Words) -> None:
    """The whole tab, renewed as aliases move."""
    sensors = dict(plant().fleet.look().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    live(_show_fleet, plant().settings.models_refresh)(_)
    st.divider()
    sensor = pick_sensor(_, sensors)
    st.subheader(plain(title_of(sensor)), anchor=False)
    live(show_alerts, plant().settings.refresh)(_, sensor, (AlertType.DRIFT,))
    live(_show_sensor, plant().settings.models_refresh)(_, sensor.id)


def _show_fleet(_: Words) -> None:
    view, models = plant().fleet.look(), plant().models.peek()
    if models is None:
        st.info(_("The registry is being read."))
        return
    checks = checks_by_model(plant().checks.peek() or [])
    _coverage(_, view, models, checks)
    platform = _pick_platform(_, view)
    table = model_table(_, view, models, checks, platform)
    st.dataframe(
        table,
        hide_index=True,
        height=table_height(len(table), 460),
        key="models-table",
        on_select=_choose_row,
        selection_mode="single-row",
        placeholder="-",
        column_config={
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "name": st.column_config.TextColumn(_("Name")),
            "platform": st.column_config.TextColumn(_("Platform")),
            "type": st.column_config.TextColumn(_("Type")),
            "grade": st.column_config.TextColumn(
                _("Grade"),
                width="small",
                help=_("Of its readings at the last training: A good, F useless"),
            ),
            "detector": st.column_config.TextColumn(_("Detector")),
            "forecaster": st.column_config.TextColumn(_("Forecaster")),
            "age": st.column_config.NumberColumn(
                _("Age in days"), format="%.1f", width="small", help=_("Of the older of its two models")
            ),
            "drift": st.column_config.TextColumn(_("Drift")),
            "gate": st.column_config.TextColumn(_("Gate"), width="medium"),
        },
        alt=_("All sensors with the versions that serve them"),
    )
    st.session_state["models-table-rows"] = table["sensor"].tolist()
    st.caption(_("Choose a row to see its sensor below."))


def _choose_row() -> None:
    event = st.session_state.get("models-table")
    rows = event["selection"]["rows"] if event else []
    if rows:
        sensor_id = st.session_state["models-table-rows"][rows[0]]
        choose(sensor=sensor_id)
        st.session_state["sensor-box"] = sensor_id


def _coverage(_: Words, view: FleetView, models: Models, checks: Checks) -> None:
    shown = []
    for kind, label in ((Kind.DETECTOR, _("Detectors serving")), (Kind.FORECASTER, _("Forecasters serving"))):
        serving = sum(o.status == "serving" for (_id, of), o in models.items() if of is kind)
        share = serving / len(view.sensors)
        count = _("{part} of {whole}", part=_.number(serving), whole=_.number(len(view.sensors)))
        shown.append((label, _.percent(share), count))
    waiting = sum(o.status == "waiting" or bool(o.detail.get("challenger")) for o in models.values())
    shown.append((_("Waiting for a decision"), _.number(waiting), _("refused, or kept for a human")))
    drifted = {check.sensor_id for check in checks.values() if check.verdict.value == "drifted"}
    told = _("by their newest check") if checks else _("not checked yet: safeplan drift")
    state = mark(2, _.number(len(drifted))) if drifted else mark(0, "0") if checks else "-"
    shown.append((_("Drifted"), state, told))
    ages = [age for o in models.values() if (age := age_of(o)) is not None]
    if ages:
        oldest = lasting(_, timedelta(days=max(ages)))
        shown.append((_("Oldest model"), oldest, _("since the newest reading it learned from")))
    cards(shown)


def _pick_platform(_: Words, view: FleetView) -> str:
    if len(view.platforms) < 2:
        return EVERY_PLATFORM
    return str(
        st.selectbox(
            _("Platform"),
            [EVERY_PLATFORM, *view.platforms],
            format_func=lambda name: _("all") if name == EVERY_PLATFORM else name or _("none"),
            key="models-platform",
        )
    )


def model_table(_: Words, view: FleetView, models: Models, checks: Checks, platform: str) -> pd.DataFrame:
    """One row a sensor, those with a model that does not serve first."""
    rows = []
    for sensor_id, sensor in view.sensors.items():
        if platform not in (EVERY_PLATFORM, sensor.platform):
            continue
        both = {kind: found for kind in Kind if (found := models.get((sensor_id, kind))) is not None}
        ages = [age for outcome in both.values() if (age := age_of(outcome)) is not None]
        rows.append(
            {
                "sensor": sensor_id,
                "name": sensor.name,
                "platform": sensor.platform,
                "type": sensor.type,
                "grade": next((str(g) for o in both.values() if (g := o.detail.get("grade"))), "-"),
                **{kind.value: model_words(_, both.get(kind)) for kind in Kind},
                "age": max(ages, default=None),
                "drift": drift_of(_, checks, sensor_id),
                "gate": gate_of(_, both),
            }
        )
    columns = ["sensor", "name", "platform", "type", "grade", *Kind, "age", "drift", "gate"]
    table = pd.DataFrame(rows, columns=[str(name) for name in columns])
    serving = sum(table[kind.value].str.startswith(SIGNS[0]).astype(int) for kind in Kind)
    return table.assign(serving=serving).sort_values("serving", kind="stable").drop(columns="serving")


def model_words(_: Words, outcome: Outcome | None) -> str:
    """A version and what it does, with a sign."""
    if outcome is None or outcome.version is None:
        return f"- {_('none')}"
    if outcome.status != "serving":
        return f"○ v{outcome.version} {_('waits')}"
    waiting = outcome.detail.get("challenger")
    more = f" ({_('v{number} waits', number=waiting)})" if waiting else ""
    return f"✓ v{outcome.version} {_('serves')}{more}"


def gate_of(_: Words, both: Mapping[Kind, Outcome]) -> str:
    """The gate's verdict on the version shown, refusals in its words."""
    told = []
    for kind, outcome in both.items():
        gate = str(outcome.detail.get("gate") or "")
        if gate and not gate.startswith(PASSED):
            told.append(f"▲ {kind_name(_, kind)}: {retold(_, gate)}")
    if told:
        return "; ".join(told)
    return f"✓ {_('passed')}" if any(outcome.version for outcome in both.values()) else ""


def drift_of(_: Words, checks: Checks, sensor_id: str) -> str:
    """The worse of both models' newest verdicts."""
    found = [check for kind in Kind if (check := checks.get((sensor_id, kind.model_type)))]
    if not found:
        return "-"
    weight, words = max(drift_words(_, check.verdict) for check in found)
    return f"{SIGNS[weight]} {words}"


def checks_by_model(checks: list[DriftCheck]) -> dict[tuple[str, str], DriftCheck]:
    """The newest check of each model."""
    return {(check.sensor_id, check.model_type): check for check in checks}


def age_of(outcome: Outcome) -> float | None:
    """Days since the newest reading that a version learned from."""
    age = outcome.metrics.get("age_days")
    return None if age is None else float(age)


def _show_sensor(_: Words, sensor_id: str) -> None:
    models = plant().models.peek()
    if models is None:
        return
    checks = checks_by_model(plant().checks.peek() or [])
    for column, kind in zip(st.columns(2, gap="large"), Kind, strict=True):
        with column:
            outcome = models.get((sensor_id, kind))
            show_model(_, sensor_id, kind, outcome, checks.get((sensor_id, kind.model_type)))
