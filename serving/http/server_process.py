"""Run `safeplan serve`: check the address, start the worker processes and set up logging.

Workers read their settings from the environment that they inherit. The app is in `app`.
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
from serving.http.process_tuning import exclude_models_from_gc, tune_server_process
from serving.http.tokens import Tokens
from serving.predictions.store import PredictionStore
from serving.predictions.write_queue import PredictionQueue, PredictionQueueSettings
from serving.scoring.fleet_service import FleetService
from training.errors import ConfigurationError
from training.settings import Settings, load_settings
from training.workspace import Workspace

SHUTDOWN_SECONDS = 30  # for the requests in progress


class ServerSettings(Settings, file="serving", section="server"):
    """Address, processes and access of the endpoint."""

    host: str = Field("127.0.0.1", description="address; another than this machine's needs a token")
    port: int = Field(8080, ge=0, le=65_535, description="TCP port; 0 for any free one")
    workers: int = Field(1, ge=1, le=64, description="processes; each has its own copy of the models")
    tokens: Path | None = Field(None, description="file of bearer tokens, one per line")
    allow_everyone: bool = Field(False, description="accept requests from other machines without a token")
    warm_up: bool = Field(True, description="load all champions at the start, while answering")


class JsonLogFormatter(logging.Formatter):
    """Formats one JSON object per line; no field holds content of a request."""

    FIELDS = ("request", "method", "path", "status", "ms", "rows", "row_errors")

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "from": record.name,
            "said": record.getMessage(),  # quoted
            **{name: getattr(record, name) for name in self.FIELDS if hasattr(record, name)},
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def serve(settings: ServerSettings) -> None:
    """Serve until a signal ends it; then finish the requests in progress.

    Raises:
        ConfigurationError: other machines could reach it without a token, and `allow_everyone` is not set.
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
    """A folder through which several workers combine their metrics; a single one needs none."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="safeplan-metrics-") as folder:
        os.environ[MULTIPROCESS_DIR_VARIABLE] = folder
        yield


def check_address(settings: ServerSettings, tokens: Tokens) -> None:
    """Refuse an address that other machines reach without a token, unless `allow_everyone` is set.

    Raises:
        ConfigurationError: the address is refused.
    """
    if tokens or settings.allow_everyone or is_loopback(settings.host):
        return
    raise ConfigurationError(
        f"Without a token the endpoint listens on this machine only, not on {settings.host}. Configure "
        "tokens (--tokens FILE or SAFEPLAN_TOKENS), or pass --allow-everyone if anyone who can reach it may "
        "use it."
    )


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine.

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
    """The app of one worker process, from its settings and environment."""
    log_to_stderr()
    tune_server_process()
    settings, workspace = load_settings(ServerSettings), Workspace.here()
    service = FleetService(workspace)
    queue = None
    if (queue_settings := load_settings(PredictionQueueSettings)).keep:
        leftover = workspace.home / ".safeplan" / "predictions"
        queue = PredictionQueue(lambda: PredictionStore(workspace.engine), queue_settings, leftover=leftover)
        queue.start()
    service.start(warm_up=settings.warm_up, when_warm=exclude_models_from_gc)
    return create_app(service, Tokens.from_environment(settings.tokens), queue)


def log_to_stderr() -> None:
    """Log JSON lines to stderr, those of uvicorn included."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    for name in ("safeplan", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
