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

from serving.contract import Answer, BadRequest
from serving.http.auth_middleware import Guard, of_bad_request, of_starlette
from serving.http.metrics import Metrics
from serving.http.openapi import (
    DESCRIPTION,
    HEALTH,
    METRICS_TEXT,
    MODELS,
    READY,
    SCHEMES,
    SECURED,
    errors,
    invocations_of,
)
from serving.http.request_bodies import as_json, check_content_type, read_body
from serving.http.tokens import Tokens
from serving.predictions.write_queue import KeptPredictions
from serving.scoring.fleet_service import FleetService

LOOK_SECONDS = 5.0  # between two looks at what the gauges show
BODY_SECONDS = 10.0  # a body that takes longer to arrive is given up


class Desk:
    """Takes requests in, hands them to threads, and counts what becomes of them."""

    def __init__(
        self, service: FleetService, tokens: Tokens, metrics: Metrics, keeper: KeptPredictions | None
    ) -> None:
        self.service = service
        self.tokens = tokens
        self.metrics = metrics
        self.keeper = keeper
        self.limits = service.limits
        self._threads = ThreadPoolExecutor(self.limits.at_once, thread_name_prefix="scoring")
        self._open = 0

    async def invoke(self, request: Request) -> Response:
        """Answer one request of rows."""
        check_content_type(request.headers.get("content-type"))
        body = await self._body(request)
        answer, content = await self._in_turn(self._answered, body)
        rows, wrong = self.metrics.answered(answer)
        request.state.told.update(rows=rows, row_errors=wrong)
        headers = {"SafePlan-Note": "; ".join(answer.notes)} if answer.notes else {}
        return Response(content, media_type="application/json", headers=headers)

    def observe(self) -> bytes:
        """All metrics, as they are now."""
        self._look()
        return self.metrics.text()

    async def keep_looking(self) -> None:
        """Look now and then: of several workers one is asked for metrics, which are those of all."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """Finish what was taken in."""
        self._threads.shutdown(wait=True)
        if self.keeper is not None:
            self.keeper.close()
        self.service.close()
        self.metrics.close()

    def _look(self) -> None:
        self.metrics.look(self.service, self.keeper.counts if self.keeper else {})

    def _answered(self, body: bytes) -> tuple[Answer, bytes]:
        answer = self.service.scorer.answer(read_body(body, self.limits))
        if self.keeper is not None:
            self.keeper.take(answer)
        return answer, as_json({"predictions": answer.records()})

    async def _body(self, request: Request) -> bytes:
        most = self.limits.body_bytes
        too_large = BadRequest(f"The body has more than {most:,} bytes. Split the request.", 413)
        declared = request.headers.get("content-length", "")
        if declared.isdigit() and int(declared) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for part in request.stream():
                    size += len(part)
                    if size > most:
                        raise too_large
                    parts.append(part)
        except TimeoutError as error:
            raise BadRequest(f"The body did not arrive within {BODY_SECONDS:g} s.", 408) from error
        return b"".join(parts)

    async def _in_turn(self, work: Callable[[bytes], Any], body: bytes) -> Any:
        if self._open >= self.limits.at_once + self.limits.waiting:
            raise BadRequest(f"{self._open} requests are being answered or waiting. Try again soon.", 503)
        self._open += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, work, body)
        running.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(running), self.limits.seconds)
        except TimeoutError as error:
            raise BadRequest(
                f"There was no answer within {self.limits.seconds:g} s. Ask for less.", 503
            ) from error

    def _done(self, running: "asyncio.Future[Any]") -> None:
        self._open -= 1
        if not running.cancelled():
            running.exception()  # looked at: where the request has given up, nobody else does


def create_app(service: FleetService, tokens: Tokens, keeper: KeptPredictions | None = None) -> FastAPI:
    """The app around a service that was started; closing it finishes what was taken in."""
    desk = Desk(service, tokens, Metrics(), keeper)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        looking = asyncio.create_task(desk.keep_looking())
        yield
        looking.cancel()
        await asyncio.to_thread(desk.close)

    app = FastAPI(
        title="SafePlan ML",
        description=DESCRIPTION,
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.desk = desk
    app.exception_handler(BadRequest)(of_bad_request)
    app.exception_handler(HTTPException)(of_starlette)
    _add_routes(app, desk, SECURED if tokens else {})
    paths = frozenset(route.path for route in app.routes if isinstance(route, Route))
    app.add_middleware(Guard, tokens=tokens, metrics=desk.metrics, paths=paths)
    app.openapi().setdefault("components", {})["securitySchemes"] = SCHEMES
    return app


def _add_routes(app: FastAPI, desk: Desk, secured: dict[str, Any]) -> None:
    service = desk.service

    @app.post(
        "/invocations",
        openapi_extra=invocations_of(desk.limits) | secured,
        responses=errors(400, 401, 408, 413, 415, 500, 503),
    )
    async def invocations(request: Request) -> Response:
        """Score the rows that have a value, forecast the others, and look `horizon` steps ahead."""
        return await desk.invoke(request)

    @app.get("/models", openapi_extra=secured, responses=MODELS | errors(401))
    async def models() -> Response:
        """Which version serves each sensor in memory, since when, and which were refused and why."""
        return Response(as_json(describe(service)), media_type="application/json")

    @app.get("/metrics", openapi_extra=secured, responses=METRICS_TEXT | errors(401))
    async def metrics() -> Response:
        """What Prometheus reads."""
        return Response(await asyncio.to_thread(desk.observe), media_type="text/plain; version=0.0.4")

    @app.get("/health", responses=HEALTH)
    async def health(request: Request) -> Response:
        """Alive; with a token also what is out of reach, and why."""
        troubles = service.troubles()
        content: dict[str, Any] = {"status": "degraded" if troubles else "ok"}
        if desk.tokens.allow(request.headers.get("authorization")):
            content["out_of_reach"] = troubles
            content["predictions"] = desk.keeper.counts if desk.keeper else None
        return Response(as_json(content), media_type="application/json")

    @app.get("/ready", responses=READY | errors(503))
    async def ready() -> Response:
        """Whether there is a champion to serve."""
        if not service.champions.serving():
            raise BadRequest("No sensor has a champion yet. Run: safeplan train", 503)
        return Response(as_json({"status": "ready", "warm": service.warm}), media_type="application/json")

    @app.get("/ping", include_in_schema=False)
    async def ping() -> Response:
        """What MLflow's own server answers to the same."""
        return Response("\n", media_type="application/json")


def describe(service: FleetService) -> dict[str, Any]:
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
    refused = [{"model": uri, "why": why} for uri, why in sorted(service.champions.tally.refused.items())]
    return {"models": sorted(loaded, key=lambda one: (one["sensor_id"], one["kind"])), "refused": refused}
