"""Who may use the endpoint: bearer tokens from a file or the environment, several at once for rotation.

Knows how tokens are read and compared. Tells nobody which ones there are.
"""

import hashlib
import hmac
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from training.errors import ConfigurationError

SHORTEST = 16  # characters; less can be guessed
VARIABLE = "SAFEPLAN_TOKENS"


class Tokens:
    """The tokens that are valid now; a changed file counts from the next request on."""

    def __init__(self, *, file: Path | None = None, given: str = "") -> None:
        self.file = file
        self._given = _digests(given.replace(",", "\n"), VARIABLE)
        self._read: tuple[float, int] | None = None
        self._from_file: list[bytes] = []
        if file is not None:
            self._renew(file)

    @classmethod
    def from_environment(cls, file: Path | None, environ: Mapping[str, str] | None = None) -> "Tokens":
        """The tokens of a file, and those of `SAFEPLAN_TOKENS`, apart by blanks, commas or lines."""
        environ = os.environ if environ is None else environ
        return cls(file=file, given=environ.get(VARIABLE, "").replace(" ", "\n"))

    def __bool__(self) -> bool:
        return self.file is not None or bool(self._given)

    def allow(self, authorization: str | None) -> bool:
        """Whether an Authorization header carries a valid token, in the same time whichever it is."""
        if not self:
            return True
        if self.file is not None:
            self._renew(self.file)
        scheme, _, token = (authorization or "").partition(" ")
        offered = hashlib.sha256(token.strip().encode("utf-8", "surrogateescape")).digest()
        # All are compared, always: the time taken says nothing of which one came near.
        found = [hmac.compare_digest(offered, one) for one in (*self._given, *self._from_file)]
        return scheme.lower() == "bearer" and any(found)

    def _renew(self, file: Path) -> None:
        try:
            found = file.stat()
            seen = (found.st_mtime, found.st_size)
            if seen == self._read:
                return
            if stat.S_IMODE(found.st_mode) & stat.S_IROTH:
                raise ConfigurationError(f"{file} can be read by everybody. Run: chmod o-r {file}")
            digests = _digests(file.read_text(encoding="utf-8"), str(file))
        except OSError as error:
            if self._read is None:
                raise ConfigurationError(f"The tokens in {file} cannot be read: {error.strerror}.") from error
            return  # being replaced: those read before still count
        if not digests:
            raise ConfigurationError(
                f"{file} holds no token. Write one a line, such as: openssl rand -hex 32"
            )
        self._from_file, self._read = digests, seen


def _digests(text: str, origin: str) -> list[bytes]:
    tokens = [line.strip() for line in text.splitlines()]
    tokens = [token for token in tokens if token and not token.startswith("#")]
    if any(len(token) < SHORTEST for token in tokens):
        raise ConfigurationError(
            f"{origin} holds a token of less than {SHORTEST} characters. Make one with: openssl rand -hex 32"
        )
    return [hashlib.sha256(token.encode()).digest() for token in tokens]
