"""An archive: a ZIP whose members are hashed on their way in and held to their hashes on the way out.

Knows bytes and names. Knows nothing of what the members mean.
"""

import hashlib
import json
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from training.errors import BadArchive

CHUNK_BYTES = 1 << 20
# What reading a damaged archive raises; an altered header may even claim encryption or another compression.
DAMAGE_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
COMPRESSED_SUFFIXES = frozenset(
    {".parquet", ".skops", ".png", ".gz", ".zip"}
)  # deflating these again gains nothing


class ArchiveWriter:
    """Writes members, remembering the SHA-256 of each in `digests`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[str, str] = {}
        self._zip = zipfile.ZipFile(path, "w", allowZip64=True)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the table of contents; nothing can be added afterwards."""
        self._zip.close()

    def add(self, name: str, source: Path) -> None:
        """A file's bytes under a name."""
        with source.open("rb") as file:
            self._write(name, iter(lambda: file.read(CHUNK_BYTES), b""))

    def add_text(self, name: str, content: str) -> None:
        """A text under a name."""
        self._write(name, iter([content.encode()]))

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        entry = zipfile.ZipInfo(name)
        packed = PurePosixPath(name).suffix in COMPRESSED_SUFFIXES
        entry.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        digest = hashlib.sha256()
        with self._zip.open(entry, "w", force_zip64=True) as member:
            for chunk in chunks:
                digest.update(chunk)
                member.write(chunk)
        self.digests[name] = digest.hexdigest()


class ArchiveReader:
    """Reads members that are what they were.

    Raises:
        BadArchive: the file is no ZIP, was cut short, or a member is not what was written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise BadArchive(f"There is no file {path}.") from None
        except DAMAGE_ERRORS as error:
            raise BadArchive(f"{path} is no archive of safeplan, or was cut short: {error}.") from error

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def json(self, name: str) -> dict[str, Any]:
        """A member that holds one JSON object."""
        try:
            content = json.loads(self._zip.read(name))
        except (KeyError, ValueError, *DAMAGE_ERRORS) as error:
            # Cut short behind a model's file, which is a ZIP itself, it may look like a whole one.
            raise BadArchive(
                f"{self.path} is no archive of safeplan, or was cut short: {name}: {error}."
            ) from error
        if not isinstance(content, dict):
            raise BadArchive(f"{self.path} is no archive of safeplan: {name} holds no object.")
        return content

    def verify(self, digests: Mapping[str, str]) -> None:
        """Hold every member to its SHA-256, and the names to those that were written."""
        extra = set(self._zip.namelist()) - set(digests) - {"manifest.json"}
        missing = set(digests) - set(self._zip.namelist())
        if extra or missing:
            raise BadArchive(
                f"{self.path} was altered: {len(extra)} members too many, {len(missing)} missing "
                f"({', '.join(sorted(extra | missing)[:3])}). Take another archive."
            )
        for name, expected in digests.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise BadArchive(
                    f"{self.path} holds {name!r}, a name that leads outside. Take another archive."
                )
            if self._digest(name) != expected:
                raise BadArchive(
                    f"{self.path} was altered: {name} is not what was written. Take another archive."
                )

    def extract(self, prefix: str, folder: Path) -> None:
        """Write the members below a prefix into a folder, under their own names."""
        for name in self._zip.namelist():
            if name.startswith(prefix):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self.extract_one(name, target)

    def extract_one(self, name: str, target: Path) -> None:
        """Write one member's bytes into a file."""
        with self._zip.open(name) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, CHUNK_BYTES)

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        try:
            with self._zip.open(name) as member:
                while chunk := member.read(CHUNK_BYTES):
                    digest.update(chunk)
        except DAMAGE_ERRORS as error:
            raise BadArchive(f"{self.path} is damaged: {name}: {error}. Take another archive.") from error
        return digest.hexdigest()
