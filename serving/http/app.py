"""The HTTP app around the fleet's service: `POST /invocations` and the paths for health, models and metrics.

Limits the size, time and number of concurrent requests. Tokens and logging are in `auth_middleware`, bodies
in `request_bodies`, answers in `serving.scoring.fleet_scoring`, processes and addresses in `server_process`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from serving.contract import BadRequest, PredictionResponse
from serving.http.auth_middleware import AuthMiddleware, handle_bad_request, handle_http_exception
from serving.http.metrics import Metrics
from serving.http.openapi import (
    DESCRIPTION,
    HEALTH_RESPONSES,
    METRICS_RESPONSES,
    MODELS_RESPONSES,
    NOTE_HEADER,
    READY_RESPONSES,
    SECURITY_SCHEMES,
    TOKEN_SECURITY,
    error_responses,
    invocations_spec,
)
from serving.http.request_bodies import check_content_type, parse_body, to_json
from serving.http.tokens import Tokens
from serving.predictions.write_queue import PredictionQueue
from serving.scoring.fleet_service import FleetService
from training.reasons import render_all

GAUGE_UPDATE_SECONDS = 5.0  # between two updates of the gauges
BODY_TIMEOUT_SECONDS = 10.0  # for a body to arrive


class HealthState(StrEnum):
    """The status that `/health` reports."""

    OK = "ok"
    DEGRADED = "degraded"


class RequestHandler:
    """Reads requests, has threads answer them, and counts rows."""

    def __init__(
        self,
        service: FleetService,
        tokens: Tokens,
        metrics: Metrics,
        prediction_queue: PredictionQueue | None,
    ) -> None:
        self.service = service
        self.tokens = tokens
        self.metrics = metrics
        self.prediction_queue = prediction_queue
        self.limits = service.limits
        self._threads = ThreadPoolExecutor(self.limits.at_once, thread_name_prefix="scoring")
        self._open_requests = 0

    async def invoke(self, request: Request) -> Response:
        """Answer one request of rows."""
        check_content_type(request.headers.get("content-type"))
        body = await self._read_body(request)
        answer, content = await self._run_limited(self._score_body, body)
        rows, row_errors = self.metrics.count_rows(answer)
        request.state.log_fields.update(rows=rows, row_errors=row_errors)
        headers = {NOTE_HEADER: render_all(answer.notes)} if answer.notes else {}
        return Response(content, media_type="application/json", headers=headers)

    def render_metrics(self) -> bytes:
        """All metrics with current gauges."""
        self._update_metrics()
        return self.metrics.text()

    async def update_metrics_forever(self) -> None:
        """Update the gauges regularly: a scrape reaches one of several workers and returns those of all."""
        while True:
            await asyncio.to_thread(self._update_metrics)
            await asyncio.sleep(GAUGE_UPDATE_SECONDS)

    def close(self) -> None:
        """Finish the requests in progress, then close queue, service and metrics."""
        self._threads.shutdown(wait=True)
        if self.prediction_queue is not None:
            self.prediction_queue.close()
        self.service.close()
        self.metrics.close()

    def _update_metrics(self) -> None:
        self.metrics.update_gauges(
            self.service, self.prediction_queue.counts if self.prediction_queue else {}
        )

    def _score_body(self, body: bytes) -> tuple[PredictionResponse, bytes]:
        answer = self.service.scorer.answer(parse_body(body, self.limits))
        if self.prediction_queue is not None:
            self.prediction_queue.take(answer)
        return answer, to_json({"predictions": answer.records()})

    async def _read_body(self, request: Request) -> bytes:
        max_bytes = self.limits.body_bytes
        too_large = BadRequest(f"The body has more than {max_bytes:,} bytes. Split the request.", 413)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    if size > max_bytes:
                        raise too_large
                    parts.append(part)
        except TimeoutError as error:
            raise BadRequest(f"The body did not arrive within {BODY_TIMEOUT_SECONDS:g} s.", 408) from error
        return b"".join(parts)

    async def _run_limited(self, work: Callable[[bytes], Any], body: bytes) -> Any:
        if self._open_requests >= self.limits.at_once + self.limits.waiting:
            raise BadRequest(
                f"{self._open_requests} requests are in progress or waiting. Try again later.", 503
            )
        self._open_requests += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, body)
        future.add_done_callback(self._release)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.seconds)
        except TimeoutError as error:
            raise BadRequest(
                f"No answer within {self.limits.seconds:g} s. Send fewer rows or steps.", 503
            ) from error

    def _release(self, future: "asyncio.Future[Any]") -> None:
        self._open_requests -= 1
        if not future.cancelled():
            future.exception()  # marks it as retrieved: after a timeout nobody else reads it


def create_app(
    service: FleetService, tokens: Tokens, prediction_queue: PredictionQueue | None = None
) -> FastAPI:
    """The app around a started service; its shutdown finishes the requests in progress."""
    handler = RequestHandler(service, tokens, Metrics(), prediction_queue)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        update_task = asyncio.create_task(handler.update_metrics_forever())
        yield
        update_task.cancel()
        await asyncio.to_thread(handler.close)

    app = FastAPI(
        title="SafePlan ML",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.exception_handler(BadRequest)(handle_bad_request)
    app.exception_handler(HTTPException)(handle_http_exception)
    _add_routes(app, handler, TOKEN_SECURITY if tokens else {})
    paths = frozenset(route.path for route in app.routes if isinstance(route, Route))
    app.add_middleware(AuthMiddleware, tokens=tokens, metrics=handler.metrics, paths=paths)
    app.openapi().setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
    return app


def _add_routes(app: FastAPI, handler: RequestHandler, secured: dict[str, Any]) -> None:
    service = handler.service

    @app.post(
        "/invocations",
        openapi_extra=invocations_spec(handler.limits) | secured,
        responses=error_responses(400, 401, 408, 413, 415, 500, 503),
    )
    async def invocations(request: Request) -> Response:
        """Score the rows that have a value, forecast the others, and append the next `horizon` steps."""
        return await handler.invoke(request)

    @app.get("/models", openapi_extra=secured, responses=MODELS_RESPONSES | error_responses(401))
    async def models() -> Response:
        """The version that serves each sensor in memory, and the refused versions with their errors."""
        return Response(to_json(describe_serving(service)), media_type="application/json")

    @app.get("/metrics", openapi_extra=secured, responses=METRICS_RESPONSES | error_responses(401))
    async def metrics() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(
            await asyncio.to_thread(handler.render_metrics), media_type="text/plain; version=0.0.4"
        )

    @app.get("/health", responses=HEALTH_RESPONSES)
    async def health(request: Request) -> Response:
        """Liveness; with a token also which dependencies are unreachable, and their errors."""
        unreachable = service.unreachable_parts()
        content: dict[str, Any] = {"status": HealthState.DEGRADED if unreachable else HealthState.OK}
        if handler.tokens.is_allowed(request.headers.get("authorization")):
            content["out_of_reach"] = unreachable
            content["predictions"] = handler.prediction_queue.counts if handler.prediction_queue else None
        return Response(to_json(content), media_type="application/json")

    @app.get("/ready", responses=READY_RESPONSES | error_responses(503))
    async def ready() -> Response:
        """Whether there is a champion to serve."""
        if not service.champions.keys_with_champion():
            raise BadRequest("No sensor has a champion yet. Run: safeplan train", 503)
        return Response(to_json({"status": "ready", "warm": service.warm}), media_type="application/json")

    @app.get("/ping", include_in_schema=False)
    async def ping() -> Response:
        """The same answer as MLflow's own server."""
        return Response("\n", media_type="application/json")


def describe_serving(service: FleetService) -> dict[str, Any]:
    """The models in memory and the refused versions, as plain values."""
    loaded = [
        {
            "sensor_id": serving.version.sensor_id,
            "kind": serving.version.kind.value,
            "model": serving.version.name,
            "version": serving.version.number,
            "since": serving.since.isoformat(timespec="seconds"),
            "trained_until": serving.version.tags.get("train_end"),
        }
        for serving in service.champions.loaded().values()
    ]
    refused = [
        {"model": uri, "why": error} for uri, error in sorted(service.champions.event_counts.refused.items())
    ]
    return {"models": sorted(loaded, key=lambda row: (row["sensor_id"], row["kind"])), "refused": refused}
