"""Labels: intervals that people marked as anomalous or normal.

Holds the SQL. Tuning uses them in `training.tuning.detector_search`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select

from training.storage.database import labels, reading, writing


@dataclass(frozen=True)
class Label:
    """Whether the readings from start to end (both included, naive UTC) were anomalous."""

    sensor_id: str
    start: datetime
    end: datetime
    anomalous: bool
    source: str = "human"


class LabelStore:
    """All labels, in the database."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, new: Iterable[Label], *, now: datetime | None = None) -> None:
        """Add labels; one of the same sensor, interval and source as a stored one replaces it."""
        made_at = now or datetime.now(UTC)
        with writing(self.engine) as connection:
            for label in new:
                key = {name: getattr(label, name) for name in ("sensor_id", "start", "end", "source")}
                connection.execute(labels.delete().filter_by(**key))
                connection.execute(insert(labels).values(**vars(label), made_at=made_at))

    def of(self, sensor_id: str) -> tuple[Label, ...]:
        """One sensor's labels in order of time."""
        query = select(labels).where(labels.c.sensor_id == sensor_id).order_by(labels.c.start, labels.c.end)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return tuple(Label(row.sensor_id, row.start, row.end, row.anomalous, row.source) for row in rows)
