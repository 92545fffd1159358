"""`safeplan serve` as processes: where it listens, what it refuses to do unasked, how it logs.

Knows addresses, workers and the environment they inherit. Leaves the app to `server`.
"""

import ipaddress
import json
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import Field

from serving.http.app import create_app
from serving.http.metrics import MULTIPROCESS_DIR_VARIABLE
from serving.http.tokens import Tokens
from serving.predictions.store import PredictionStore
from serving.predictions.write_queue import PredictionQueue, PredictionQueueSettings
from serving.scoring.fleet_service import FleetService
from training.errors import ConfigurationError
from training.settings import Settings, load_settings
from training.workspace import Workspace

SHUTDOWN_SECONDS = 30  # for what was taken in when the end was asked for


class ServerSettings(Settings, file="serving", section="server"):
    """Where the endpoint listens, and to whom."""

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65_535)
    workers: int = Field(1, ge=1, le=64, description="processes; each holds its own copy of the models")
    tokens: Path | None = Field(None, description="a file of bearer tokens, one a line")
    allow_everyone: bool = Field(False, description="listen beyond this machine without any token")
    warm_up: bool = Field(True, description="load all champions at the start, while answering")


class JsonLogFormatter(logging.Formatter):
    """One JSON object a line; what a request carried is never among its fields."""

    FIELDS = ("request", "method", "path", "status", "ms", "rows", "row_errors")

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "said": record.getMessage(),
            **{name: getattr(record, name) for name in self.FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def serve(settings: ServerSettings) -> None:
    """Serve until asked to end; then finish what was taken in.

    Raises:
        ConfigurationError: it would listen to everyone without a token, and was not told so in plain words.
    """
    check_address(settings, Tokens.from_environment(settings.tokens))
    os.environ["SAFEPLAN_SERVER_TOKENS"] = "" if settings.tokens is None else str(settings.tokens.absolute())
    os.environ["SAFEPLAN_SERVER_WARM_UP"] = str(settings.warm_up)
    with _shared_metrics(settings.workers):
        uvicorn.run(
            "serving.http.server_process:app_of_environment",
            factory=True,
            host=settings.host,
            port=settings.port,
            workers=settings.workers,
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """A folder in which several processes add up their metrics; one alone keeps them in memory."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="safeplan-metrics-") as folder:
        os.environ[MULTIPROCESS_DIR_VARIABLE] = folder
        yield


def check_address(settings: ServerSettings, tokens: Tokens) -> None:
    """Refuse to listen beyond this machine without a token, unless told so.

    Raises:
        ConfigurationError: with what to do.
    """
    if tokens or settings.allow_everyone or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"Without a token the endpoint listens on this machine only, not on {settings.host}. Give it tokens "
        "(--tokens FILE or SAFEPLAN_TOKENS), or say --allow-everyone if anyone who can reach it may use it."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def app_of_environment() -> FastAPI:
    """The app of one worker process, as settings and environment describe it."""
    log_to_stderr()
    settings, workspace = load_settings(ServerSettings), Workspace.here()
    service = FleetService(workspace)
    queue = None
    if (queue_settings := load_settings(PredictionQueueSettings)).keep:
        leftover = workspace.home / ".safeplan" / "predictions"
        queue = PredictionQueue(lambda: PredictionStore(workspace.engine), queue_settings, leftover=leftover)
        queue.start()
    service.start(warm_up=settings.warm_up)
    return create_app(service, Tokens.from_environment(settings.tokens), queue)


def log_to_stderr() -> None:
    """Structured lines on stderr, from uvicorn too."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    for name in ("safeplan", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
