"""ZIP archives whose members are hashed when they are written and checked when they are read.

Does not know what the members mean; that is `training.operations.backup`.
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
# Raised by a damaged archive; an altered header may claim encryption or another compression.
DAMAGE_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError)
COMPRESSED_SUFFIXES = frozenset({".parquet", ".skops", ".png", ".gz", ".zip"})  # not deflated again


class ArchiveWriter:
    """Writes members and collects the SHA-256 of each in `digests`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digests: dict[str, str] = {}
        self._zip = zipfile.ZipFile(path, "w", allowZip64=True)

    def __enter__(self) -> "ArchiveWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write the table of contents; no member can be added afterwards."""
        self._zip.close()

    def add(self, name: str, source: Path) -> None:
        """Add a file under a name."""
        with source.open("rb") as file:
            self._write(name, iter(lambda: file.read(CHUNK_BYTES), b""))

    def add_text(self, name: str, content: str) -> None:
        """Add a text under a name."""
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
    """Reads members and checks that they are unchanged.

    Raises:
        BadArchive: the file is not a ZIP archive, is truncated, or a member was altered.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._zip = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise BadArchive(f"{path} does not exist.") from None
        except DAMAGE_ERRORS as error:
            raise BadArchive(f"{path} is not a SafePlan archive, or is truncated: {error}.") from error

    def __enter__(self) -> "ArchiveReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    def json(self, name: str) -> dict[str, Any]:
        """The JSON object that a member contains."""
        try:
            content = json.loads(self._zip.read(name))
        except (KeyError, ValueError, *DAMAGE_ERRORS) as error:
            # Truncated after the file of a model, which is a ZIP archive itself, it may look complete.
            raise BadArchive(
                f"{self.path} is not a SafePlan archive, or is truncated: {name}: {error}."
            ) from error
        if not isinstance(content, dict):
            raise BadArchive(f"{self.path} is not a SafePlan archive: {name} does not contain a JSON object.")
        return content

    def verify(self, digests: Mapping[str, str]) -> None:
        """Check the names of the members, and the SHA-256 of each."""
        extra = set(self._zip.namelist()) - set(digests) - {"manifest.json"}
        missing = set(digests) - set(self._zip.namelist())
        if extra or missing:
            raise BadArchive(
                f"{self.path} was altered: {len(extra)} unexpected members, {len(missing)} missing "
                f"({', '.join(sorted(extra | missing)[:3])}). Use another archive."
            )
        for name, expected in digests.items():
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise BadArchive(
                    f"{self.path} contains {name!r}, which leads outside the archive. Use another archive."
                )
            if self._digest(name) != expected:
                raise BadArchive(
                    f"{self.path} was altered: {name} does not match its SHA-256. Use another archive."
                )

    def extract(self, prefix: str, folder: Path) -> None:
        """Write the members whose names start with a prefix into a folder, under their names."""
        for name in self._zip.namelist():
            if name.startswith(prefix):
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self.extract_one(name, target)

    def extract_one(self, name: str, target: Path) -> None:
        """Write one member into a file."""
        with self._zip.open(name) as member, target.open("wb") as file:
            shutil.copyfileobj(member, file, CHUNK_BYTES)

    def _digest(self, name: str) -> str:
        digest = hashlib.sha256()
        try:
            with self._zip.open(name) as member:
                while chunk := member.read(CHUNK_BYTES):
                    digest.update(chunk)
        except DAMAGE_ERRORS as error:
            raise BadArchive(f"{self.path} is damaged: {name}: {error}. Use another archive.") from error
        return digest.hexdigest()
