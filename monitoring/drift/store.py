"""Store of drift checks: one row per model and check, read by the fleet page, alerts, dashboard and jobs.

Holds the SQL of `drift_checks`. Does not check anything; that is `fleet`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Engine, Row, Select, delete, func, insert, select, tuple_

from monitoring.drift.verdict import DriftOrigin, DriftVerdict, advice_for
from training.kinds import Kind
from training.reasons import Reason, dump_reasons, load_reasons
from training.storage.database import drift_checks, reading, writing

COLUMNS = drift_checks.c


@dataclass(frozen=True)
class DriftCheck:
    """One model's newest readings compared with the window it was trained on. Times are naive UTC.

    `reason` and `advice` are the English texts; a row of 0.1.0 has no `reasons`.
    """

    sensor_id: str
    model_type: str
    checked_at: datetime
    model_version: str
    start: datetime
    end: datetime
    readings: int
    verdict: DriftVerdict
    reason: str
    false_alarm_rate: float
    train_start: datetime | None = None
    train_end: datetime | None = None
    kind: str | None = None
    origin: str | None = None
    since: datetime | None = None
    p_value: float | None = None
    cost: float | None = None
    advice: str | None = None
    measures: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    reasons: tuple[Reason, ...] = ()

    @property
    def advice_reasons(self) -> tuple[Reason, ...]:
        """What to do, as data; empty where nothing needs to be done."""
        return advice_for(self.verdict, DriftOrigin(self.origin) if self.origin else None)


class DriftCheckStore:
    """The checks of all sensors, in the database their readings are kept in."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def save(self, checks: Iterable[DriftCheck]) -> int:
        """Keep checks; one of the same model and moment replaces what was kept. How many they were.

        Raises:
            StoreError: the database is away, locked or full; then nothing was kept.
        """
        rows = [_to_row(check) for check in checks]
        if not rows:
            return 0
        keys = [(row["sensor_id"], row["model_type"], row["checked_at"]) for row in rows]
        with writing(self.engine) as connection:
            for first in range(0, len(keys), 500):
                same = tuple_(COLUMNS.sensor_id, COLUMNS.model_type, COLUMNS.checked_at).in_(
                    keys[first : first + 500]
                )
                connection.execute(delete(drift_checks).where(same))
            connection.execute(insert(drift_checks), rows)
        return len(rows)

    def latest(self, sensor_ids: Collection[str] | None = None) -> list[DriftCheck]:
        """The newest check of each model, by sensor and kind; of all sensors if none are named."""
        chosen = [] if sensor_ids is None else [COLUMNS.sensor_id.in_(list(sensor_ids))]
        newest = (
            select(COLUMNS.sensor_id, COLUMNS.model_type, func.max(COLUMNS.checked_at).label("checked_at"))
            .where(*chosen)
            .group_by(COLUMNS.sensor_id, COLUMNS.model_type)
            .subquery()
        )
        query = select(drift_checks).join(
            newest,
            (COLUMNS.sensor_id == newest.c.sensor_id)
            & (COLUMNS.model_type == newest.c.model_type)
            & (COLUMNS.checked_at == newest.c.checked_at),
        )
        return self._fetch(query.order_by(COLUMNS.sensor_id, COLUMNS.model_type))

    def history(
        self,
        sensor_id: str | None = None,
        kind: Kind | None = None,
        *,
        since: datetime | None = None,
        limit: int | None = None,
    ) -> list[DriftCheck]:
        """Past checks, the newest first."""
        chosen: list[ColumnElement[bool]] = []
        if sensor_id is not None:
            chosen.append(COLUMNS.sensor_id == sensor_id)
        if kind is not None:
            chosen.append(COLUMNS.model_type == kind.model_type)
        if since is not None:
            chosen.append(COLUMNS.checked_at >= since)
        query = select(drift_checks).where(*chosen)
        return self._fetch(
            query.order_by(COLUMNS.checked_at.desc(), COLUMNS.sensor_id, COLUMNS.model_type).limit(limit)
        )

    def delete_before(self, moment: datetime) -> int:
        """Forget the checks made before a moment; how many they were."""
        with writing(self.engine) as connection:
            return connection.execute(delete(drift_checks).where(COLUMNS.checked_at < moment)).rowcount

    def _fetch(self, query: Select[Any]) -> list[DriftCheck]:
        with reading(self.engine) as connection:
            return [_to_check(row) for row in connection.execute(query)]


COLUMN_NAMES = tuple(one.name for one in fields(DriftCheck) if one.name != "reasons")


def _to_row(check: DriftCheck) -> dict[str, Any]:
    values = {name: getattr(check, name) for name in COLUMN_NAMES}
    return values | {"verdict": check.verdict.value, "reason_data": dump_reasons(check.reasons)}


def _to_check(row: Row[Any]) -> DriftCheck:
    values = {name: getattr(row, name) for name in COLUMN_NAMES}
    values |= {
        "verdict": DriftVerdict(row.verdict),
        "reasons": load_reasons(row.reason_data),
    }
    return DriftCheck(**values)
