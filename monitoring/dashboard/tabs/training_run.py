"""A training while it goes on, and what came of the last ones.

Knows progress and outcomes as they are kept by `trainings`. Starts nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS
from monitoring.dashboard.theme import escape_markdown, table_height
from monitoring.dashboard.training_requests import Training, TrainingStore, seconds_left
from monitoring.dashboard.url_state import shared_state
from monitoring.dashboard.wording import duration_text, kind_name
from monitoring.i18n.retelling import translate_reason
from monitoring.i18n.translation import Translator

MAX_TRAININGS_SHOWN = 3  # trainings shown
WATCHED_KEY = "watched-training"  # the training that this reader has seen going on


def show_trainings(_: Translator) -> None:
    """The training that goes on, else the last one, and those before it."""
    store, now = TrainingStore(shared_state().workspace.engine), shared_state().clock()
    trainings = store.newest(MAX_TRAININGS_SHOWN)
    if not trainings:
        return
    newest = trainings[0]
    if newest.is_running(now):
        st.session_state[WATCHED_KEY] = newest.id
        _show_progress(_, newest, store)
    else:
        _show_finished(_, newest, store)
        if st.session_state.get(WATCHED_KEY) == newest.id:
            # It ended before this reader's eyes: models and the form below are no longer what they were.
            del st.session_state[WATCHED_KEY]
            shared_state().models.refresh()
            st.rerun()
    for training in trainings[1:]:
        with st.expander(training_heading(_, training)):
            _show_outcomes(_, training, store)


def training_heading(_: Translator, training: Training) -> str:
    """Who trained how much, when."""
    return _(
        "{who} trained {count} models at {moment}",
        who=escape_markdown(training.started_by),
        count=_.number(training.total),
        moment=_.moment(training.started_at),
    )


def _show_progress(_: Translator, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    left = seconds_left(training, shared_state().clock())
    parts = [_("{done} of {total} models", done=_.number(len(rows)), total=_.number(training.total))]
    if rows:
        parts.append(escape_markdown(f"{rows[-1]['sensor_id']} {kind_name(_, rows[-1]['kind'])}"))
    if left is not None:
        parts.append(_("about {time} left", time=duration_text(_, timedelta(seconds=round(left)))))
    with st.container(border=True):
        who = escape_markdown(training.started_by)
        st.markdown(f"**{_('Training goes on')}** · {_('started by {who}', who=who)}")
        st.progress(min(1.0, len(rows) / training.total), text=" · ".join(parts))
        _show_outcome_table(_, rows)


def _show_finished(_: Translator, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    failed = [row for row in rows if row["status"] == "failed"]
    with st.container(border=True):
        st.markdown(f"**{_('The last training')}** · {training_heading(_, training)}")
        if training.finished_at is None:
            st.warning(_("It was cut off. Start it again with the same choices, and it goes on."))
        elif training.error:
            st.error(escape_markdown(training.error))
        elif failed:
            failed_text = _.plural(
                "{count} could not be trained", "{count} could not be trained", len(failed)
            )
            st.warning(f"{_summary_text(_, rows)} {failed_text}: {_('the reasons are below.')}")
        else:
            st.success(_summary_text(_, rows))
        _show_outcome_table(_, rows)


def _summary_text(_: Translator, rows: Sequence[Mapping[str, Any]]) -> str:
    counts = pd.Series([row["status"] for row in rows]).value_counts()
    return ", ".join(f"{_.number(count)} {status_name(_, str(name))}" for name, count in counts.items()) + "."


def _show_outcomes(_: Translator, training: Training, store: TrainingStore) -> None:
    if training.error:
        st.error(escape_markdown(training.error))
    _show_outcome_table(_, store.outcomes(training.id))


def _show_outcome_table(_: Translator, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = pd.DataFrame(
        [
            {
                "result": f"{SEVERITY_SYMBOLS[status_weight(str(row['status']))]} {status_name(_, str(row['status']))}",
                "sensor": row["sensor_id"],
                "kind": kind_name(_, row["kind"]),
                "version": f"v{row['version']}" if row["version"] else "",
                "why": row["error"] or translate_reason(_, row["gate"] or ""),
            }
            for row in sorted(rows, key=lambda row: -status_weight(str(row["status"])))
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        height=table_height(len(table), 290),
        column_config={
            "result": st.column_config.TextColumn(_("Result")),
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "kind": st.column_config.TextColumn(_("Kind")),
            "version": st.column_config.TextColumn(_("Version"), width="small"),
            "why": st.column_config.TextColumn(_("Why"), width="large"),
        },
        alt=_("What became of each sensor"),
    )


def status_weight(status: str) -> int:
    """How much a result needs somebody."""
    return {"failed": 3, "refused": 2, "waiting": 1}.get(status, 0)


def status_name(_: Translator, status: str) -> str:
    """What became of one sensor and kind."""
    return {
        "promoted": _("promoted"),
        "waiting": _("waiting for a human"),
        "refused": _("refused by the gate"),
        "unchanged": _("unchanged"),
        "failed": _("failed"),
    }.get(status, status)
