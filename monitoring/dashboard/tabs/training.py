"""The Training tab: select sensors and models, see what their readings allow, train, follow the progress.

A training runs in its own process (`training_requests`); its progress is laid out in `tabs.training_run`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS
from monitoring.dashboard.login import require_role
from monitoring.dashboard.sensor_data import get_model, load_quality, sampling_step
from monitoring.dashboard.tabs.training_run import show_trainings
from monitoring.dashboard.theme import table_height
from monitoring.dashboard.training_requests import Training, TrainingRequest, TrainingStore, start_training
from monitoring.dashboard.url_state import auto_refresh, run_action, sensor_title, shared_state
from monitoring.dashboard.wording import kind_name
from monitoring.i18n.translation import Translator
from serving.http.tokens import Role
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.pipeline.plan import TuningSettings
from training.quality.windows import WindowSettings
from training.settings import load_settings

MAX_INSPECTED_SENSORS = 12  # graded at once; more would keep the page waiting
DEFAULT_SENSOR_COUNT = 3  # selected at first, where every sensor has its models
SENSORS_KEY, TRIALS_KEY, PROMOTION_KEY, FRESH_KEY = (
    "train-sensors",
    "train-trials",
    "train-promotion",
    "train-fresh",
)


def show(_: Translator) -> None:
    """The whole tab."""
    sensors = dict(shared_state().fleet.get().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    running = TrainingStore(shared_state().workspace.engine).running(shared_state().clock())
    running_id = None if running is None else running.id
    chosen_ids = _pick_sensors(_, sensors)
    kinds = _pick_kinds(_)
    _show_requirements(_, [sensors[sensor_id] for sensor_id in chosen_ids], kinds)
    if require_role(_, Role.OPERATE):
        _show_form(_, chosen_ids, kinds, disabled=running is not None)
    # Below the form: what grows during a training must not move the controls.
    auto_refresh(show_trainings, 1.0)(_, running_id)


def _pick_sensors(_: Translator, sensors: Mapping[str, Sensor]) -> list[str]:
    if SENSORS_KEY not in st.session_state:
        st.session_state[SENSORS_KEY] = _suggest_sensors(list(sensors))
    return st.multiselect(
        _("Sensors to train"),
        list(sensors),
        format_func=lambda sensor_id: sensor_title(sensors[sensor_id]),
        key=SENSORS_KEY,
        placeholder=_("Id, name or platform"),
        persist_state="session",
    )


def _suggest_sensors(sensor_ids: Sequence[str]) -> list[str]:
    """Sensors that lack a model and can have one; else the first few."""
    models = shared_state().model_outcomes() or {}
    trainable = shared_state().trainable.get_if_loaded() or {}
    without_model = [
        sensor_id
        for sensor_id in sensor_ids
        if any(
            sensor_id in trainable.get(kind, ())
            and (outcome := models.get((sensor_id, kind)))
            and not outcome.version
            for kind in Kind
        )
    ]
    return (without_model or list(sensor_ids[:DEFAULT_SENSOR_COUNT]))[:MAX_INSPECTED_SENSORS]


def _pick_kinds(_: Translator) -> list[Kind]:
    selected = st.pills(
        _("Models"),
        [kind.value for kind in Kind],
        selection_mode="multi",
        default=[kind.value for kind in Kind],
        format_func=lambda kind: kind_name(_, kind),
        key=f"train-kinds-{_.language}",
    )
    return [Kind(kind) for kind in selected]


def _show_requirements(_: Translator, sensors: Sequence[Sensor], kinds: Sequence[Kind]) -> None:
    window, trainable = load_settings(WindowSettings), shared_state().trainable.get()
    needed = " · ".join(
        _("a {kind} needs {count} valid readings", kind=kind_name(_, kind), count=window.minimum(kind))
        for kind in Kind
    )
    st.markdown(f"##### {_('Requirements')}")
    st.caption(f"{needed}. {_('Valid readings: data_quality 0 and no instrument fault.')}")
    if not sensors:
        return
    # Those that cannot be trained first: they need action.
    untrainable = [sensor for sensor in sensors if any(sensor.id not in trainable[kind] for kind in kinds)]
    ranked = [*untrainable, *(sensor for sensor in sensors if sensor not in untrainable)]
    rows = [
        _requirement_row(_, sensor, kinds, window, trainable) for sensor in ranked[:MAX_INSPECTED_SENSORS]
    ]
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        height=table_height(len(rows), 290),
        column_config={
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "readings": st.column_config.NumberColumn(_("Readings"), format="localized"),
            "grade": st.column_config.TextColumn(_("Grade"), width="small"),
            **{kind.value: st.column_config.TextColumn(kind_name(_, kind).capitalize()) for kind in Kind},
            "todo": st.column_config.TextColumn(_("Actions and findings"), width="large"),
        },
        key="requirements",
        alt=_("Data quality of the selected sensors"),
    )
    if len(sensors) > len(rows):
        st.caption(
            _(
                "{trainable} of the {count} selected sensors can be trained; {shown} are shown.",
                trainable=_.number(len(sensors) - len(untrainable)),
                count=_.number(len(sensors)),
                shown=len(rows),
            )
        )


def _requirement_row(
    _: Translator,
    sensor: Sensor,
    kinds: Sequence[Kind],
    window: WindowSettings,
    trainable: Mapping[Kind, Collection[str]],
) -> dict[str, Any]:
    quality = load_quality(sensor.id, shared_state().fleet.get().newest_of(sensor.id))
    advice = [
        training_advice(_, sensor, kind, window, quality)
        for kind in kinds
        if sensor.id not in trainable[kind]
    ]
    findings = _.reason_text(quality["reasons"], "", unit=sensor.unit)
    return {
        "sensor": sensor.id,
        "readings": quality["readings"],
        "grade": quality["grade"],
        **{kind.value: _trainability_text(_, sensor, kind, trainable) for kind in Kind},
        "todo": "; ".join(filter(None, [*dict.fromkeys(advice), findings])) or _("none: ready to train"),
    }


def _trainability_text(
    _: Translator, sensor: Sensor, kind: Kind, trainable: Mapping[Kind, Collection[str]]
) -> str:
    model = get_model(sensor.id, kind)
    version = "" if model is None or model.version is None else f" (v{model.version})"
    if sensor.id not in trainable[kind]:
        return f"{SEVERITY_SYMBOLS[2]} {_('too few readings')}{version}"
    return f"{SEVERITY_SYMBOLS[0]} {_('can be trained')}{version}"


def training_advice(
    _: Translator, sensor: Sensor, kind: Kind, window: WindowSettings, quality: Mapping[str, Any]
) -> str:
    """What to do for a sensor that cannot be trained yet."""
    if not quality["readings"]:
        return _("load its readings: safeplan load FILE")
    missing = max(0, window.minimum(kind) - int(quality["good"]))
    newest = shared_state().fleet.get().newest_of(sensor.id)
    step = None if newest is None else sampling_step(sensor.id, newest)
    if step is None:
        return _("wait for {count} more valid readings", count=missing)
    time = _.duration(missing * step.total_seconds())
    return _("wait for {count} more valid readings (about {time})", count=missing, time=time)


def _show_form(_: Translator, chosen_ids: Sequence[str], kinds: Sequence[Kind], *, disabled: bool) -> None:
    default_trials = load_settings(TuningSettings).trials
    with st.form("train", border=True):
        left, middle, right = st.columns(3, vertical_alignment="bottom")
        with left:
            st.number_input(_("Optuna trials per model"), 1, 1_000, default_trials, key=TRIALS_KEY)
        with middle:
            st.selectbox(
                _("Promotion"),
                [promotion.value for promotion in Promotion],
                format_func=lambda value: promotion_name(_, Promotion(value)),
                key=PROMOTION_KEY,
            )
        with right:
            st.checkbox(_("Retrain sensors without new data"), key=FRESH_KEY)
        count = len(chosen_ids) * len(kinds)
        # A callback runs before the script: a rerun that overtakes this one cannot drop the click.
        # The key keeps the button the same when the number on it changes.
        st.form_submit_button(
            _.plural("Train {count} model", "Train {count} models", count),
            type="primary",
            disabled=disabled or not count,
            key="train-submit",
            on_click=_start_training,
            args=(_, tuple(chosen_ids), tuple(kinds)),
        )


def _start_training(_: Translator, sensor_ids: tuple[str, ...], kinds: tuple[Kind, ...]) -> None:
    state, shared = st.session_state, shared_state()
    request = TrainingRequest(
        sensor_ids,
        kinds,
        int(state[TRIALS_KEY]),
        Promotion(state[PROMOTION_KEY]),
        bool(state[FRESH_KEY]),
    )

    def act(who: str) -> Training:
        return start_training(
            TrainingStore(shared.workspace.engine),
            request,
            by=who,
            now=shared.clock(),
            logs=shared.workspace.home / ".safeplan" / "trainings",
        )

    run_action(_, Role.OPERATE, act)


def promotion_name(_: Translator, promotion: Promotion) -> str:
    """How a version is promoted after a training."""
    return _("automatic, if the gate passes") if promotion is Promotion.MANAGED else _("manual")
