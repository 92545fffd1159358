"""Read table files chunk by chunk in constant memory: CSV, CSV.gz and Parquet.

Handles bytes, line ends, separators and encodings. A malformed line is passed on as such and affects no other
line. What the columns mean is decided in `training.ingest.layouts`.
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
    """An open file: the names of its columns, and its rows chunk by chunk."""

    path: Path
    names: list[str]
    chunks: Iterator[FileChunk]
    decimal: str
    _raw: IO[bytes]

    @property
    def bytes_done(self) -> int:
        """The bytes of the file on disk that have been read."""
        return self._raw.tell()  # quoted


def open_table(path: Path, layout: Layout, raw: IO[bytes]) -> TableFile:
    """Detect the format from the first bytes of a file and read its header.

    Raises:
        UnreadableFile: it is not CSV, CSV.gz or Parquet, or has no header.
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
        raise UnreadableFile(f"{path} is not a complete Parquet file: {error}. Copy it again.") from error
    return TableFile(path, list(file.schema_arrow.names), _parquet_chunks(path, file), ".", raw)


def _parquet_chunks(path: Path, file: pa_parquet.ParquetFile) -> Iterator[FileChunk]:
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
    """A column as texts, numbers or times; other types of Parquet become text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    if pa.types.is_boolean(kind):  # a switch or a valve
        return column.cast(pa.int8())
    types = pa.types
    plain = (types.is_string, types.is_integer, types.is_floating, types.is_timestamp, types.is_date)
    if any(is_type(kind) for is_type in plain):
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
            f"{path} is not UTF-8: {error}. State its encoding, as in: safeplan load FILE --encoding cp1252"
        ) from error
    separator = layout.separator or max(SEPARATORS, key=line.count)
    names = [name.strip() for name in next(csv.reader([line], delimiter=separator))]
    decimal = layout.decimal or ("," if separator == ";" else ".")
    return TableFile(path, names, _csv_chunks(rest, blocks, len(names), separator), decimal, raw)


def _whole_lines(path: Path, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, split after line ends, which all become \\n."""
    remainder = b""
    for block in blocks:
        joined = remainder + block
        trailing_return = b"\r" if joined.endswith(b"\r") else b""  # its \n may be in the next block
        text = joined.removesuffix(trailing_return).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        cut = text.rfind(b"\n") + 1
        remainder = text[cut:] + trailing_return
        if len(remainder) > MAX_LINE_BYTES:
            raise UnreadableFile(
                f"{path} has a line of more than {MAX_LINE_BYTES:,} bytes; it is not a table."
            )
        if cut:
            yield text[:cut]
    if remainder:
        yield remainder.replace(b"\r", b"\n")


def _utf8(path: Path, layout: Layout, content: IO[bytes]) -> Iterator[bytes]:
    """The content in UTF-8, a few megabytes at a time, without a byte order mark."""
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
            f"{path} is cut short or damaged: {error}. The rows before that are stored; copy the file again "
            "and load all of it: no row is stored twice."
        ) from error


def _decoder(path: Path, layout: Layout, start: bytes) -> codecs.IncrementalDecoder | None:
    """A decoder for bytes that are not UTF-8; None for those that are, and need only a check."""
    name = layout.encoding
    if name is None and start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        name = "utf-16"
    if name is None:
        return None
    try:
        codec = codecs.lookup(name)
    except LookupError as error:
        raise UnreadableFile(f"{path}: encoding {name} is unknown. Try utf-8, cp1252 or utf-16.") from error
    return None if codec.name == "utf-8" else codec.incrementaldecoder()


def _to_utf8(path: Path, decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bytes:
    try:
        return decoder.decode(block, final).encode()
    except UnicodeError as error:
        raise UnreadableFile(
            f"{path} does not match its encoding: {error}. State another one with --encoding."
        ) from error


def _csv_chunks(rest: bytes, blocks: Iterator[bytes], width: int, separator: str) -> Iterator[FileChunk]:
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
    if table.num_rows + len(invalid) != len(filled):  # a stray quote has joined lines
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
    """Parse line by line where a block has a broken line, so that it does not affect the others."""
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
