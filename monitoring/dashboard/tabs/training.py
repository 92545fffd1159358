"""The Training tab: choose sensors, see what their readings are worth, train, watch it, read what came of it.

Knows how a wish is put together. Trainings go on in processes of their own (`trainings`); what readings are
worth is told by `training.operations.overview`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS
from monitoring.dashboard.login import require_role
from monitoring.dashboard.sensor_data import get_model, load_quality, sampling_step
from monitoring.dashboard.tabs.training_run import show_trainings
from monitoring.dashboard.training_requests import TrainingRequest, TrainingStore, start_training
from monitoring.dashboard.url_state import (
    auto_refresh,
    current_caller,
    run_action,
    sensor_title,
    shared_state,
)
from monitoring.dashboard.wording import duration_text, kind_name
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator
from serving.http.tokens import Role
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.pipeline.plan import TuningSettings
from training.quality.windows import WindowSettings
from training.settings import load_settings

MAX_INSPECTED_SENSORS = 12  # sensors whose readings are graded anew at once; more would keep the page waiting
DEFAULT_SENSOR_COUNT = 3  # sensors chosen at first, where none is without a model


def show(_: Translator) -> None:
    """The whole tab."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    auto_refresh(show_trainings, 1.0)(_)
    chosen = _pick_sensors(_, sensors)
    kinds = _pick_kinds(_)
    _show_requirements(_, [sensors[sensor_id] for sensor_id in chosen], kinds)
    if require_role(_, Role.OPERATE):
        _show_form(_, chosen, kinds)


def _pick_sensors(_: Translator, sensors: Mapping[str, Sensor]) -> list[str]:
    if "train-sensors" not in st.session_state:
        st.session_state["train-sensors"] = _suggest_sensors(list(sensors))
    return st.multiselect(
        _("Sensors to train"),
        list(sensors),
        format_func=lambda sensor_id: sensor_title(sensors[sensor_id]),
        key="train-sensors",
        placeholder=_("Type an id, a name or a platform"),
        persist_state="session",
    )


def _suggest_sensors(sensor_ids: Sequence[str]) -> list[str]:
    """Those without a model that could have one; else the first few."""
    models, able = shared_state().models.get_if_loaded() or {}, shared_state().trainable.get_if_loaded() or {}
    without_model = [
        sensor_id
        for sensor_id in sensor_ids
        if any(
            sensor_id in able.get(kind, ()) and (found := models.get((sensor_id, kind))) and not found.version
            for kind in Kind
        )
    ]
    return (without_model or list(sensor_ids[:DEFAULT_SENSOR_COUNT]))[:MAX_INSPECTED_SENSORS]


def _pick_kinds(_: Translator) -> list[Kind]:
    selected = st.pills(
        _("Kinds of model"),
        [kind.value for kind in Kind],
        selection_mode="multi",
        default=[kind.value for kind in Kind],
        format_func=lambda kind: kind_name(_, kind),
        key=f"train-kinds-{_.language}",
    )
    return [Kind(kind) for kind in selected]


def _show_requirements(_: Translator, sensors: Sequence[Sensor], kinds: Sequence[Kind]) -> None:
    window, able = load_settings(WindowSettings), shared_state().trainable.get()
    needed = " · ".join(
        _("a {kind} needs {count} good readings", kind=kind_name(_, kind), count=window.minimum(kind))
        for kind in Kind
    )
    st.markdown(f"##### {_('What is needed')}")
    st.caption(
        f"{needed}. {_('Good are readings with data_quality 0 that no fault of the instrument spoilt.')}"
    )
    if not sensors:
        return
    # Those that cannot be trained are looked at first: for them something is to be done.
    untrainable = [one for one in sensors if any(one.id not in able[kind] for kind in kinds)]
    shown_sensors = [*untrainable, *(one for one in sensors if one not in untrainable)][
        :MAX_INSPECTED_SENSORS
    ]
    rows = [_requirement_row(_, sensor, kinds, window, able) for sensor in shown_sensors]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "readings": st.column_config.NumberColumn(_("Readings"), format="localized"),
            "grade": st.column_config.TextColumn(_("Grade"), width="small"),
            **{kind.value: st.column_config.TextColumn(kind_name(_, kind).capitalize()) for kind in Kind},
            "todo": st.column_config.TextColumn(_("What to do, and what was found"), width="large"),
        },
        key="requirements",
        alt=_("What the readings of the chosen sensors are worth"),
    )
    if len(sensors) > len(shown_sensors):
        able_both = sum(all(one.id in able[kind] for kind in kinds) for one in sensors)
        st.caption(
            _(
                "{able} of the {count} sensors chosen can be trained; {shown} are shown.",
                able=_.number(able_both),
                count=_.number(len(sensors)),
                shown=len(shown_sensors),
            )
        )


