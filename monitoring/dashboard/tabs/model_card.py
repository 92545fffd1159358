"""One model of a sensor: the version shown, gate, drift check, all versions, promotion and rollback.

Promotion is in `training.operations.promotion`; the table of the fleet is in `tabs.models`.
"""

from collections.abc import Callable
from datetime import datetime
from html import escape

import pandas as pd
import streamlit as st

from monitoring.dashboard.fleet_view import gate_reason
from monitoring.dashboard.login import require_role
from monitoring.dashboard.mlflow_links import show_model_links, show_run_link
from monitoring.dashboard.sensor_data import load_versions
from monitoring.dashboard.theme import severity_badge, show_cards
from monitoring.dashboard.url_state import run_action, shared_state
from monitoring.dashboard.wording import drift_verdict_text, grade_cards, kind_name
from monitoring.drift.recording import EXPERIMENT
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftVerdict
from monitoring.i18n.translation import Translator
from serving.http.tokens import Role
from training.common.times import read_iso
from training.kinds import Kind
from training.operations.promotion import promote_version, roll_back
from training.outcomes import Outcome, OutcomeStatus
from training.registry.model_registry import CHALLENGER, CHAMPION, PREVIOUS, Version


def show_model(
    _: Translator, sensor_id: str, kind: Kind, outcome: Outcome | None, check: DriftCheck | None
) -> None:
    """Everything about one model."""
    st.markdown(f"##### {kind_name(_, kind).capitalize()}")
    if outcome is None or outcome.version is None or outcome.model is None:
        st.html(severity_badge(1, _("No model yet. Train one on the tab Training.")))
        return
    serving = outcome.status == OutcomeStatus.SERVING
    state = severity_badge(0, _("serving")) if serving else severity_badge(2, _("not serving"))
    trained = _training_end_text(_, outcome)
    show_cards(
        [(_("Version"), f"v{outcome.version} {state}", trained), *grade_cards(_, kind, outcome.metrics)]
    )
    text, reasons = gate_reason(outcome)
    if text:
        badge = severity_badge(0 if outcome.detail.get("gate_passed") else 2, _("Gate"))
        st.html(f"<p>{badge} {escape(_.reason_text(reasons, text))}</p>")
    if check is not None:
        _show_drift(_, check, shared_state().fleet.get().sensors[sensor_id].unit)
    show_model_links(_, outcome)
    _show_versions(_, sensor_id, kind, outcome)


def _show_drift(_: Translator, check: DriftCheck, unit: str) -> None:
    """The newest drift check: verdict, reason, onset, recent quality of the model, advice."""
    weight, verdict_text = drift_verdict_text(_, check.verdict)
    label = _("Drift") if check.verdict is DriftVerdict.STEADY else verdict_text  # the reason has the rest
    version, checked_at = check.model_version, _.moment(check.checked_at)
    details = [_("v{version} checked at {moment}", version=version, moment=checked_at)]
    if check.since is not None:
        details.insert(0, _("since {moment}", moment=_.moment(check.since)))
    if (mase := check.quality.get("mase")) is not None:
        details.append(_("recent MASE {mase}", mase=_.number(mase, 3)))
    if (alarms := check.quality.get("alarms_per_day")) is not None:
        details.append(_("{count} recent alarms per day", count=_.number(alarms, 2)))
    if check.advice:
        details.append(_.reason_text(check.advice_reasons, check.advice))
    reason = _.reason_text(check.reasons, check.reason, unit=unit)
    st.html(
        f"<p>{severity_badge(weight, label)} {escape(reason)}<br>"
        f'<small class="sp-faint">{escape(" · ".join(details))}</small></p>'
    )
    if check.run_id:
        show_run_link(_, _("Drift check in MLflow"), EXPERIMENT, check.run_id)


def _training_end_text(_: Translator, outcome: Outcome) -> str:
    end = outcome.detail.get("train_end")
    return _("trained on data up to {moment}", moment=_.moment(read_iso(str(end)))) if end else ""


