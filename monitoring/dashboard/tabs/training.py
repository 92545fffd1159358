"""The Training tab: choose sensors, see what their readings are worth, train, watch it, read what came of it.

Knows how a wish is put together. Trainings go on in processes of their own (`trainings`); what readings are
worth is told by `training.operations.overview`.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SIGNS
from monitoring.dashboard.login import needs
from monitoring.dashboard.sensor_data import model_of, quality, step_of
from monitoring.dashboard.tabs.training_run import show_runs
from monitoring.dashboard.training_requests import TrainingStore, Wish, start
from monitoring.dashboard.url_state import attempt, caller, live, plant, title_of
from monitoring.dashboard.wording import kind_name, lasting
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words
from serving.http.tokens import Role
from training.data.sensors import Sensor
from training.kinds import Kind, Promotion
from training.pipeline.plan import TuningSettings
from training.quality.windows import WindowSettings
from training.settings import load_settings

INSPECTED = 12  # sensors whose readings are graded anew at once; more would keep the page waiting
FIRST = 3  # sensors chosen at first, where none is without a model


def show(_: Words) -> None:
    """The whole tab."""
    sensors = dict(plant().fleet.look().sensors)
    if not sensors:
        st.info(_("There are no sensors yet. Load readings: safeplan load FILE"))
        return
    live(show_runs, 1.0)(_)
    chosen = _pick_sensors(_, sensors)
    kinds = _pick_kinds(_)
    _requirements(_, [sensors[sensor_id] for sensor_id in chosen], kinds)
    if needs(_, Role.OPERATE):
        _form(_, chosen, kinds)


def _pick_sensors(_: Words, sensors: Mapping[str, Sensor]) -> list[str]:
    if "train-sensors" not in st.session_state:
        st.session_state["train-sensors"] = _suggested(list(sensors))
    return st.multiselect(
        _("Sensors to train"),
        list(sensors),
        format_func=lambda sensor_id: title_of(sensors[sensor_id]),
        key="train-sensors",
        placeholder=_("Type an id, a name or a platform"),
        persist_state="session",
    )


def _suggested(sensor_ids: Sequence[str]) -> list[str]:
    """Those without a model that could have one; else the first few."""
    models, able = plant().models.peek() or {}, plant().able.peek() or {}
    without = [
        sensor_id
        for sensor_id in sensor_ids
        if any(
            sensor_id in able.get(kind, ()) and (found := models.get((sensor_id, kind))) and not found.version
            for kind in Kind
        )
    ]
    return (without or list(sensor_ids[:FIRST]))[:INSPECTED]


def _pick_kinds(_: Words) -> list[Kind]:
    found = st.pills(
        _("Kinds of model"),
        [kind.value for kind in Kind],
        selection_mode="multi",
        default=[kind.value for kind in Kind],
        format_func=lambda kind: kind_name(_, kind),
        key=f"train-kinds-{_.language}",
    )
    return [Kind(kind) for kind in found]


def _requirements(_: Words, sensors: Sequence[Sensor], kinds: Sequence[Kind]) -> None:
    window, able = load_settings(WindowSettings), plant().able.look()
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
    unable = [one for one in sensors if any(one.id not in able[kind] for kind in kinds)]
    shown = [*unable, *(one for one in sensors if one not in unable)][:INSPECTED]
    rows = [_requirement(_, sensor, kinds, window, able) for sensor in shown]
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
    if len(sensors) > len(shown):
        able_both = sum(all(one.id in able[kind] for kind in kinds) for one in sensors)
        st.caption(
            _(
                "{able} of the {count} sensors chosen can be trained; {shown} are shown.",
                able=_.number(able_both),
                count=_.number(len(sensors)),
                shown=len(shown),
            )
        )


def _requirement(
    _: Words,
    sensor: Sensor,
    kinds: Sequence[Kind],
    window: WindowSettings,
    able: Mapping[Kind, Collection[str]],
) -> dict[str, Any]:
    newest = plant().fleet.look().newest_of(sensor.id)
    found = quality(sensor.id, newest)
    todo = [advice(_, sensor, kind, window, able, found) for kind in kinds]
    said = [*dict.fromkeys(filter(None, todo)), *(retold(_, reason) for reason in found["reasons"])]
    return {
        "sensor": sensor.id,
        "readings": found["readings"],
        "grade": found["grade"],
        **{kind.value: _state(_, sensor, kind, able) for kind in Kind},
        "todo": "; ".join(said) or _("nothing: it is ready"),
    }


def _state(_: Words, sensor: Sensor, kind: Kind, able: Mapping[Kind, Collection[str]]) -> str:
    model = model_of(sensor.id, kind)
    version = "" if model is None or model.version is None else f" (v{model.version})"
    if sensor.id not in able[kind]:
        return f"{SIGNS[2]} {_('too few readings')}{version}"
    return f"{SIGNS[0]} {_('can be trained')}{version}"


def advice(
    _: Words,
    sensor: Sensor,
    kind: Kind,
    window: WindowSettings,
    able: Mapping[Kind, Collection[str]],
    found: Mapping[str, Any],
) -> str:
    """What to do for a sensor that cannot be trained; empty where it can."""
    if sensor.id in able[kind]:
        return ""
    if not found["readings"]:
        return _("load its readings: safeplan load FILE")
    missing = max(0, window.minimum(kind) - int(found["good"]))
    newest = plant().fleet.look().newest_of(sensor.id)
    step = None if newest is None else step_of(sensor.id, newest)
    if step is None:
        return _("wait for {count} more good readings", count=missing)
    return _(
        "wait for {count} more good readings (about {time})", count=missing, time=lasting(_, missing * step)
    )


def _form(_: Words, chosen: Sequence[str], kinds: Sequence[Kind]) -> None:
    running = any(
        one.is_running(plant().clock()) for one in TrainingStore(plant().workspace.engine).newest(5)
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
                format_func=lambda one: promotion_words(_, Promotion(one)),
                key="train-promotion",
            )
        with right:
            fresh = st.checkbox(_("Train also what has not changed"), key="train-fresh")
        count = len(chosen) * len(kinds)
        label = _.plural("Train {count} model", "Train {count} models", count)
        # The key keeps a click that falls between a choice and the new count on its label.
        asked = st.form_submit_button(label, type="primary", disabled=running or not count, key="train-asked")
    if asked:
        wish = Wish(tuple(chosen), tuple(kinds), int(trials), Promotion(promotion), fresh)
        _start(_, wish)
        st.rerun()


def _start(_: Words, wish: Wish) -> None:
    found, shared = caller(), plant()
    if found is None or not found.has_role(Role.OPERATE):
        st.session_state["said"] = ("error", _("Your token does not allow this any more. Log in again."))
        return
    attempt(
        lambda: start(
            TrainingStore(shared.workspace.engine),
            wish,
            by=found.name,
            now=shared.clock(),
            logs=shared.workspace.home / ".safeplan" / "trainings",
        )
    )


def promotion_words(_: Words, promotion: Promotion) -> str:
    """Who moves the alias after a training."""
    return _("the gate") if promotion is Promotion.MANAGED else _("a human, later")
