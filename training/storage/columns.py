"""The base of all tables: the metadata that collects them, and the column type of times.

The tables are declared in `training.storage.database` and `training.storage.alert_tables`.
"""

from datetime import datetime

from sqlalchemy import DateTime, Dialect, MetaData
from sqlalchemy.types import TypeDecorator

from training.common.times import to_naive_utc

metadata = MetaData()


class UtcTime(TypeDecorator[datetime]):
    """A time, stored in UTC without a zone; times with a zone are converted when they are written."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The value that is stored."""
        return None if value is None else to_naive_utc(value)
