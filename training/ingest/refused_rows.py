"""Write refused rows to a CSV file that can be corrected and loaded.

Why a row was refused is decided in `training.ingest.row_validation`.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

from training.errors import write_errors
from training.ingest.load_report import RowExample

REFUSED_COLUMNS = ("sensor_id", "timestamp", "value", "reason", "file", "line")


class RefusedRows:
    """A CSV file of refused rows as written; without a path, rows are dropped."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> "RefusedRows":
        if self.path is not None:
            with write_errors("The file of refused rows", self.path):
                self._file = self.path.open("w", encoding="utf-8", newline="")
            csv.writer(self._file).writerow(REFUSED_COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def enabled(self) -> bool:
        """Whether the rows are written."""
        return self._file is not None

    def write(self, rows: Iterable[RowExample]) -> None:
        """Add rows."""
        if self._file is not None:
            csv.writer(self._file).writerows(
                (row.sensor_id, row.timestamp, row.value, row.reason.value, row.file, row.line)
                for row in rows
            )
