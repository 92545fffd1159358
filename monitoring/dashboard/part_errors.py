"""Errors of one part of the page: the text that its reader sees, and the log entry of an unexpected one.

Expected errors (a database, registry or settings file that cannot be used) describe themselves. Drawing a
part and what is drawn in its place is in `url_state`.
"""

import logging

from training.errors import SafePlanError, without_passwords

log = logging.getLogger("safeplan.page")

UNEXPECTED = "Unexpected error"  # begins the text of an error that no part of the platform raises on purpose

_logged_errors: dict[str, str] = {}  # the last unexpected error of each part


def describe_error(error: Exception, part: str) -> str:
    """An error in one line, without passwords.

    An unexpected one is logged with its traceback, once as long as it lasts: parts are redrawn every few
    seconds for every reader.
    """
    if isinstance(error, SafePlanError):
        return str(error)
    first_line = str(error).strip().split("\n")[0]
    text = without_passwords(f"{UNEXPECTED}: {type(error).__name__}: {first_line}")
    if _logged_errors.get(part) != text:
        _logged_errors[part] = text
        log.error("%s failed: %s", part, text, exc_info=error)
    return text


def forget_error(part: str) -> None:
    """Log the next unexpected error of a part, which has just been drawn, whatever it is."""
    _logged_errors.pop(part, None)
