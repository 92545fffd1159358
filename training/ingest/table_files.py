"""Table files, read piece by piece in flat memory: CSV, CSV.gz and Parquet.

Knows bytes, lines, separators and encodings; a broken line is handed on as such and takes no neighbour with
it. What the columns mean belongs to `layouts`.
"""

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from training.errors import UnreadableFile
from training.ingest.layouts import FileChunk, Layout

READ_BLOCK_BYTES = 4_000_000
ROW_BATCH = 100_000
MAX_LINE_BYTES = 16_000_000
SEPARATORS = ",;\t|"


@dataclass
class TableFile:
    """An open file: the names of its columns, and its rows piece by piece."""

    path: Path
    names: list[str]
    pieces: Iterator[FileChunk]
    decimal: str
    _raw: IO[bytes]

    @property
    def bytes_done(self) -> int:
        """How far into the file, as it lies on disk, reading has come."""
        return self._raw.tell()


def open_table(path: Path, layout: Layout, raw: IO[bytes]) -> TableFile:
    """Look at the first bytes of a file and prepare to read it.

    Raises:
        UnreadableFile: it is something else than CSV, CSV.gz or Parquet, or holds no header.
    """
    start = raw.read(4)
    raw.seek(0)
    if start == b"PAR1":
        return _open_parquet(path, raw)
    if start[:4] == b"PK\x03\x04":
        raise UnreadableFile(f"{path} is a spreadsheet or an archive. Save it as CSV or Parquet first.")
    if start[:2] == b"\x1f\x8b":
        return _open_csv(path, layout, raw, gzip.GzipFile(fileobj=raw))  # type: ignore[arg-type]
    return _open_csv(path, layout, raw, raw)


def _open_parquet(path: Path, raw: IO[bytes]) -> TableFile:
    try:
        file = pa_parquet.ParquetFile(raw)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableFile(f"{path} is no whole Parquet file: {error}. Copy it again.") from error
    return TableFile(path, list(file.schema_arrow.names), _parquet_pieces(path, file), ".", raw)


def _parquet_pieces(path: Path, file: pa_parquet.ParquetFile) -> Iterator[FileChunk]:
    line = 1
    batches = file.iter_batches(ROW_BATCH)
    while True:
        try:
            batch = next(batches, None)
        except (pa.ArrowException, OSError) as error:
            raise UnreadableFile(
                f"{path} is damaged after row {line - 1}: {error}. Copy it again."
            ) from error
        if batch is None:
            return
        columns = [_decoded(column) for column in batch.columns]
        names = [str(n) for n in range(len(columns))]
        yield FileChunk(pa.table(columns, names=names), np.arange(line, line + batch.num_rows))
        line += batch.num_rows


def _decoded(column: pa.Array) -> pa.Array:
    """A column as texts, numbers or times; whatever else a Parquet file may hold becomes text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_boolean(kind):  # a switch or a valve
        return column.cast(pa.int8())
    plain = (
        pa.types.is_string,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_timestamp,
        pa.types.is_date,
    )
    if any(is_it(kind) for is_it in plain):
        return column
    return pa.array([None if cell is None else str(cell) for cell in column.to_pylist()], pa.string())


def _open_csv(path: Path, layout: Layout, raw: IO[bytes], content: IO[bytes]) -> TableFile:
    blocks = _whole_lines(path, _utf8(path, layout, content))
    first = next(blocks, b"")
    header, _, rest = first.partition(b"\n")
    if not header.strip():
        raise UnreadableFile(
            f"{path} is empty or starts with an empty line; its first line must name the columns."
        )
    try:
        line = header.decode()
    except UnicodeDecodeError as error:
        raise UnreadableFile(
            f"{path} is not UTF-8: {error}. Tell its encoding, as in: safeplan load FILE --encoding cp1252"
        ) from error
    separator = layout.separator or max(SEPARATORS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    decimal = layout.decimal or ("," if separator == ";" else ".")
    return TableFile(path, names, _csv_pieces(rest, blocks, len(names), separator), decimal, raw)


def _whole_lines(path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut after line ends, which all become \\n."""
    remainder = b""
    for block in blocks:
        joined = remainder + block
        trailing_return = b"\r" if joined.endswith(b"\r") else b""  # the \n to it may be in the next block
        text = joined.removesuffix(trailing_return).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = text.rfind(b"\n") + 1
        remainder = text[cut:] + trailing_return
        if len(remainder) > MAX_LINE_BYTES:
            raise UnreadableFile(f"{path} has a line of more than {MAX_LINE_BYTES} bytes; it is no table.")
        if cut:
            yield text[:cut]
    if remainder:
        yield remainder.replace(b"\r", b"\n")


