"""Every error that the platform raises on purpose, and the handling of files that cannot be written.

SafePlanError
├── ConfigurationError     a setting, a sensors file or a command line is wrong (exit code 2)
│   └── UnwritableFile     a file that a command should write cannot be written
├── DataError              readings cannot be used as they are
│   ├── UnreadableFile     a file is not a table of readings
│   ├── UnknownSensor      no sensor has this id or matches this glob (exit code 2)
│   └── NotTrainable       a sensor has too few good readings
├── BadArchive             a backup was altered, truncated or written by another program
├── StoreError             the database is unreachable, locked, read-only or of another schema
└── RegistryError          MLflow is unreachable or refused a request
    ├── NoChampion         a sensor has no version with this alias
    ├── UntrustedModel     a model file was altered, truncated or contains a type that is not allowed
    └── GateRefused        the gate refused the version (exit code 3)

A message states what happened, with the value, and what to do next. Passwords in addresses are masked,
because messages repeat what libraries report about an address.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = re.compile(r"(://[^\s/:@]*)(:[^\s/]*)?@")


def without_passwords(text: str) -> str:
    """The text with `user:***@` for `user:password@` in every address.

    >>> without_passwords("no answer from http://admin:secret@mlflow:5000/api, twice")
    'no answer from http://admin:***@mlflow:5000/api, twice'
    """
    return PASSWORD.sub(r"\1:***@", text)


class SafePlanError(Exception):
    """Base class of all errors of the platform."""

    def __str__(self) -> str:
        return without_passwords(super().__str__())


class ConfigurationError(SafePlanError):
    """A setting, a sensors file or a command line is wrong."""


class UnwritableFile(ConfigurationError):
    """A file that a command should write cannot be written: no such folder, no permission, disk full."""


class DataError(SafePlanError):
    """Readings cannot be used as they are."""


class UnreadableFile(DataError):
    """A file is not a table of readings."""


class UnknownSensor(DataError):
    """No sensor has this id, or none matches this glob."""


class NotTrainable(DataError):
    """A sensor has too few good readings for a model; the message gives the reason."""


class BadArchive(SafePlanError):
    """A backup was altered, truncated or written by another program."""


class StoreError(SafePlanError):
    """The database is unreachable, locked, read-only or of another schema."""


class RegistryError(SafePlanError):
    """MLflow is unreachable or refused a request."""


class NoChampion(RegistryError):
    """No version of this model has the alias."""


class UntrustedModel(RegistryError):
    """A model file was altered, truncated, or contains a type that is not on the allow-list."""


class GateRefused(RegistryError):
    """The gate refused the version, so it is not promoted."""


@contextmanager
def write_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError while `path` is written into UnwritableFile; `what` is the subject of its message.

    Raises:
        UnwritableFile: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UnwritableFile(
            f"{what} cannot be written to {path}: {error.strerror or error}. "
            "Choose another path, or free disk space, and repeat the command."
        ) from error
