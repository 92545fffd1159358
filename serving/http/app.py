"""`POST /invocations` and its neighbours: the HTTP app around the fleet's service.

Knows paths, limits of time and size, and turns. Leaves tokens and the log to `guard`, what a body means to
`bodies`, answers to `scoring`, processes and addresses to `running`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
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

GAUGE_UPDATE_SECONDS = 5.0  # between two looks at what the gauges show
BODY_TIMEOUT_SECONDS = 10.0  # a body that takes longer to arrive is given up


class RequestHandler:
    """Takes requests in, hands them to threads, and counts what becomes of them."""

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
        rows, wrong = self.metrics.count_rows(answer)
        request.state.told.update(rows=rows, row_errors=wrong)
        headers = {"SafePlan-Note": "; ".join(answer.notes)} if answer.notes else {}
        return Response(content, media_type="application/json", headers=headers)

    def render_metrics(self) -> bytes:
        """All metrics, as they are now."""
        self._update_metrics()
        return self.metrics.text()

    async def update_metrics_forever(self) -> None:
        """Look now and then: of several workers one is asked for metrics, which are those of all."""
        while True:
            await asyncio.to_thread(self._update_metrics)
            await asyncio.sleep(GAUGE_UPDATE_SECONDS)

    def close(self) -> None:
        """Finish what was taken in."""
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
                f"{self._open_requests} requests are being answered or waiting. Try again soon.", 503
            )
        self._open_requests += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work, body)
        future.add_done_callback(self._release)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.seconds)
        except TimeoutError as error:
            raise BadRequest(
                f"There was no answer within {self.limits.seconds:g} s. Ask for less.", 503
            ) from error

    def _release(self, future: "asyncio.Future[Any]") -> None:
        self._open_requests -= 1
        if not future.cancelled():
            future.exception()  # looked at: where the request has given up, nobody else does


def create_app(
    service: FleetService, tokens: Tokens, prediction_queue: PredictionQueue | None = None
) -> FastAPI:
    """The app around a service that was started; closing it finishes what was taken in."""
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
    app.state.desk = handler
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
        """Score the rows that have a value, forecast the others, and look `horizon` steps ahead."""
        return await handler.invoke(request)

    @app.get("/models", openapi_extra=secured, responses=MODELS_RESPONSES | error_responses(401))
    async def models() -> Response:
        """Which version serves each sensor in memory, since when, and which were refused and why."""
        return Response(to_json(describe_serving(service)), media_type="application/json")

    @app.get("/metrics", openapi_extra=secured, responses=METRICS_RESPONSES | error_responses(401))
    async def metrics() -> Response:
        """What Prometheus reads."""
        return Response(
            await asyncio.to_thread(handler.render_metrics), media_type="text/plain; version=0.0.4"
        )

    @app.get("/health", responses=HEALTH_RESPONSES)
    async def health(request: Request) -> Response:
        """Alive; with a token also what is out of reach, and why."""
        troubles = service.unreachable_parts()
        content: dict[str, Any] = {"status": "degraded" if troubles else "ok"}
        if handler.tokens.is_allowed(request.headers.get("authorization")):
            content["out_of_reach"] = troubles
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
        """What MLflow's own server answers to the same."""
        return Response("\n", media_type="application/json")


def describe_serving(service: FleetService) -> dict[str, Any]:
    """The models in memory and those refused, as plain values."""
    loaded = [
        {
            "sensor_id": one.version.sensor_id,
            "kind": one.version.kind.value,
            "model": one.version.name,
            "version": one.version.number,
            "since": one.since.isoformat(timespec="seconds"),
            "trained_until": one.version.tags.get("train_end"),
        }
        for one in service.champions.loaded().values()
    ]
    refused = [
        {"model": uri, "why": why} for uri, why in sorted(service.champions.event_counts.refused.items())
    ]
    return {"models": sorted(loaded, key=lambda one: (one["sensor_id"], one["kind"])), "refused": refused}