def _requirement_row(
    _: Translator,
    sensor: Sensor,
    kinds: Sequence[Kind],
    window: WindowSettings,
    able: Mapping[Kind, Collection[str]],
) -> dict[str, Any]:
    newest = shared_state().fleet.get().newest_of(sensor.id)
    readings_quality = load_quality(sensor.id, newest)
    todo = [training_advice(_, sensor, kind, window, able, readings_quality) for kind in kinds]
    notes = [
        *dict.fromkeys(filter(None, todo)),
        *(translate_reason(_, reason) for reason in readings_quality["reasons"]),
    ]
    return {
        "sensor": sensor.id,
        "readings": readings_quality["readings"],
        "grade": readings_quality["grade"],
        **{kind.value: _trainability_text(_, sensor, kind, able) for kind in Kind},
        "todo": "; ".join(notes) or _("nothing: it is ready"),
    }


def _trainability_text(
    _: Translator, sensor: Sensor, kind: Kind, able: Mapping[Kind, Collection[str]]
) -> str:
    model = get_model(sensor.id, kind)
    version = "" if model is None or model.version is None else f" (v{model.version})"
    if sensor.id not in able[kind]:
        return f"{SEVERITY_SYMBOLS[2]} {_('too few readings')}{version}"
    return f"{SEVERITY_SYMBOLS[0]} {_('can be trained')}{version}"


def training_advice(
    _: Translator,
    sensor: Sensor,
    kind: Kind,
    window: WindowSettings,
    able: Mapping[Kind, Collection[str]],
    readings_quality: Mapping[str, Any],
) -> str:
    """What to do for a sensor that cannot be trained; empty where it can."""
    if sensor.id in able[kind]:
        return ""
    if not readings_quality["readings"]:
        return _("load its readings: safeplan load FILE")
    missing = max(0, window.minimum(kind) - int(readings_quality["good"]))
    newest = shared_state().fleet.get().newest_of(sensor.id)
    step = None if newest is None else sampling_step(sensor.id, newest)
    if step is None:
        return _("wait for {count} more good readings", count=missing)
    return _(
        "wait for {count} more good readings (about {time})",
        count=missing,
        time=duration_text(_, missing * step),
    )


def _show_form(_: Translator, chosen: Sequence[str], kinds: Sequence[Kind]) -> None:
    running = any(
        one.is_running(shared_state().clock())
        for one in TrainingStore(shared_state().workspace.engine).newest(5)
    )
    with st.form("train", border=True):
        left, middle, right = st.columns(3, vertical_alignment="bottom")
        with left:
            trials = st.number_input(
                _("Optuna trials for each model"),
                1,
                1_000,
                load_settings(TuningSettings).trials,
                key="train-trials",
            )
        with middle:
            promotion = st.selectbox(
                _("Who promotes"),
                [one.value for one in Promotion],
                format_func=lambda one: promotion_name(_, Promotion(one)),
                key="train-promotion",
            )
        with right:
            fresh = st.checkbox(_("Train also what has not changed"), key="train-fresh")
        count = len(chosen) * len(kinds)
        label = _.plural("Train {count} model", "Train {count} models", count)
        # The key keeps a click that falls between a choice and the new count on its label.
        submitted = st.form_submit_button(
            label, type="primary", disabled=running or not count, key="train-asked"
        )
    if submitted:
        request = TrainingRequest(tuple(chosen), tuple(kinds), int(trials), Promotion(promotion), fresh)
        _start_training(_, request)
        st.rerun()


def _start_training(_: Translator, request: TrainingRequest) -> None:
    token_caller, shared = current_caller(), shared_state()
    if token_caller is None or not token_caller.has_role(Role.OPERATE):
        st.session_state["said"] = ("error", _("Your token does not allow this any more. Log in again."))
        return
    run_action(
        lambda: start_training(
            TrainingStore(shared.workspace.engine),
            request,
            by=token_caller.name,
            now=shared.clock(),
            logs=shared.workspace.home / ".safeplan" / "trainings",
        )
    )


def promotion_name(_: Translator, promotion: Promotion) -> str:
    """Who moves the alias after a training."""
    return _("the gate") if promotion is Promotion.MANAGED else _("a human, later")
