"""The file that refused rows are written to, so that they can be put right and loaded.

Knows its columns. Why a row was refused belongs to `verdicts`.
"""

import csv
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import IO

from training.errors import ConfigurationError
from training.ingest.load_report import RowExample

REFUSED_COLUMNS = ("sensor_id", "timestamp", "value", "reason", "file", "line")


class RefusedRows:
    """A CSV file of refused rows as they were written; without a path, rows are let go."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: IO[str] | None = None

    def __enter__(self) -> "RefusedRows":
        if self.path is not None:
            try:
                self._file = self.path.open("w", encoding="utf-8", newline="")
            except OSError as error:
                raise ConfigurationError(
                    f"Refused rows cannot be written: {error}. Name another file."
                ) from error
            csv.writer(self._file).writerow(REFUSED_COLUMNS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def enabled(self) -> bool:
        """Whether anybody wants them."""
        return self._file is not None

    def write(self, rows: Iterable[RowExample]) -> None:
        """Add rows."""
        if self._file is not None:
            csv.writer(self._file).writerows(
                (row.sensor_id, row.timestamp, row.value, row.reason.value, row.file, row.line)
                for row in rows
            )
