"""Load files of readings: every row is accepted, corrected or refused with a reason.

One unreadable file does not stop the others. The rows of a file are handled in
`training.ingest.load_session`, the report is defined in `training.ingest.load_report`.
"""

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from training.data.readings import ReadingStore
from training.data.sensor_store import load_fleet
from training.data.sensors import Fleet
from training.errors import ConfigurationError, UnreadableFile
from training.ingest.layouts import Layout
from training.ingest.load_report import LoadReport, LoadTally
from training.ingest.load_session import Loader
from training.ingest.refused_rows import RefusedRows
from training.ingest.row_validation import IngestSettings, RowValidator
from training.ingest.table_files import open_table
from training.settings import load_settings

Progress = Callable[[int, int, int], None]  # rows done, bytes done, bytes of all files


def load_files(
    paths: Sequence[Path],
    store: ReadingStore,
    *,
    now: datetime,
    fleet: Fleet | None = None,
    settings: IngestSettings | None = None,
    layout: Layout | None = None,
    strict: bool = False,
    replace: bool = False,
    refused_to: Path | None = None,
    progress: Progress = lambda *_: None,
) -> LoadReport:
    """Load CSV, CSV.gz or Parquet files into the store; loading a file again changes nothing.

    `strict` refuses unknown sensors, which are created otherwise. With `replace`, a value that contradicts
    the stored one replaces it. `refused_to` is a CSV file for the refused rows, which loads once they are
    corrected. A file that cannot be read is named in the report, and the others are loaded.

    Raises:
        ConfigurationError: a setting or the layout is invalid.
        StoreError: the database is unreachable, locked or full. Rows loaded before are stored: load again.
    """
    if refused_to is not None and refused_to.resolve() in {path.resolve() for path in paths}:
        raise ConfigurationError(
            f"Refused rows would overwrite {refused_to}, which is to be loaded; choose another file."
        )
    settings = settings or load_settings(IngestSettings)
    layout = layout or Layout()
    fleet = load_fleet(store.engine) if fleet is None else fleet
    zone = _parse_zone(layout.zone or settings.zone)
    validator = RowValidator(settings, fleet, now, zone, pattern=layout.stamps, strict=strict)
    started = time.perf_counter()
    with RefusedRows(refused_to) as refused:
        loader = Loader(store, validator, LoadTally(settings.examples), refused, set(fleet), replace=replace)
        _load_each(loader, paths, layout, progress)
    return loader.tally.report(files=len(paths), seconds=time.perf_counter() - started)


def _load_each(loader: Loader, paths: Sequence[Path], layout: Layout, progress: Progress) -> None:
    sizes = [path.stat().st_size if path.is_file() else 0 for path in paths]
    for number, path in enumerate(paths):
        before = sum(sizes[:number])
        try:
            with path.open("rb") as raw:
                table = open_table(path, layout, raw)
                for _ in loader.load(table, layout):
                    progress(loader.tally.rows, before + table.bytes_done, sum(sizes))
        except UnreadableFile as error:
            loader.tally.unreadable[str(path)] = str(error)
        except OSError as error:
            loader.tally.unreadable[str(path)] = f"{path} cannot be opened: {error.strerror or error}."
        progress(loader.tally.rows, before + sizes[number], sum(sizes))


def _parse_zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ConfigurationError(
            f"time zone {name!r} is unknown: expected UTC, or a name such as America/Sao_Paulo"
        ) from error