def _show_versions(_: Translator, sensor_id: str, kind: Kind, outcome: Outcome) -> None:
    aliases = {
        CHAMPION: outcome.version if outcome.status == OutcomeStatus.SERVING else None,
        CHALLENGER: outcome.detail.get("challenger"),
        PREVIOUS: outcome.detail.get("previous"),
    }
    all_versions = load_versions(sensor_id, kind, str(aliases))
    with st.expander(_.plural("{count} version", "{count} versions", len(all_versions))):
        st.dataframe(
            version_table(_, all_versions, aliases),
            hide_index=True,
            column_config={
                "version": st.column_config.TextColumn(_("Version"), width="small"),
                "alias": st.column_config.TextColumn(_("Alias"), width="small"),
                "created": st.column_config.TextColumn(_("Created"), width="small"),
                "gate": st.column_config.TextColumn(_("Gate"), width="large"),
            },
            key=f"versions-{kind}",
            alt=_("All versions of this model"),
        )
        if require_role(_, Role.PROMOTE):
            _show_actions(_, sensor_id, kind, all_versions, aliases)


def version_table(_: Translator, all_versions: list[Version], aliases: dict[str, object]) -> pd.DataFrame:
    """One row per version, newest first."""
    rows = [
        {
            "version": f"v{version.number}",
            "alias": ", ".join(alias for alias, number in aliases.items() if number == version.number),
            "created": _.moment(version.created.replace(tzinfo=None)),
            "gate": _.reason_text(version.tags.get("gate_reasons"), version.tags.get("gate", "")),
        }
        for version in all_versions
    ]
    return pd.DataFrame(rows, columns=["version", "alias", "created", "gate"])


def _show_actions(
    _: Translator, sensor_id: str, kind: Kind, all_versions: list[Version], aliases: dict[str, object]
) -> None:
    others = [version for version in all_versions if version.number != aliases[CHAMPION]]
    if others:
        numbers = [version.number for version in others]
        challenger = aliases[CHALLENGER]
        chosen = st.selectbox(
            _("Version to promote"),
            numbers,
            index=numbers.index(challenger) if challenger in numbers else 0,
            format_func=lambda number: f"v{number}",
            key=f"promote-{kind}",
        )
        anyway = False
        if not next(version.gate_passed for version in others if version.number == chosen):
            anyway = st.checkbox(_("Promote although the gate refused it"), key=f"anyway-{kind}")
        st.button(
            _("Promote v{number}", number=chosen),
            key=f"do-promote-{kind}",
            type="primary",
            on_click=_promote,
            args=(_, sensor_id, kind, chosen, anyway),
        )
    if aliases[PREVIOUS] is not None and aliases[CHAMPION] is not None:
        st.button(
            _("Roll back to v{number}", number=aliases[PREVIOUS]),
            key=f"do-rollback-{kind}",
            on_click=_roll_back,
            args=(_, sensor_id, kind),
        )


def _promote(_: Translator, sensor_id: str, kind: Kind, number: int, anyway: bool) -> None:
    def act(who: str, now: datetime) -> Outcome:
        shared = shared_state()
        sensor = shared.fleet.get().sensors[sensor_id]
        return promote_version(shared.workspace, sensor, kind, number=number, anyway=anyway, who=who, now=now)

    _move_alias(_, act)


def _roll_back(_: Translator, sensor_id: str, kind: Kind) -> None:
    def act(who: str, now: datetime) -> Outcome:
        shared = shared_state()
        return roll_back(shared.workspace, shared.fleet.get().sensors[sensor_id], kind, who=who, now=now)

    _move_alias(_, act)


def _move_alias(_: Translator, move: Callable[[str, datetime], Outcome]) -> None:
    """Move an alias and reload the models of the fleet."""

    def act(who: str) -> Outcome:
        outcome = move(who, shared_state().clock())
        shared_state().models.refresh()
        return outcome

    def success(outcome: Outcome) -> str:
        return _("{model} v{version} is now serving.", model=outcome.model, version=outcome.version)

    run_action(_, Role.PROMOTE, act, success)