def _utf8(path: Path, layout: Layout, content: IO[bytes]) -> Iterator[bytes]:
    """The content in UTF-8, a few megabytes at a time; a byte order mark is left out."""
    block = _read(path, content)
    decoder = _decoder(path, layout, block)
    block = block.removeprefix(codecs.BOM_UTF8)
    while block:
        yield block if decoder is None else _to_utf8(path, decoder, block)
        block = _read(path, content)
    if decoder is not None:
        yield _to_utf8(path, decoder, b"", final=True)


def _read(path: Path, content: IO[bytes]) -> bytes:
    try:
        return content.read(READ_BLOCK_BYTES)
    except (EOFError, zlib.error, OSError) as error:
        raise UnreadableFile(
            f"{path} is cut short or damaged: {error}. What came before is kept; copy the file again and "
            "load it whole, nothing will be there twice."
        ) from error


def _decoder(path: Path, layout: Layout, start: bytes) -> codecs.IncrementalDecoder | None:
    """How to read bytes that are not UTF-8; None for those that are, and need no more than a look."""
    name = layout.encoding
    if name is None and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    if name is None:
        return None
    try:
        codec = codecs.lookup(name)
    except LookupError as error:
        raise UnreadableFile(
            f"{path}: there is no encoding called {name}. Try utf-8, cp1252 or utf-16."
        ) from error
    return None if codec.name == "utf-8" else codec.incrementaldecoder()


def _to_utf8(path: Path, decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bytes:
    try:
        return decoder.decode(block, final).encode()
    except UnicodeError as error:
        raise UnreadableFile(f"{path} is not in the encoding it should be: {error}.") from error


def _csv_pieces(rest: bytes, blocks: Iterator[bytes], width: int, separator: str) -> Iterator[FileChunk]:
    line = 2
    block: bytes | None = rest
    while block is not None:
        if block:
            yield _parse_block(block, line, width, separator)
            line += block.count(b"\n")
        block = next(blocks, None)


def _parse_block(block: bytes, first_line: int, width: int, separator: str) -> FileChunk:
    starts = np.flatnonzero(np.frombuffer(b"\n" + block, np.uint8) == ord("\n"))
    if block.endswith(b"\n"):
        starts = starts[:-1]
    lengths = np.diff(np.append(starts, len(block) + (not block.endswith(b"\n")))) - 1
    filled = np.flatnonzero(lengths > 0)
    names = [str(n) for n in range(width)]
    if not _is_text(block):
        return _parse_lines(block, first_line, width, separator)
    invalid: list[pa_csv.InvalidRow] = []

    def note(row: pa_csv.InvalidRow) -> str:
        invalid.append(row)
        return "skip"

    try:
        table = pa_csv.read_csv(
            io.BytesIO(block),
            pa_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=max(len(block) + 1, 1 << 16)
            ),
            pa_csv.ParseOptions(delimiter=separator, invalid_row_handler=note),
            pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid:
        return _parse_lines(block, first_line, width, separator)
    if table.num_rows + len(invalid) != len(filled):  # a stray quote has swallowed line ends
        return _parse_lines(block, first_line, width, separator)
    bad = np.array([row.number - 1 for row in invalid], np.int64)
    lines = first_line + filled
    malformed = [(int(lines[row.number - 1]), row.text, False) for row in invalid]
    return FileChunk(table, np.delete(lines, bad), malformed)


def _is_text(block: bytes) -> bool:
    try:
        return block.isascii() or bool(block.decode())
    except UnicodeDecodeError:
        return False


def _parse_lines(block: bytes, first_line: int, width: int, separator: str) -> FileChunk:
    """The slow and patient way, where something in a block is broken: no line can spoil another."""
    good: list[list[str]] = []
    lines: list[int] = []
    malformed: list[tuple[int, str, bool]] = []
    for number, line in enumerate(block.removesuffix(b"\n").split(b"\n"), first_line):
        if not line:
            continue
        try:
            text = line.decode()
            cells = next(csv.reader([text], delimiter=separator))
        except UnicodeDecodeError:
            malformed.append((number, line.decode(errors="replace"), True))
            continue
        except csv.Error:
            cells = []
        if len(cells) == width:
            good.append(cells)
            lines.append(number)
        else:
            malformed.append((number, text, False))
    columns = [pa.array([cells[n] for cells in good], pa.string()) for n in range(width)]
    table = pa.table(columns, names=[str(n) for n in range(width)])
    return FileChunk(table, np.array(lines, np.int64), malformed)
