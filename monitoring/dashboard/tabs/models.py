"""The Model Status tab: figures and table of all models, and below the two models of one sensor.

One model is laid out in `tabs.model_card`, which also promotes and rolls back.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS, AlertType
from monitoring.dashboard.fleet_view import FleetView, ModelOutcomes, gate_reason
from monitoring.dashboard.tabs.alerts import show_alerts
from monitoring.dashboard.tabs.model_card import show_model
from monitoring.dashboard.tabs.sensor_rows import pick_rows
from monitoring.dashboard.theme import escape_markdown, severity_badge, show_cards, table_height
from monitoring.dashboard.url_state import auto_refresh, pick_sensor, sensor_title, set_choices, shared_state
from monitoring.dashboard.wording import drift_verdict_text, kind_name
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus

ALL_PLATFORMS = "*"
ChecksByModel = Mapping[tuple[str, str], DriftCheck]


def show(_: Translator) -> None:
    """The whole tab, refreshed as aliases move."""
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
    view, models = shared_state().fleet.get(), shared_state().model_outcomes()
    if models is None:
        st.info(_("Reading the model registry."))
        return
    checks = checks_by_model(shared_state().checks.get_if_loaded() or [])
    _show_summary(_, view, models, checks)
    platform = _pick_platform(_, view)
    ranked_ids = rank_sensors(view, models, platform)
    table = model_table(_, view, models, checks, pick_rows(_, ranked_ids, view.sensors, "models-filter"))
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
                help=_("Data quality at the last training, A (good) to F (unusable)"),
            ),
            "detector": st.column_config.TextColumn(_("Detector")),
            "forecaster": st.column_config.TextColumn(_("Forecaster")),
            "age": st.column_config.NumberColumn(
                _("Age in days"), format="localized", width="small", help=_("Of the older model")
            ),
            "drift": st.column_config.TextColumn(_("Drift")),
            "gate": st.column_config.TextColumn(_("Gate"), width="medium"),
        },
        alt=_("All sensors with their serving versions"),
    )
    st.session_state["models-table-rows"] = table["sensor"].tolist()
    st.caption(_("Select a row to see its sensor below."))


def _choose_row() -> None:
    event = st.session_state.get("models-table")
    rows = event["selection"]["rows"] if event else []
    sensor_ids = st.session_state["models-table-rows"]
    if rows and rows[0] < len(sensor_ids):
        set_choices(sensor=sensor_ids[rows[0]])


def _show_summary(_: Translator, view: FleetView, models: ModelOutcomes, checks: ChecksByModel) -> None:
    cards = []
    for kind, label in ((Kind.DETECTOR, _("Detectors serving")), (Kind.FORECASTER, _("Forecasters serving"))):
        serving = sum(o.status == OutcomeStatus.SERVING for o in models.values() if o.kind is kind)
        share = serving / len(view.sensors)
        count = _("{part} of {whole}", part=_.number(serving), whole=_.number(len(view.sensors)))
        cards.append((label, _.percent(share), count))
    waiting_count = sum(
        o.status == OutcomeStatus.WAITING or bool(o.detail.get("challenger")) for o in models.values()
    )
    cards.append((_("Awaiting approval"), _.number(waiting_count), _("refused, or promotion is manual")))
    drifted = {check.sensor_id for check in checks.values() if check.verdict is DriftVerdict.DRIFTED}
    drift_note = _("by newest check") if checks else _("not checked yet: safeplan drift")
    state = (
        severity_badge(2, _.number(len(drifted))) if drifted else severity_badge(0, "0") if checks else "-"
    )
    cards.append((_("Drifted"), state, drift_note))
    ages = [age for o in models.values() if (age := model_age_days(o)) is not None]
    if ages:
        oldest = _.duration(timedelta(days=max(ages)).total_seconds())
        cards.append((_("Oldest model"), oldest, _("since its newest training reading")))
    show_cards(cards)


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


def rank_sensors(view: FleetView, models: ModelOutcomes, platform: str) -> list[str]:
    """The sensors of a platform, those with the fewest serving models first."""

    def serving(sensor_id: str) -> int:
        outcomes = (models.get((sensor_id, kind)) for kind in Kind)
        return sum(outcome is not None and outcome.status == OutcomeStatus.SERVING for outcome in outcomes)

    ids = [
        sensor_id
        for sensor_id, sensor in view.sensors.items()
        if platform in (ALL_PLATFORMS, sensor.platform)
    ]
    return sorted(ids, key=serving)


def model_table(
    _: Translator,
    view: FleetView,
    models: ModelOutcomes,
    checks: ChecksByModel,
    sensor_ids: Sequence[str],
) -> pd.DataFrame:
    """One row for each of these sensors, in their order."""
    rows = []
    for sensor_id in sensor_ids:
        sensor = view.sensors[sensor_id]
        both = {kind: outcome for kind in Kind if (outcome := models.get((sensor_id, kind))) is not None}
        ages = [age for outcome in both.values() if (age := model_age_days(outcome)) is not None]
        rows.append(
            {
                "sensor": sensor_id,
                "name": sensor.name,
                "platform": sensor.platform,
                "type": sensor.type,
                "grade": next((str(g) for o in both.values() if (g := o.detail.get("grade"))), "-"),
                **{kind.value: version_text(_, both.get(kind)) for kind in Kind},
                "age": round(max(ages), 1) if ages else None,
                "drift": drift_text(_, checks, sensor_id),
                "gate": gate_text(_, both),
            }
        )
    columns = ["sensor", "name", "platform", "type", "grade", *Kind, "age", "drift", "gate"]
    return pd.DataFrame(rows, columns=[str(name) for name in columns])


def version_text(_: Translator, outcome: Outcome | None) -> str:
    """The version shown and whether it serves, with a symbol."""
    if outcome is None or outcome.version is None:
        return f"- {_('none')}"
    if outcome.status != OutcomeStatus.SERVING:
        return f"○ v{outcome.version} {_('awaiting approval')}"
    challenger = outcome.detail.get("challenger")
    challenger_note = f" ({_('v{number} awaiting approval', number=challenger)})" if challenger else ""
    return f"✓ v{outcome.version} {_('serving')}{challenger_note}"


def gate_text(_: Translator, both: Mapping[Kind, Outcome]) -> str:
    """The gate's decision on the versions shown, with the reasons of refusals."""
    refusals = []
    for kind, outcome in both.items():
        text, reasons = gate_reason(outcome)
        if text and not outcome.detail.get("gate_passed"):
            refusals.append(f"▲ {kind_name(_, kind)}: {_.reason_text(reasons, text)}")
    if refusals:
        return "; ".join(refusals)
    return f"✓ {_('passed')}" if any(outcome.detail.get("gate_passed") for outcome in both.values()) else ""


