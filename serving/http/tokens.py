"""Authenticate callers by bearer tokens from a file or the environment; several are valid during a rotation.

A line is `TOKEN`, or `NAME:ROLE:TOKEN` with a role of `read`, `operate` or `promote`; each role includes
those before it. A token without a role has the role `promote`, and its caller is named `token`. No message
contains a token. Requests are checked by `auth_middleware`.
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

MIN_TOKEN_LENGTH = 16  # characters; shorter ones can be guessed
TOKENS_VARIABLE = "SAFEPLAN_TOKENS"


class Role(IntEnum):
    """A caller's permissions; each role includes those before it."""

    READ = 1  # score, forecast, view
    OPERATE = 2  # acknowledge, shelve, give verdicts, train
    PROMOTE = 3  # move aliases


@dataclass(frozen=True)
class Caller:
    """The owner of a token, as the audit log names them."""

    name: str
    role: Role

    def has_role(self, role: Role) -> bool:
        """Whether the caller has this role or a higher one."""
        return self.role >= role


@dataclass(frozen=True)
class _Entry:
    digest: str
    caller: Caller


class Tokens:
    """The valid tokens; a changed file takes effect with the next request."""

    def __init__(self, *, file: Path | None = None, given: str = "") -> None:
        self.file = file
        self._environment_entries = _parse_entries(given.replace(",", "\n"), TOKENS_VARIABLE)
        self._file_state: tuple[float, int] | None = None
        self._file_entries: list[_Entry] = []
        if file is not None:
            self._reload(file)

    @classmethod
    def from_environment(cls, file: Path | None, environ: Mapping[str, str] | None = None) -> "Tokens":
        """The tokens of a file and of `SAFEPLAN_TOKENS`, separated by spaces, commas or newlines."""
        environ = os.environ if environ is None else environ
        return cls(file=file, given=environ.get(TOKENS_VARIABLE, "").replace(" ", "\n"))

    def __bool__(self) -> bool:
        return self.file is not None or bool(self._environment_entries)

    def is_allowed(self, authorization: str | None) -> bool:
        """Whether an Authorization header holds a valid token; always, where no tokens are configured."""
        return not self or self.caller(authorization) is not None

    def caller(self, authorization: str | None) -> Caller | None:
        """The caller whose token an Authorization header holds, or None."""
        scheme, _, token = (authorization or "").partition(" ")
        caller = self.caller_of_digest(token_digest(token.strip()))
        return caller if scheme.lower() == "bearer" else None

    def caller_of_digest(self, digest: str) -> Caller | None:
        """The caller whose token has this digest, as `token_digest` returns it, or None."""
        if self.file is not None:
            self._reload(self.file)
        # Always compare with every token: the response time must not show which one matched.
        entries = (*self._environment_entries, *self._file_entries)
        matches = [one.caller for one in entries if hmac.compare_digest(digest, one.digest)]
        return matches[0] if matches else None

    def _reload(self, file: Path) -> None:
        try:
            status = file.stat()
            file_state = (status.st_mtime, status.st_size)
            if file_state == self._file_state:
                return
            if stat.S_IMODE(status.st_mode) & stat.S_IROTH:
                raise ConfigurationError(f"{file} is readable by everyone. Run: chmod o-r {file}")
            entries = _parse_entries(file.read_text(encoding="utf-8"), str(file))
        except OSError as error:
            if self._file_state is None:
                raise ConfigurationError(f"The tokens in {file} cannot be read: {error.strerror}.") from error
            return  # the file is being replaced: keep the tokens read before
        if not entries:
            raise ConfigurationError(
                f"{file} contains no token. Write one per line, for example from: openssl rand -hex 32"
            )
        self._file_entries, self._file_state = entries, file_state


def token_digest(token: str) -> str:
    """The digest by which tokens are compared and login sessions remembered."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _parse_entries(text: str, origin: str) -> list[_Entry]:
    lines = [line.strip() for line in text.splitlines()]
    return [_parse_entry(line, origin) for line in lines if line and not line.startswith("#")]


def _parse_entry(line: str, origin: str) -> _Entry:
    name, role, token = "token", Role.PROMOTE.name, line
    if line.count(":") >= 2:
        name, role, token = line.split(":", 2)
    if role.upper() not in Role.__members__ or not name:
        # The message must not show the role: it may be a part of a token.
        raise ConfigurationError(
            f"{origin} has an invalid line. A line is TOKEN, or NAME:ROLE:TOKEN with one of the roles read, "
            "operate and promote."
        )
    if len(token) < MIN_TOKEN_LENGTH:
        raise ConfigurationError(
            f"{origin} contains a token of less than {MIN_TOKEN_LENGTH} characters. Create one with: "
            "openssl rand -hex 32"
        )
    return _Entry(token_digest(token), Caller(name, Role[role.upper()]))
