"""One load: validate, store and count the rows of each file, chunk by chunk.

Rows in an hour that daylight saving repeats wait for the end of their file, when their order is known. Files
are read in `training.ingest.table_files`, rows validated in `training.ingest.row_validation` and stored by
`training.data.readings`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from training.common.arrays import Floats
from training.data.merging import MergeOutcome
from training.data.readings import ReadingStore
from training.data.sensor_store import add_missing_sensors
from training.errors import UnreadableFile
from training.ingest.layouts import ColumnMap, FileChunk, Layout, RawRows
from training.ingest.load_report import (
    REASON_CODES,
    REASONS,
    LoadTally,
    RowCodes,
    RowExample,
    RowReason,
    RowStatus,
)
from training.ingest.refused_rows import RefusedRows
from training.ingest.row_validation import REFUSAL_CODES, RowValidator, ValidatedRows
from training.ingest.table_files import TableFile

MERGE_REASONS = {
    MergeOutcome.KNOWN: REASON_CODES[RowReason.ALREADY_THERE],
    MergeOutcome.CORRECTED: REASON_CODES[RowReason.REPLACED],
    MergeOutcome.CONTRADICTED: REASON_CODES[RowReason.CONTRADICTED],
}
OUT_OF_ORDER = "out of order"
MAX_EXAMPLE_LENGTH = 200  # characters of a malformed line
WITHOUT_ZONE = "without a zone, taken as {zone}"


@dataclass
class Loader:
    """Loads one file after the other and counts the outcomes of their rows."""

    store: ReadingStore
    validator: RowValidator
    tally: LoadTally
    refused: RefusedRows
    known_sensors: set[str]  # they are not created again
    replace: bool
    _newest: dict[str, pd.Timestamp] = field(default_factory=dict)  # timestamp by sensor, in the current file

    def load(self, table: TableFile, layout: Layout) -> Iterator[None]:
        """Load one file; yields after each chunk, so that the caller can show progress.

        Raises:
            UnreadableFile: the file is damaged; the rows before that are stored and counted.
        """
        column_map = ColumnMap.detect(table.names, layout, str(table.path))
        validator = replace(self.validator, decimal=table.decimal)
        ambiguous: list[ValidatedRows] = []
        self._newest.clear()
        try:
            for chunk in table.chunks:
                self._count_malformed(chunk, table.path)
                for rows in column_map.rows(chunk):
                    validated = validator.validate(rows)
                    self._note(WITHOUT_ZONE.format(zone=validator.zone.key), validated.without_zone)
                    ambiguous.append(validated.filter(validated.ambiguous))
                    self._store(validated.filter(~validated.ambiguous), table.path)
                yield
        except UnreadableFile:
            self._store_ambiguous(ambiguous, table.path)
            raise
        self._store_ambiguous(ambiguous, table.path)

    def _store_ambiguous(self, ambiguous: list[ValidatedRows], path: Path) -> None:
        if ambiguous:
            self._store(self.validator.resolve_repeated_hours(ValidatedRows.concat(ambiguous)), path)

    def _store(self, validated: ValidatedRows, path: Path) -> None:
        """Store the rows that are not refused, and count all."""
        good = ~np.isin(validated.reasons, REFUSAL_CODES)
        readings = validated.readings[good]
        self._create_sensors(readings["sensor_id"])
        self._note(OUT_OF_ORDER, self._out_of_order(readings))
        merged = self.store.ingest(readings, replace=self.replace)
        reasons = validated.reasons.copy()
        for outcome, code in MERGE_REASONS.items():
            reasons[np.flatnonzero(good)[merged.outcomes == outcome]] = code
        stored = np.full(len(reasons), np.nan)
        stored[good] = merged.compared_with
        self._count(validated.rows, reasons, stored, path)

    def _create_sensors(self, sensor_ids: pd.Series) -> None:
        if unknown := [str(name) for name in sensor_ids.unique() if name not in self.known_sensors]:
            self.tally.sensors_created += add_missing_sensors(self.store.engine, unknown)
            self.known_sensors.update(unknown)

    def _out_of_order(self, readings: pd.DataFrame) -> int:
        """How many readings are older than an earlier row of their sensor in the file."""
        in_chunk = readings.groupby("sensor_id", sort=False)["timestamp"].cummax()
        before = readings["sensor_id"].map(self._newest).astype("datetime64[us]")
        newest = in_chunk.where(~(before > in_chunk), before)
        for sensor_id, last in newest.groupby(readings["sensor_id"], sort=False).last().items():
            self._newest[str(sensor_id)] = last
        return int((readings["timestamp"] < newest).sum())

    def _note(self, note: str, count: int) -> None:
        if count:
            self.tally.notes[note] += count

    def _count(self, rows: RawRows, reasons: RowCodes, stored: Floats, path: Path) -> None:
        self.tally.rows += len(reasons)
        for code, count in zip(*np.unique(reasons, return_counts=True), strict=True):
            reason = REASONS[code]
            if reason is None:
                continue
            self.tally.reasons[reason] += int(count)
            write_all = self.refused.enabled and reason.status is RowStatus.REFUSED
            positions = np.flatnonzero(reasons == code)
            examples = [
                RowExample(
                    reason, str(path), *rows.source_row(position), detail=_stored_note(stored[position])
                )
                for position in (
                    positions if write_all else positions[: self.tally.remaining_examples(reason)]
                )
            ]
            self.tally.add_examples(reason, examples)
            if write_all:
                self.refused.write(examples)

    def _count_malformed(self, chunk: FileChunk, path: Path) -> None:
        self.tally.rows += len(chunk.malformed)
        for line, text, undecodable in chunk.malformed:
            reason = RowReason.NOT_TEXT if undecodable else RowReason.MALFORMED
            self.tally.reasons[reason] += 1
            example = RowExample(reason, str(path), line, "", "", text[:MAX_EXAMPLE_LENGTH])
            self.tally.add_examples(reason, [example])
            self.refused.write([example])


def _stored_note(value: float) -> str:
    return "" if np.isnan(value) else f"stored: {value:g}"
