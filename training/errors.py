"""Every error the platform raises.

SafePlanError
├── ConfigurationError     a setting, a sensors file or a command that cannot be meant (exit 2)
├── DataError              readings that cannot be used as they are
│   ├── UnreadableFile     a file that is no table of readings
│   ├── UnknownSensor      an id or glob that names no sensor
│   └── NotTrainable       a sensor without enough good readings, with the reason
├── BadArchive             a back-up that was altered, cut short or made by another program
├── StoreError             the database is away, locked, read-only or of another schema
└── RegistryError          the MLflow tracking or model registry refused or is away
    ├── NoChampion         nothing to serve for this sensor and kind
    ├── UntrustedModel     a model file that was altered, cut short or holds a foreign type
    └── GateRefused        the challenger did not earn the alias (exit 3)

Knows names, and that no message may carry a password: many repeat what a library said of an address. Each
message says what happened, with the value, and what to do next.
"""

import re

PASSWORD = re.compile(r"(://[^\s/:@]*)(:[^\s/]*)?@")


def without_passwords(text: str) -> str:
    """A text in which `user:password@` of any address has become `user:***@`.

    >>> without_passwords("no answer from http://admin:secret@mlflow:5000/api, twice")
    'no answer from http://admin:***@mlflow:5000/api, twice'
    """
    return PASSWORD.sub(r"\1:***@", text)


class SafePlanError(Exception):
    """The platform could not do what was asked."""

    def __str__(self) -> str:
        return without_passwords(super().__str__())


class ConfigurationError(SafePlanError):
    """A setting, a sensors file or a command line is wrong."""


class DataError(SafePlanError):
    """Readings cannot be used as they are."""


class UnreadableFile(DataError):
    """A file is not a table of readings."""


class UnknownSensor(DataError):
    """No sensor has this id, or none matches this glob."""


class NotTrainable(DataError):
    """A sensor's readings do not suffice for a model; the message gives the reason."""


class BadArchive(SafePlanError):
    """A back-up was altered, cut short, or is of another program."""


class StoreError(SafePlanError):
    """The database is away, locked, read-only or has another schema."""


class RegistryError(SafePlanError):
    """The MLflow tracking server or model registry refused, or is away."""


class NoChampion(RegistryError):
    """No version of this model carries the alias asked for."""


class UntrustedModel(RegistryError):
    """A model file was altered, cut short, or holds a type that is not on the allow-list."""


class GateRefused(RegistryError):
    """The challenger did not earn the champion's alias."""
