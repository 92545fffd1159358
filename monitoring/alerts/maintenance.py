"""Maintenance windows of sensors and platforms, during which no alert begins.

Holds the SQL. Training leaves such readings out in `training.data.maintenance_filter`.
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
    """Work on one sensor or on one platform from `start` until `end` (excluded, naive UTC)."""

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
                f"maintenance from {self.start:%Y-%m-%d %H:%M} until {self.end:%Y-%m-%d %H:%M} is empty: "
                "the end must be after the start."
            )
        if (self.sensor_id is None) == (self.platform is None):
            raise ConfigurationError("maintenance needs either a sensor or a platform; name one of them.")


def add_maintenance(workspace: Workspace, work: MaintenanceWindow, *, now: datetime) -> MaintenanceWindow:
    """Store a maintenance window. It may lie in the past: training then leaves those readings out.

    Raises:
        ConfigurationError: no sensor is on the platform.
    """
    if work.platform is not None and work.platform not in {s.platform for s in workspace.fleet.values()}:
        raise ConfigurationError(f"No sensor is on platform {work.platform!r}. See: safeplan sensors")
    with writing(workspace.engine) as connection:
        return MaintenanceWindow(**{**vars(work), "id": save_maintenance(connection, work, now=now)})


def save_maintenance(connection: Connection, work: MaintenanceWindow, *, now: datetime) -> int:
    """Store a window within a transaction; returns its id."""
    row = {name: value for name, value in vars(work).items() if name != "id"}
    key = connection.execute(insert(maintenance).values(**row, made_at=now)).inserted_primary_key
    assert key is not None
    return int(key[0])


def cancel_maintenance(workspace: Workspace, work_id: int) -> None:
    """Delete a window.

    Raises:
        ConfigurationError: there is no window with this id.
    """
    with writing(workspace.engine) as connection:
        if connection.execute(delete(maintenance).where(COLUMNS.id == work_id)).rowcount != 1:
            raise ConfigurationError(
                f"There is no maintenance window {work_id}. See: safeplan alerts maintenance"
            )


def list_maintenance(workspace: Workspace, *, since: datetime | None = None) -> list[MaintenanceWindow]:
    """All windows that end after `since`, in order of time."""
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
    """The windows of each of these sensors of one platform."""
    applies = or_(COLUMNS.sensor_id.in_(list(sensor_ids)), COLUMNS.platform == (platform or None))
    windows: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in connection.execute(select(maintenance).where(applies)):
        for sensor_id in sensor_ids if row.sensor_id is None else [row.sensor_id]:
            windows[sensor_id].append((row.start, row.end))
    return dict(windows)
