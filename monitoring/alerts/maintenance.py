"""Maintenance: when somebody works on a sensor or a platform, so that no alert begins there.

Knows the table and how long work may last. That nothing is learned from such readings is `training`'s.
"""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, or_, select

from monitoring.alerts.life_cycle import MaintenanceWindows
from training.errors import ConfigurationError
from training.storage.alert_tables import maintenance
from training.storage.database import reading, writing
from training.workspace import Workspace

COLUMNS = maintenance.c


@dataclass(frozen=True)
class MaintenanceWindow:
    """From start until end (excluded, naive UTC) somebody works on one sensor, or on a whole platform."""

    start: datetime
    end: datetime
    reason: str
    made_by: str
    sensor_id: str | None = None
    platform: str | None = None
    alert_id: int | None = None
    id: int | None = None

    def __post_init__(self) -> None:
        if self.end <= self.start:
            raise ConfigurationError(
                f"Maintenance from {self.start:%Y-%m-%d %H:%M} until {self.end:%Y-%m-%d %H:%M} never is; "
                "it must end after it begins."
            )
        if (self.sensor_id is None) == (self.platform is None):
            raise ConfigurationError("Maintenance is of one sensor or of one platform; name one of them.")


def add_maintenance(workspace: Workspace, work: MaintenanceWindow, *, now: datetime) -> MaintenanceWindow:
    """Keep a maintenance window; it may lie in the past, and then what it spoilt is not learned from.

    Raises:
        ConfigurationError: no sensor is on that platform.
    """
    if work.platform is not None and work.platform not in {s.platform for s in workspace.fleet.values()}:
        raise ConfigurationError(f"No sensor is on platform {work.platform!r}. See: safeplan sensors")
    with writing(workspace.engine) as connection:
        return MaintenanceWindow(**{**vars(work), "id": save_maintenance(connection, work, now=now)})


def save_maintenance(connection: Connection, work: MaintenanceWindow, *, now: datetime) -> int:
    """Keep a window within a transaction; its id."""
    row = {name: value for name, value in vars(work).items() if name != "id"}
    key = connection.execute(insert(maintenance).values(**row, made_at=now)).inserted_primary_key
    assert key is not None
    return int(key[0])


def cancel_maintenance(workspace: Workspace, work_id: int) -> None:
    """Forget a window.

    Raises:
        ConfigurationError: there is none with that id.
    """
    with writing(workspace.engine) as connection:
        if connection.execute(delete(maintenance).where(COLUMNS.id == work_id)).rowcount != 1:
            raise ConfigurationError(f"There is no maintenance {work_id}. See: safeplan alerts maintenance")


def list_maintenance(workspace: Workspace, *, since: datetime | None = None) -> list[MaintenanceWindow]:
    """All windows that end after a moment, in order of time."""
    query = select(maintenance).order_by(COLUMNS.start, COLUMNS.id)
    if since is not None:
        query = query.where(COLUMNS.end > since)
    with reading(workspace.engine) as connection:
        rows = connection.execute(query).mappings().all()
    return [
        MaintenanceWindow(**{name: row[name] for name in MaintenanceWindow.__dataclass_fields__})
        for row in rows
    ]


def load_maintenance_windows(
    connection: Connection, platform: str, sensor_ids: Collection[str]
) -> dict[str, MaintenanceWindows]:
    """The windows of each of these sensors, which are all of one platform."""
    applies = or_(COLUMNS.sensor_id.in_(list(sensor_ids)), COLUMNS.platform == (platform or None))
    windows: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in connection.execute(select(maintenance).where(applies)):
        for sensor_id in sensor_ids if row.sensor_id is None else [row.sensor_id]:
            windows[sensor_id].append((row.start, row.end))
    return dict(windows)
