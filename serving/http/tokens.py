"""Who may do what: bearer tokens from a file or the environment, several at once for rotation.

Knows how tokens are read and compared, and whose they are. Tells nobody which ones there are.

A line is `TOKEN`, or `NAME:ROLE:TOKEN` with a role of `read`, `operate` or `promote`; each may do what those
before it may. A token without a role may do everything, and its bearer is called `token`.
"""

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from training.errors import ConfigurationError

MIN_TOKEN_LENGTH = 16  # characters; less can be guessed
TOKENS_VARIABLE = "SAFEPLAN_TOKENS"


class Role(IntEnum):
    """What a bearer may do: each may also do what those before it may."""

    READ = 1  # score, forecast, look
    OPERATE = 2  # acknowledge, shelve, give verdicts, train
    PROMOTE = 3  # move aliases


@dataclass(frozen=True)
class Caller:
    """Whose token it is, as the audit names them."""

    name: str
    role: Role

    def has_role(self, role: Role) -> bool:
        """Whether the bearer has this role, or a higher one."""
        return self.role >= role


@dataclass(frozen=True)
class _Entry:
    digest: bytes
    caller: Caller


class Tokens:
    """The tokens that are valid now; a changed file counts from the next request on."""

    def __init__(self, *, file: Path | None = None, given: str = "") -> None:
        self.file = file
        self._environment_entries = _parse_entries(given.replace(",", "\n"), TOKENS_VARIABLE)
        self._file_state: tuple[float, int] | None = None
        self._file_entries: list[_Entry] = []
        if file is not None:
            self._reload(file)

    @classmethod
    def from_environment(cls, file: Path | None, environ: Mapping[str, str] | None = None) -> "Tokens":
        """The tokens of a file, and those of `SAFEPLAN_TOKENS`, apart by blanks, commas or lines."""
        environ = os.environ if environ is None else environ
        return cls(file=file, given=environ.get(TOKENS_VARIABLE, "").replace(" ", "\n"))

    def __bool__(self) -> bool:
        return self.file is not None or bool(self._environment_entries)

    def is_allowed(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a valid token; where there are none, everyone may."""
        return not self or self.caller(authorization) is not None

    def caller(self, authorization: str | None) -> Caller | None:
        """Whose token an Authorization header carries, found in the same time whichever it is."""
        if self.file is not None:
            self._reload(self.file)
        scheme, _, token = (authorization or "").partition(" ")
        offered = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        # All are compared, always: the time taken says nothing of which one came near.
        entries = (*self._environment_entries, *self._file_entries)
        matches = [one.caller for one in entries if hmac.compare_digest(offered, one.digest)]
        return matches[0] if matches and scheme.lower() == "bearer" else None

    def _reload(self, file: Path) -> None:
        try:
            status = file.stat()
            file_state = (status.st_mtime, status.st_size)
            if file_state == self._file_state:
                return
            if stat.S_IMODE(status.st_mode) & stat.S_IROTH:
                raise ConfigurationError(f"{file} can be read by everybody. Run: chmod o-r {file}")
            entries = _parse_entries(file.read_text(encoding="utf-8"), str(file))
        except OSError as error:
            if self._file_state is None:
                raise ConfigurationError(f"The tokens in {file} cannot be read: {error.strerror}.") from error
            return  # being replaced: those read before still count
        if not entries:
            raise ConfigurationError(
                f"{file} holds no token. Write one a line, such as: openssl rand -hex 32"
            )
        self._file_entries, self._file_state = entries, file_state


def _parse_entries(text: str, origin: str) -> list[_Entry]:
    lines = [line.strip() for line in text.splitlines()]
    return [_parse_entry(line, origin) for line in lines if line and not line.startswith("#")]


def _parse_entry(line: str, origin: str) -> _Entry:
    name, role, token = "token", Role.PROMOTE.name, line
    if line.count(":") >= 2:
        name, role, token = line.split(":", 2)
    if role.upper() not in Role.__members__ or not name:
        # What was taken for a role may be a part of the token.
        raise ConfigurationError(
            f"{origin} has a line that cannot be meant. A line is TOKEN, or NAME:ROLE:TOKEN with one of the "
            "roles read, operate and promote."
        )
    if len(token) < MIN_TOKEN_LENGTH:
        raise ConfigurationError(
            f"{origin} holds a token of less than {MIN_TOKEN_LENGTH} characters. Make one with: openssl rand -hex 32"
        )
    return _Entry(hashlib.sha256(token.encode()).digest(), Caller(name, Role[role.upper()]))
