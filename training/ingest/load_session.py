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

from training.data.merging import Outcome
from training.data.readings import ReadingStore
from training.data.sensor_sources import add_missing
from training.errors import UnreadableFile
from training.ingest.layouts import Form, Layout, Piece, Rows
from training.ingest.load_report import CODE, REASONS, Example, Reason, Tally, Verdict
from training.ingest.refused_rows import RefusedRows
from training.ingest.row_validation import REFUSING, Judge, Judged
from training.ingest.table_files import TableFile

OUTCOMES = {
    Outcome.KNOWN: CODE[Reason.ALREADY_THERE],
    Outcome.CORRECTED: CODE[Reason.REPLACED],
    Outcome.CONTRADICTED: CODE[Reason.CONTRADICTED],
}
OUT_OF_ORDER = "out of order"
LONGEST_EXAMPLE = 200  # characters of a line that is no row
WITHOUT_ZONE = "without a zone, taken as {zone}"


@dataclass
class Loader:
    """Loads one file after the other, and adds up what became of their rows."""

    store: ReadingStore
    judge: Judge
    tally: Tally
    refused: RefusedRows
    known: set[str]  # sensors that need not be created
    replace: bool
    _newest: dict[str, pd.Timestamp] = field(default_factory=dict)  # by sensor, in this file

    def load(self, table: TableFile, layout: Layout) -> Iterator[None]:
        """Load one file; what is yielded after each piece is only a chance to look at the tally.

        Raises:
            UnreadableFile: the file is damaged; what came before is kept and counted.
        """
        form = Form.of(table.names, layout, str(table.path))
        judge = replace(self.judge, decimal=table.decimal)
        waiting: list[Judged] = []
        self._newest.clear()
        try:
            for piece in table.pieces:
                self._count_malformed(piece, table.path)
                for rows in form.rows(piece):
                    judged = judge.judge(rows)
                    self._note(WITHOUT_ZONE.format(zone=judge.zone.key), judged.without_zone)
                    waiting.append(judged.only(judged.undecided))
                    self._settle(judged.only(~judged.undecided), table.path)
                yield
        except UnreadableFile:
            self._settle_waiting(waiting, table.path)
            raise
        self._settle_waiting(waiting, table.path)

    def _settle_waiting(self, waiting: list[Judged], path: Path) -> None:
        if waiting:
            self._settle(self.judge.decide(Judged.joined(waiting)), path)

    def _settle(self, judged: Judged, path: Path) -> None:
        """Keep the rows that are not refused, and count all."""
        good = ~np.isin(judged.reasons, REFUSING)
        readings = judged.readings[good]
        self._create_sensors(readings["sensor_id"])
        self._note(OUT_OF_ORDER, self._out_of_order(readings))
        merged = self.store.ingest(readings, replace=self.replace)
        reasons = judged.reasons.copy()
        for outcome, code in OUTCOMES.items():
            reasons[np.flatnonzero(good)[merged.outcomes == outcome]] = code
        stored = np.full(len(reasons), np.nan)
        stored[good] = merged.compared_with
        self._count(judged.rows, reasons, stored, path)

    def _create_sensors(self, sensor_ids: pd.Series) -> None:
        if unknown := [str(one) for one in sensor_ids.unique() if one not in self.known]:
            self.tally.sensors_created += add_missing(self.store.engine, unknown)
            self.known.update(unknown)

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
        self, rows: Rows, reasons: npt.NDArray[np.int8], stored: npt.NDArray[np.float64], path: Path
    ) -> None:
        self.tally.rows += len(reasons)
        for code, count in zip(*np.unique(reasons, return_counts=True), strict=True):
            reason = REASONS[code]
            if reason is None:
                continue
            self.tally.reasons[reason] += int(count)
            everyone = self.refused.wanted and reason.verdict is Verdict.REFUSED
            places = np.flatnonzero(reasons == code)
            shown = [
                Example(reason, str(path), *rows.written(place), detail=_stored(stored[place]))
                for place in (places if everyone else places[: self.tally.wants(reason)])
            ]
            self.tally.show(reason, shown)
            if everyone:
                self.refused.write(shown)

    def _count_malformed(self, piece: Piece, path: Path) -> None:
        self.tally.rows += len(piece.malformed)
        for line, text, undecodable in piece.malformed:
            reason = Reason.NOT_TEXT if undecodable else Reason.MALFORMED
            self.tally.reasons[reason] += 1
            example = Example(reason, str(path), line, "", "", text[:LONGEST_EXAMPLE])
            self.tally.show(reason, [example])
            self.refused.write([example])


def _stored(value: float) -> str:
    return "" if np.isnan(value) else f"stored: {value:g}"
