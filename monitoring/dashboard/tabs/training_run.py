"""A training while it goes on, and what came of the last ones.

Knows progress and outcomes as they are kept by `trainings`. Starts nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SIGNS
from monitoring.dashboard.theme import plain, table_height
from monitoring.dashboard.training_requests import Training, TrainingStore, seconds_left
from monitoring.dashboard.url_state import plant
from monitoring.dashboard.wording import kind_name, lasting
from monitoring.i18n.retelling import retold
from monitoring.i18n.translation import Words

LAST = 3  # trainings shown
WATCHED = "watched-training"  # the training that this reader has seen going on


def show_runs(_: Words) -> None:
    """The training that goes on, else the last one, and those before it."""
    store, now = TrainingStore(plant().workspace.engine), plant().clock()
    found = store.newest(LAST)
    if not found:
        return
    newest = found[0]
    if newest.is_running(now):
        st.session_state[WATCHED] = newest.id
        _progress(_, newest, store)
    else:
        _ended(_, newest, store)
        if st.session_state.get(WATCHED) == newest.id:
            # It ended before this reader's eyes: models and the form below are no longer what they were.
            del st.session_state[WATCHED]
            plant().models.renew()
            st.rerun()
    for training in found[1:]:
        with st.expander(heading(_, training)):
            _outcomes(_, training, store)


def heading(_: Words, training: Training) -> str:
    """Who trained how much, when."""
    return _(
        "{who} trained {count} models at {moment}",
        who=plain(training.started_by),
        count=_.number(training.total),
        moment=_.moment(training.started_at),
    )


def _progress(_: Words, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    left = seconds_left(training, plant().clock())
    parts = [_("{done} of {total} models", done=_.number(len(rows)), total=_.number(training.total))]
    if rows:
        parts.append(plain(f"{rows[-1]['sensor_id']} {kind_name(_, rows[-1]['kind'])}"))
    if left is not None:
        parts.append(_("about {time} left", time=lasting(_, timedelta(seconds=round(left)))))
    with st.container(border=True):
        who = plain(training.started_by)
        st.markdown(f"**{_('Training goes on')}** · {_('started by {who}', who=who)}")
        st.progress(min(1.0, len(rows) / training.total), text=" · ".join(parts))
        _table(_, rows)


def _ended(_: Words, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    failed = [row for row in rows if row["status"] == "failed"]
    with st.container(border=True):
        st.markdown(f"**{_('The last training')}** · {heading(_, training)}")
        if training.finished_at is None:
            st.warning(_("It was cut off. Start it again with the same choices, and it goes on."))
        elif training.error:
            st.error(plain(training.error))
        elif failed:
            many = _.plural("{count} could not be trained", "{count} could not be trained", len(failed))
            st.warning(f"{_summary(_, rows)} {many}: {_('the reasons are below.')}")
        else:
            st.success(_summary(_, rows))
        _table(_, rows)


def _summary(_: Words, rows: Sequence[Mapping[str, Any]]) -> str:
    counts = pd.Series([row["status"] for row in rows]).value_counts()
    return (
        ", ".join(f"{_.number(count)} {status_words(_, str(name))}" for name, count in counts.items()) + "."
    )


def _outcomes(_: Words, training: Training, store: TrainingStore) -> None:
    if training.error:
        st.error(plain(training.error))
    _table(_, store.outcomes(training.id))


def _table(_: Words, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    table = pd.DataFrame(
        [
            {
                "result": f"{SIGNS[weight_of(str(row['status']))]} {status_words(_, str(row['status']))}",
                "sensor": row["sensor_id"],
                "kind": kind_name(_, row["kind"]),
                "version": f"v{row['version']}" if row["version"] else "",
                "why": row["error"] or retold(_, row["gate"] or ""),
            }
            for row in sorted(rows, key=lambda row: -weight_of(str(row["status"])))
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


def weight_of(status: str) -> int:
    """How much a result needs somebody."""
    return {"failed": 3, "refused": 2, "waiting": 1}.get(status, 0)


def status_words(_: Words, status: str) -> str:
    """What became of one sensor and kind."""
    return {
        "promoted": _("promoted"),
        "waiting": _("waiting for a human"),
        "refused": _("refused by the gate"),
        "unchanged": _("unchanged"),
        "failed": _("failed"),
    }.get(status, status)
