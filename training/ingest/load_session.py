"""One load under way: a file's pieces are judged, kept and counted.

Knows the order of the work, and which rows have to wait for the end of their file. Reading is done by
`table_files` and `layouts`, judging by `judging`, keeping by `readings`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from training.data.merging import MergeOutcome
from training.data.readings import ReadingStore
from training.data.sensor_store import add_missing_sensors
from training.errors import UnreadableFile
from training.ingest.layouts import ColumnMap, FileChunk, Layout, RawRows
from training.ingest.load_report import REASON_CODES, REASONS, LoadTally, RowExample, RowReason, RowStatus
from training.ingest.refused_rows import RefusedRows
from training.ingest.row_validation import REFUSAL_CODES, RowValidator, ValidatedRows
from training.ingest.table_files import TableFile

MERGE_REASONS = {
    MergeOutcome.KNOWN: REASON_CODES[RowReason.ALREADY_THERE],
    MergeOutcome.CORRECTED: REASON_CODES[RowReason.REPLACED],
    MergeOutcome.CONTRADICTED: REASON_CODES[RowReason.CONTRADICTED],
}
OUT_OF_ORDER = "out of order"
MAX_EXAMPLE_LENGTH = 200  # characters of a line that is no row
WITHOUT_ZONE = "without a zone, taken as {zone}"


@dataclass
class Loader:
    """Loads one file after the other, and adds up what became of their rows."""

    store: ReadingStore
    validator: RowValidator
    tally: LoadTally
    refused: RefusedRows
    known_sensors: set[str]  # sensors that need not be created
    replace: bool
    _newest: dict[str, pd.Timestamp] = field(default_factory=dict)  # by sensor, in this file

    def load(self, table: TableFile, layout: Layout) -> Iterator[None]:
        """Load one file; what is yielded after each piece is only a chance to look at the tally.

        Raises:
            UnreadableFile: the file is damaged; what came before is kept and counted.
        """
        column_map = ColumnMap.detect(table.names, layout, str(table.path))
        validator = replace(self.validator, decimal=table.decimal)
        ambiguous: list[ValidatedRows] = []
        self._newest.clear()
        try:
            for piece in table.pieces:
                self._count_malformed(piece, table.path)
                for rows in column_map.rows(piece):
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
        """Keep the rows that are not refused, and count all."""
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
        if unknown := [str(one) for one in sensor_ids.unique() if one not in self.known_sensors]:
            self.tally.sensors_created += add_missing_sensors(self.store.engine, unknown)
            self.known_sensors.update(unknown)

    def _out_of_order(self, readings: pd.DataFrame) -> int:
        """How many readings are older than one of their sensor that came before them in the file."""
        in_piece = readings.groupby("sensor_id", sort=False)["timestamp"].cummax()
        before = readings["sensor_id"].map(self._newest).astype("datetime64[us]")
        newest = in_piece.where(~(before > in_piece), before)
        for sensor_id, last in newest.groupby(readings["sensor_id"], sort=False).last().items():
            self._newest[str(sensor_id)] = last
        return int((readings["timestamp"] < newest).sum())

    def _note(self, note: str, count: int) -> None:
        if count:
            self.tally.notes[note] += count

    def _count(
        self, rows: RawRows, reasons: npt.NDArray[np.int8], stored: npt.NDArray[np.float64], path: Path
    ) -> None:
        self.tally.rows += len(reasons)
        for code, count in zip(*np.unique(reasons, return_counts=True), strict=True):
            reason = REASONS[code]
            if reason is None:
                continue
            self.tally.reasons[reason] += int(count)
            write_all = self.refused.enabled and reason.verdict is RowStatus.REFUSED
            positions = np.flatnonzero(reasons == code)
            examples = [
                RowExample(reason, str(path), *rows.source_row(place), detail=_stored_note(stored[place]))
                for place in (positions if write_all else positions[: self.tally.remaining_examples(reason)])
            ]
            self.tally.add_examples(reason, examples)
            if write_all:
                self.refused.write(examples)

    def _count_malformed(self, piece: FileChunk, path: Path) -> None:
        self.tally.rows += len(piece.malformed)
        for line, text, undecodable in piece.malformed:
            reason = RowReason.NOT_TEXT if undecodable else RowReason.MALFORMED
            self.tally.reasons[reason] += 1
            example = RowExample(reason, str(path), line, "", "", text[:MAX_EXAMPLE_LENGTH])
            self.tally.add_examples(reason, [example])
            self.refused.write([example])


def _stored_note(value: float) -> str:
    return "" if np.isnan(value) else f"stored: {value:g}"