def drift_text(_: Translator, checks: ChecksByModel, sensor_id: str) -> str:
    """The worse of the newest drift verdicts on the two models."""
    model_checks = [check for kind in Kind if (check := checks.get((sensor_id, kind.model_type)))]
    if not model_checks:
        return "-"
    weight, verdict_text = max(drift_verdict_text(_, check.verdict) for check in model_checks)
    return f"{SEVERITY_SYMBOLS[weight]} {verdict_text}"


def checks_by_model(checks: list[DriftCheck]) -> dict[tuple[str, str], DriftCheck]:
    """The newest check of each model."""
    return {(check.sensor_id, check.model_type): check for check in checks}


def model_age_days(outcome: Outcome) -> float | None:
    """Days since the newest training reading of the version shown."""
    age = outcome.metrics.get("age_days")
    return None if age is None else float(age)


def _show_sensor(_: Translator, sensor_id: str) -> None:
    models = shared_state().model_outcomes()
    if models is None:
        return
    if sensor_id not in shared_state().fleet.get().sensors:
        st.rerun()  # it has left the fleet; the page shows another one
    checks = checks_by_model(shared_state().checks.get_if_loaded() or [])
    for column, kind in zip(st.columns(2, gap="large"), Kind, strict=True):
        with column:
            outcome = models.get((sensor_id, kind))
            show_model(_, sensor_id, kind, outcome, checks.get((sensor_id, kind.model_type)))
