"""Progress of the training in progress, and results of the last ones.

Progress is stored in the database by `background_training`; starting a training is in `tabs.training`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from monitoring.alerts.kinds import SEVERITY_SYMBOLS
from monitoring.dashboard.theme import escape_markdown, table_height
from monitoring.dashboard.training_requests import Training, TrainingStore, seconds_left
from monitoring.dashboard.url_state import shared_state
from monitoring.dashboard.wording import kind_name
from monitoring.i18n.translation import Translator
from training.outcomes import OutcomeStatus

MAX_TRAININGS_SHOWN = 3


def show_trainings(_: Translator, drawn_running_id: int | None) -> None:
    """The training in progress, else the last one, and those before it.

    `drawn_running_id` is the training that was in progress when the rest of the page was drawn.
    """
    store, now = TrainingStore(shared_state().workspace.engine), shared_state().clock()
    trainings = store.newest(MAX_TRAININGS_SHOWN)
    if not trainings:
        return
    newest = trainings[0]
    running_id = newest.id if newest.is_running(now) else None
    if running_id != drawn_running_id:
        # The form and the models shown around this part depend on it.
        shared_state().models.refresh()
        st.rerun()
    if running_id is None:
        _show_finished(_, newest, store)
    else:
        _show_progress(_, newest, store)
    for training in trainings[1:]:
        with st.expander(training_heading(_, training)):
            if training.error:
                st.error(escape_markdown(training.error))
            _show_outcome_table(_, store.outcomes(training.id))


def training_heading(_: Translator, training: Training) -> str:
    """Who trained how many models, and when."""
    return _(
        "{who} trained {count} models at {moment}",
        who=escape_markdown(training.started_by),
        count=_.number(training.total),
        moment=_.moment(training.started_at),
    )


def _show_progress(_: Translator, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    parts = [_("{done} of {total} models", done=_.number(len(rows)), total=_.number(training.total))]
    if rows:
        parts.append(escape_markdown(f"{rows[-1]['sensor_id']} {kind_name(_, rows[-1]['kind'])}"))
    seconds = seconds_left(training, shared_state().clock())
    if seconds is not None:
        parts.append(_("about {time} left", time=_.duration(round(seconds))))
    with st.container(border=True):
        who = escape_markdown(training.started_by)
        st.markdown(f"**{_('Training in progress')}** · {_('started by {who}', who=who)}")
        st.progress(min(1.0, len(rows) / training.total), text=" · ".join(parts))
        _show_outcome_table(_, rows)


def _show_finished(_: Translator, training: Training, store: TrainingStore) -> None:
    rows = store.outcomes(training.id)
    failed_count = sum(row["status"] == OutcomeStatus.FAILED for row in rows)
    with st.container(border=True):
        st.markdown(f"**{_('Last training')}** · {training_heading(_, training)}")
        if training.finished_at is None:
            st.warning(_("Interrupted. Start it again with the same selection to resume."))
        elif training.error:
            st.error(escape_markdown(training.error))
        elif failed_count:
            failed = _.plural("{count} model failed", "{count} models failed", failed_count)
            st.warning(f"{_summary_text(_, rows)} {failed}; {_('see the reasons below.')}")
        else:
            st.success(_summary_text(_, rows))
        _show_outcome_table(_, rows)


def _summary_text(_: Translator, rows: Sequence[Mapping[str, Any]]) -> str:
    counts = pd.Series([row["status"] for row in rows]).value_counts()
    return ", ".join(f"{_.number(count)} {status_name(_, str(name))}" for name, count in counts.items()) + "."


def _show_outcome_table(_: Translator, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    ranked = sorted(rows, key=lambda row: -status_weight(str(row["status"])))
    st.dataframe(
        pd.DataFrame([_outcome_row(_, row) for row in ranked]),
        hide_index=True,
        height=table_height(len(rows), 290),
        column_config={
            "result": st.column_config.TextColumn(_("Result")),
            "sensor": st.column_config.TextColumn(_("Sensor")),
            "kind": st.column_config.TextColumn(_("Model")),
            "version": st.column_config.TextColumn(_("Version"), width="small"),
            "reason": st.column_config.TextColumn(_("Reason"), width="large"),
        },
        alt=_("Results by sensor and model"),
    )


def _outcome_row(_: Translator, row: Mapping[str, Any]) -> dict[str, str]:
    status = str(row["status"])
    return {
        "result": f"{SEVERITY_SYMBOLS[status_weight(status)]} {status_name(_, status)}",
        "sensor": row["sensor_id"],
        "kind": kind_name(_, row["kind"]),
        "version": f"v{row['version']}" if row["version"] else "",
        "reason": row["error"] or row["gate"] or "",
    }


def status_weight(status: str) -> int:
    """The severity of a result."""
    weights = {OutcomeStatus.FAILED: 3, OutcomeStatus.REFUSED: 2, OutcomeStatus.WAITING: 1}
    return weights.get(OutcomeStatus(status), 0)


def status_name(_: Translator, status: str) -> str:
    """The result of training one sensor and kind."""
    return {
        OutcomeStatus.PROMOTED: _("promoted"),
        OutcomeStatus.WAITING: _("awaiting approval"),
        OutcomeStatus.REFUSED: _("refused by the gate"),
        OutcomeStatus.UNCHANGED: _("unchanged"),
        OutcomeStatus.FAILED: _("failed"),
    }[OutcomeStatus(status)]
