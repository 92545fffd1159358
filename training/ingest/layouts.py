"""The layout of a file: long with one reading a row, or wide with one column a tag.

Finds the columns and turns chunks of a file into rows of sensor, time and value. Files are read in
`training.ingest.table_files`, rows are validated in `training.ingest.row_validation`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pyarrow as pa

from training.common.arrays import Flags, Ints
from training.errors import ConfigurationError, UnreadableFile

# Names of our columns in other programs; a column of another name needs --map.
ALIASES = {
    "sensor_id": ("sensor_id", "sensorid", "sensor", "tag", "tagname", "tag_name", "series_id", "point"),
    "timestamp": ("timestamp", "time", "datetime", "date_time", "time_stamp", "ts", "date"),
    "value": ("value", "reading", "val"),
    "data_quality": ("data_quality", "quality"),
}
CELL_BATCH = 200_000  # readings of a wide file that are turned into rows at once


@dataclass(frozen=True)
class Layout:
    """What the user states about a file; the rest is detected or taken from the settings.

    `columns` maps the file's names to ours, as in `{"tag": "sensor_id"}`. `stamps` is a strptime format.
    """

    form: Literal["auto", "long", "wide"] = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    stamps: str | None = None
    zone: str | None = None
    decimal: Literal[".", ","] | None = None
    separator: str | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.columns.values()) - set(ALIASES):
            raise ConfigurationError(
                f"Columns cannot be mapped to {', '.join(sorted(unknown))}; choose from {', '.join(ALIASES)}."
            )


def parse_column_map(pairs: Sequence[str]) -> dict[str, str]:
    """Column names from texts like `tag=sensor_id`.

    Raises:
        ConfigurationError: a text has no equals sign.

    >>> parse_column_map(["tag=sensor_id", "a=b=value"])
    {'tag': 'sensor_id', 'a=b': 'value'}
    """
    if bad := [pair for pair in pairs if "=" not in pair]:
        raise ConfigurationError(f"--map {bad[0]} is invalid: expected theirs=ours, such as tag=sensor_id.")
    return {pair.rpartition("=")[0]: pair.rpartition("=")[2] for pair in pairs}


@dataclass(frozen=True)
class FileChunk:
    """Some rows of a file as written, with the line of each.

    The columns of `table` are named by their position, because a file may use a name twice. `malformed` has
    the lines that are not rows: line number, text, and whether its bytes are invalid in the encoding.
    """

    table: pa.Table
    lines: Ints
    malformed: Sequence[tuple[int, str, bool]] = ()


@dataclass(frozen=True)
class RawRows:
    """One reading a row, as written in the file."""

    sensor: pa.Array
    stamp: pa.Array
    value: pa.Array
    quality: pa.Array | None
    lines: Ints

    def filter(self, selected: Flags) -> "RawRows":
        """The selected rows."""
        mask = pa.array(selected)
        quality = None if self.quality is None else self.quality.filter(mask)
        sensor, stamp, value = self.sensor.filter(mask), self.stamp.filter(mask), self.value.filter(mask)
        return RawRows(sensor, stamp, value, quality, self.lines[selected])

    @staticmethod
    def concat(parts: "Sequence[RawRows]") -> "RawRows":
        """The rows of all parts, one part after the other."""
        qualities = [part.quality for part in parts if part.quality is not None]
        return RawRows(
            pa.concat_arrays([part.sensor for part in parts]),
            pa.concat_arrays([part.stamp for part in parts]),
            pa.concat_arrays([part.value for part in parts]),
            pa.concat_arrays(qualities) if qualities else None,
            np.concatenate([part.lines for part in parts]),
        )

    def source_row(self, index: int) -> tuple[int, str, str, str]:
        """One row as written: line, sensor, timestamp, value."""
        cells = (column[index].as_py() for column in (self.sensor, self.stamp, self.value))
        sensor, stamp, value = ("" if cell is None else str(cell) for cell in cells)
        return int(self.lines[index]), sensor, stamp, value


@dataclass(frozen=True)
class ColumnMap:
    """The columns of a file by position; a wide file has tags instead of sensor and value."""

    stamp: int
    sensor: int | None = None
    value: int | None = None
    quality: int | None = None
    tags: tuple[tuple[int, str], ...] = ()

    @classmethod
    def detect(cls, names: Sequence[str], layout: Layout, file: str) -> "ColumnMap":
        """Find each column by the layout's mapping, its own name or an alias.

        Raises:
            UnreadableFile: a column is missing or occurs twice; the message shows --map.
        """
        columns = _find_columns(names, layout.columns)
        if duplicated := [name for name, places in columns.items() if len(places) > 1]:
            raise UnreadableFile(
                f"{file} has more than one {duplicated[0]} column: {_format_names(names)}. "
                f"{_mapping_hint(names)}"
            )
        at = {name: places[0] for name, places in columns.items()}
        long = {"sensor_id", "timestamp", "value"} <= at.keys()
        # With a value but no sensor, a file may be of one sensor that it does not name.
        wide = "timestamp" in at and not {"sensor_id", "value"} & at.keys()
        if layout.form != "wide" and long:
            return cls(at["timestamp"], at["sensor_id"], at["value"], at.get("data_quality"))
        if layout.form != "long" and (wide or (layout.form == "wide" and "timestamp" in at)):
            tags = tuple((n, name) for n, name in enumerate(names) if name and n != at["timestamp"])
            if tags:
                return cls(at["timestamp"], tags=tags)
        required = {"long": "sensor_id, timestamp and value", "wide": "timestamp and one column a tag"}
        expected = required.get(layout.form, " or ".join(required.values()))
        raise UnreadableFile(
            f"{file} needs the columns {expected}; it has {_format_names(names)}. {_mapping_hint(names)}"
        )

    def rows(self, chunk: FileChunk) -> Iterator[RawRows]:
        """The readings of a chunk, in the order in which they are written."""
        stamps = chunk.table.column(self.stamp).combine_chunks()
        if self.sensor is not None and self.value is not None:
            sensor, value = (chunk.table.column(n).combine_chunks() for n in (self.sensor, self.value))
            quality = None if self.quality is None else chunk.table.column(self.quality).combine_chunks()
            yield RawRows(_texts(sensor), stamps, value, quality, chunk.lines)
            return
        tags = pa.array([name for _, name in self.tags])
        step = max(1, CELL_BATCH // len(tags))
        for start in range(0, len(stamps), step):
            yield self._melt(chunk.table.slice(start, step), tags, chunk.lines[start : start + step])

    def _melt(self, table: pa.Table, tags: pa.Array, lines: Ints) -> RawRows:
        count, width = table.num_rows, len(tags)
        # The cells column by column, then in the order of the file: line by line.
        by_line = pa.array(np.arange(count * width).reshape(width, count).T.ravel())
        columns = [table.column(n).combine_chunks() for n, _ in self.tags]
        if len({column.type for column in columns}) > 1:
            columns = [column.cast(pa.string()) for column in columns]
        return RawRows(
            sensor=tags.take(pa.array(np.tile(np.arange(width), count))),
            stamp=table.column(self.stamp)
            .combine_chunks()
            .take(pa.array(np.repeat(np.arange(count), width))),
            value=pa.concat_arrays(columns).take(by_line),
            quality=None,
            lines=np.repeat(lines, width),
        )


def _find_columns(names: Sequence[str], mapping: Mapping[str, str]) -> dict[str, list[int]]:
    """The positions of our columns in a file: by the mapping, else by our own name, else by an alias."""
    if missing := set(mapping) - set(names):
        raise UnreadableFile(
            f"There is no column {', '.join(sorted(missing))} to map; the columns are {_format_names(names)}."
        )
    positions_by_column: dict[str, list[int]] = {}
    for column, aliases in ALIASES.items():
        mapped = [n for n, name in enumerate(names) if mapping.get(name) == column]
        unmapped = {n: name.strip().casefold() for n, name in enumerate(names) if name not in mapping}
        by_name = ([n for n, name in unmapped.items() if name == alias] for alias in aliases)
        if positions := mapped or next(filter(None, by_name), []):
            positions_by_column[column] = positions
    return positions_by_column


def _texts(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):  # integers, in a column with a missing one
        return pa.array(
            [None if cell is None else f"{cell:.15g}" for cell in column.to_pylist()], pa.string()
        )
    return column.cast(pa.string())


def _format_names(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] if name.isprintable() else ascii(name[:40]) for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown


def _mapping_hint(names: Sequence[str]) -> str:
    mappable = [name for name in names if name.isprintable() and name.casefold() not in ALIASES]
    return f"Map the columns, as in: safeplan load FILE --map {mappable[0] if mappable else 'tag'}=sensor_id"
