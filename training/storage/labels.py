"""Labels: what people said about stretches of a sensor's readings.

Knows the table. How tuning uses them belongs to `detector_tuning`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, insert, select

from training.storage.database import labels, reading, writing


@dataclass(frozen=True)
class Label:
    """Between start and end (both included, naive UTC) the readings were anomalous, or were not."""

    sensor_id: str
    start: datetime
    end: datetime
    anomalous: bool
    source: str = "human"


class LabelStore:
    """All labels that were ever given."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def add(self, given: Iterable[Label], *, now: datetime | None = None) -> None:
        """Keep labels; the same stretch from the same source again replaces what it said before."""
        made_at = now or datetime.now(UTC)
        with writing(self.engine) as connection:
            for label in given:
                same_label = (
                    (labels.c.sensor_id == label.sensor_id)
                    & (labels.c.start == label.start)
                    & (labels.c.end == label.end)
                    & (labels.c.source == label.source)
                )
                connection.execute(labels.delete().where(same_label))
                connection.execute(insert(labels).values(**vars(label), made_at=made_at))

    def of(self, sensor_id: str) -> tuple[Label, ...]:
        """One sensor's labels in order of time."""
        query = select(labels).where(labels.c.sensor_id == sensor_id).order_by(labels.c.start, labels.c.end)
        with reading(self.engine) as connection:
            rows = connection.execute(query).all()
        return tuple(Label(row.sensor_id, row.start, row.end, row.anomalous, row.source) for row in rows)
