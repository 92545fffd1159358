"""The Model Status tab: which versions serve the fleet, one sensor's two models, and moving an alias.

Knows how models are laid out. Promotion and roll-back are `training.operations.promotion`'s, as on the
command line.
"""

from collections.abc import Mapping
from datetime import timedelta

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS, AlertType
from monitoring.dashboard.fleet_view import FleetView, ModelOutcomes
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.model_card import show_model
from monitoring.dashboard.theme import escape_markdown, severity_badge, show_cards, table_height
from monitoring.dashboard.url_state import auto_refresh, pick_sensor, sensor_title, set_choices, shared_state
from monitoring.dashboard.wording import drift_verdict_text, duration_text, kind_name
from monitoring.drift.store import DriftCheck
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from training.kinds import Kind
from training.outcomes import Outcome

ALL_PLATFORMS = "*"
ChecksByModel = Mapping[tuple[str, str], DriftCheck]


def show(_: Translator) -> None:
    """The whole tab, renewed as aliases move."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    auto_refresh(_show_fleet, shared_state().settings.models_refresh)(_)
    st.divider()
    sensor = pick_sensor(_, sensors)
    st.subheader(escape_markdown(sensor_title(sensor)), anchor=False)
    auto_refresh(show_alerts, shared_state().settings.refresh)(_, sensor, (AlertType.DRIFT,))
    auto_refresh(_show_sensor, shared_state().settings.models_refresh)(_, sensor.id)


def _show_fleet(_: Translator) -> None:
    view, models = shared_state().fleet.get(), shared_state().models.get_if_loaded()
    if models is None:
        st.info(_("The registry is being read."))
        return
    checks = checks_by_model(shared_state().checks.get_if_loaded() or [])
    _show_summary(_, view, models, checks)
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
        set_choices(sensor=sensor_id)
        st.session_state["sensor-box"] = sensor_id


def _show_summary(_: Translator, view: FleetView, models: ModelOutcomes, checks: ChecksByModel) -> None:
    rows = []
    for kind, label in ((Kind.DETECTOR, _("Detectors serving")), (Kind.FORECASTER, _("Forecasters serving"))):
        serving = sum(o.status == "serving" for (_id, of), o in models.items() if of is kind)
        share = serving / len(view.sensors)
        count = _("{part} of {whole}", part=_.number(serving), whole=_.number(len(view.sensors)))
        rows.append((label, _.percent(share), count))
    waiting_count = sum(o.status == "waiting" or bool(o.detail.get("challenger")) for o in models.values())
    rows.append((_("Waiting for a decision"), _.number(waiting_count), _("refused, or kept for a human")))
    drifted = {check.sensor_id for check in checks.values() if check.verdict.value == "drifted"}
    drift_note = _("by their newest check") if checks else _("not checked yet: safeplan drift")
    state = (
        severity_badge(2, _.number(len(drifted))) if drifted else severity_badge(0, "0") if checks else "-"
    )
    rows.append((_("Drifted"), state, drift_note))
    ages = [age for o in models.values() if (age := model_age_days(o)) is not None]
    if ages:
        oldest = duration_text(_, timedelta(days=max(ages)))
        rows.append((_("Oldest model"), oldest, _("since the newest reading it learned from")))
    show_cards(rows)


def _pick_platform(_: Translator, view: FleetView) -> str:
    if len(view.platforms) < 2:
        return ALL_PLATFORMS
    return str(
        st.selectbox(
            _("Platform"),
            [ALL_PLATFORMS, *view.platforms],
            format_func=lambda name: _("all") if name == ALL_PLATFORMS else name or _("none"),
            key="models-platform",
        )
    )


def model_table(
    _: Translator, view: FleetView, models: ModelOutcomes, checks: ChecksByModel, platform: str
) -> pd.DataFrame:
    """One row a sensor, those with a model that does not serve first."""
    rows = []
    for sensor_id, sensor in view.sensors.items():
        if platform not in (ALL_PLATFORMS, sensor.platform):
            continue
        both = {kind: found for kind in Kind if (found := models.get((sensor_id, kind))) is not None}
        ages = [age for outcome in both.values() if (age := model_age_days(outcome)) is not None]
        rows.append(
            {
                "sensor": sensor_id,
                "name": sensor.name,
                "platform": sensor.platform,
                "type": sensor.type,
                "grade": next((str(g) for o in both.values() if (g := o.detail.get("grade"))), "-"),
                **{kind.value: version_text(_, both.get(kind)) for kind in Kind},
                "age": max(ages, default=None),
                "drift": drift_text(_, checks, sensor_id),
                "gate": gate_text(_, both),
            }
        )
    columns = ["sensor", "name", "platform", "type", "grade", *Kind, "age", "drift", "gate"]
    table = pd.DataFrame(rows, columns=[str(name) for name in columns])
    serving = sum(table[kind.value].str.startswith(SEVERITY_SYMBOLS[0]).astype(int) for kind in Kind)
    return table.assign(serving=serving).sort_values("serving", kind="stable").drop(columns="serving")


def version_text(_: Translator, outcome: Outcome | None) -> str:
    """A version and what it does, with a sign."""
    if outcome is None or outcome.version is None:
        return f"- {_('none')}"
    if outcome.status != "serving":
        return f"○ v{outcome.version} {_('waits')}"
    challenger = outcome.detail.get("challenger")
    challenger_note = f" ({_('v{number} waits', number=challenger)})" if challenger else ""
    return f"✓ v{outcome.version} {_('serves')}{challenger_note}"


def gate_text(_: Translator, both: Mapping[Kind, Outcome]) -> str:
    """The gate's verdict on the version shown, refusals in its words."""
    refusals = []
    for kind, outcome in both.items():
        gate = str(outcome.detail.get("gate") or "")
        if gate and not gate.startswith("passed"):
            refusals.append(f"▲ {kind_name(_, kind)}: {translate_reason(_, gate)}")
    if refusals:
        return "; ".join(refusals)
    return f"✓ {_('passed')}" if any(outcome.version for outcome in both.values()) else ""


def drift_text(_: Translator, checks: ChecksByModel, sensor_id: str) -> str:
    """The worse of both models' newest verdicts."""
    model_checks = [check for kind in Kind if (check := checks.get((sensor_id, kind.model_type)))]
    if not model_checks:
        return "-"
    weight, verdict_text = max(drift_verdict_text(_, check.verdict) for check in model_checks)
    return f"{SEVERITY_SYMBOLS[weight]} {verdict_text}"


def checks_by_model(checks: list[DriftCheck]) -> dict[tuple[str, str], DriftCheck]:
    """The newest check of each model."""
    return {(check.sensor_id, check.model_type): check for check in checks}


def model_age_days(outcome: Outcome) -> float | None:
    """Days since the newest reading that a version learned from."""
    age = outcome.metrics.get("age_days")
    return None if age is None else float(age)


def _show_sensor(_: Translator, sensor_id: str) -> None:
    models = shared_state().models.get_if_loaded()
    if models is None:
        return
    checks = checks_by_model(shared_state().checks.get_if_loaded() or [])
    for column, kind in zip(st.columns(2, gap="large"), Kind, strict=True):
        with column:
            outcome = models.get((sensor_id, kind))
            show_model(_, sensor_id, kind, outcome, checks.get((sensor_id, kind.model_type)))
