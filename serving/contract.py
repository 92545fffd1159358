"""The endpoint's contract: columns of requests and answers, their limits, one signature, one example.

A request is refused as a whole with `BadRequest`, a single row with its `error`. Bodies are read by
`serving.http.request_bodies`, rows by `serving.scoring.request_rows`, answers are made by
`serving.scoring.fleet_scoring`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from pydantic import Field

from training.errors import DataError
from training.reasons import Reason
from training.settings import Settings

TEXT, NUMBER, FLAG = DataType.string, DataType.double, DataType.boolean

COLUMNS_IN = {"sensor_id": TEXT, "timestamp": TEXT, "value": NUMBER}
COLUMNS_OUT = {
    "sensor_id": TEXT,
    "timestamp": TEXT,
    "value": NUMBER,
    "anomaly_score": NUMBER,
    "is_anomaly": FLAG,
    "severity": TEXT,
    "threshold": NUMBER,
    "expected": NUMBER,
    "lower": NUMBER,
    "upper": NUMBER,
    "historical_average": NUMBER,
    "historical_std": NUMBER,
    "reason": TEXT,
    "detector_version": TEXT,
    "forecaster_version": TEXT,
    "error": TEXT,
}
PARAMS = {"horizon": 0}

SIGNATURE = ModelSignature(
    # A row without a value is forecast at its time.
    inputs=Schema([ColSpec(kind, name, required=name != "value") for name, kind in COLUMNS_IN.items()]),
    outputs=Schema([ColSpec(kind, name, required=False) for name, kind in COLUMNS_OUT.items()]),
    params=ParamSchema([ParamSpec("horizon", DataType.long, PARAMS["horizon"])]),
)

EXAMPLE = [
    {"sensor_id": "PT-1001", "timestamp": "2026-01-31T23:00:00Z", "value": 101.3},
    {"sensor_id": "PT-1001", "timestamp": "2026-02-01T00:00:00Z", "value": None},
]


class Limits(Settings, file="serving", section="limits"):
    """Limits of one request and of the requests in one process."""

    rows: int = Field(10_000, ge=1, le=1_000_000, description="rows in one request")
    horizon: int = Field(1_000, ge=0, le=50_000, description="steps ahead in one request")
    answer_rows: int = Field(100_000, ge=1, description="rows of one answer: request rows plus steps ahead")
    body_bytes: int = Field(8 * 2**20, ge=1_000, description="bytes of a request's body")
    seconds: float = Field(30.0, gt=0, description="seconds after which a request is answered with 503")
    at_once: int = Field(4, ge=1, description="requests processed at the same time in one process")
    waiting: int = Field(64, ge=0, description="requests that may wait for their turn in one process")


class BadRequest(DataError):
    """A request that is refused as a whole, with its HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class PredictionRequest:
    """The rows of a request: one entry per row in each column, None for a missing value."""

    sensor_ids: Sequence[Any]
    timestamps: Sequence[Any]
    values: Sequence[Any]
    horizon: int = 0

    def __len__(self) -> int:
        return len(self.sensor_ids)


@dataclass(frozen=True)
class PredictionResponse:
    """The answer: one list per column, with one entry per request row, then one per step ahead."""

    columns: dict[str, list[Any]]
    seconds: list[float]  # the time of each row, in seconds since 1970; NaN where it has none
    reasons: list[tuple[Reason, ...]]  # of each row, why its score is high and what was unreachable
    origins: dict[str, float]  # by sensor, the time of the newest reading its forecast has used
    notes: tuple[Reason, ...] = ()  # what was unreachable
    # By row, the limit that its reading has reached: shown in `severity` and `reason` before the score's.
    limits: dict[int, Reason] = field(default_factory=dict)

    def records(self) -> list[dict[str, Any]]:
        """One object per row."""
        names = tuple(self.columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]


def request_from_frame(
    frame: pd.DataFrame, params: dict[str, Any] | None, limits: Limits
) -> PredictionRequest:
    """A request from a frame and parameters, as MLflow's scoring server passes them.

    Raises:
        BadRequest: a limit is exceeded, or the horizon is invalid.
    """
    columns = {
        name: [None if is_missing(entry) else entry for entry in frame[name].tolist()]
        if name in frame
        else [None] * len(frame)
        for name in COLUMNS_IN
    }
    horizon = (params or {}).get("horizon", PARAMS["horizon"])
    request = PredictionRequest(
        columns["sensor_id"], columns["timestamp"], columns["value"], validate_horizon(horizon, limits)
    )
    check_size(request, limits)
    return request


def is_missing(entry: Any) -> bool:
    """Whether an entry of a frame is missing: None, NaN, NaT or NA."""
    return entry is None or entry is pd.NA or bool(entry != entry)  # noqa: PLR0124


def validate_horizon(value: Any, limits: Limits) -> int:
    """The requested number of steps ahead.

    Raises:
        BadRequest: it is not a whole number, negative or above the limit.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON, 24.0 is a whole number
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(
            f"params.horizon is {abbreviate(value)}; expected a whole number of steps, such as 24."
        )
    if value < 0:
        raise BadRequest(f"params.horizon is {value}; the minimum is 0.")
    if value > limits.horizon:
        raise BadRequest(f"params.horizon is {value}; the maximum is {limits.horizon} steps.")
    return value


def check_size(request: PredictionRequest, limits: Limits) -> None:
    """Refuse a request or an answer of too many rows.

    Raises:
        BadRequest: with status 413.
    """
    if len(request) > limits.rows:
        raise BadRequest(
            f"The request has {len(request):,} rows; the maximum is {limits.rows:,}. Split the request.",
            413,
        )
    if request.horizon:
        sensors = len({sensor_id for sensor_id in request.sensor_ids if isinstance(sensor_id, str)})
        rows = len(request) + sensors * request.horizon
        if rows > limits.answer_rows:
            raise BadRequest(
                f"The answer would have {rows:,} rows ({request.horizon} steps ahead of {sensors} sensors); "
                f"the maximum is {limits.answer_rows:,}. Split the request.",
                413,
            )


def abbreviate(value: Any) -> str:
    """A value of a request, short enough for an error message.

    >>> abbreviate("x" * 99)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    text = repr(value[:60]) if isinstance(value, str) else repr(value)
    if len(text) <= 42:
        return text
    return text[:38] + ("...'" if isinstance(value, str) else "...")
