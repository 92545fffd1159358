"""What the endpoint takes and gives: columns in, columns out, one signature, one example.

Knows names and types, and the two ways to say no: `BadRequest` for a whole request, a row's `error` for a
row. Leaves bodies to `bodies`, what a row means to `rows`, and answers to `scoring`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
from pydantic import Field

from training.errors import DataError
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
    """How much one request may ask for."""

    rows: int = Field(10_000, ge=1, le=1_000_000, description="rows posted in one request")
    horizon: int = Field(1_000, ge=0, le=50_000, description="steps ahead")
    answer_rows: int = Field(100_000, ge=1, description="rows posted plus steps ahead of all sensors named")
    body_bytes: int = Field(8 * 2**20, ge=1_000)
    seconds: float = Field(30.0, gt=0, description="until an answer is given up")
    at_once: int = Field(4, ge=1, description="requests scored at the same time in one process")
    waiting: int = Field(64, ge=0, description="requests that may wait for their turn in one process")


class BadRequest(DataError):
    """A request that cannot be answered as a whole, with the HTTP status that says so."""

    def __init__(self, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class PredictionRequest:
    """A request as it was posted: one entry a row in each column, None where a row does not say."""

    sensor_ids: Sequence[Any]
    timestamps: Sequence[Any]
    values: Sequence[Any]
    horizon: int = 0

    def __len__(self) -> int:
        return len(self.sensor_ids)


@dataclass(frozen=True)
class PredictionResponse:
    """One list a column, one entry a row asked for, then one a step ahead; and what was out of reach."""

    columns: dict[str, list[Any]]
    seconds: list[float]  # the time of each row, in seconds of the epoch
    origins: dict[str, float]  # by sensor, the newest reading its forecast has seen
    notes: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """One object a row."""
        names = tuple(self.columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*self.columns.values(), strict=True)]


def request_from_frame(
    frame: pd.DataFrame, params: dict[str, Any] | None, limits: Limits
) -> PredictionRequest:
    """A request as MLflow's own scoring server hands it over.

    Raises:
        BadRequest: it asks for too much, or for what does not exist.
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
    """Whether a frame says nothing here: pandas writes that as None, NaN, NaT or NA."""
    return entry is None or entry is pd.NA or bool(entry != entry)  # noqa: PLR0124


def validate_horizon(value: Any, limits: Limits) -> int:
    """The number of steps ahead that a request asks for.

    Raises:
        BadRequest: it is no whole number, negative or above the limit.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # to JSON, 24.0 is a whole number
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadRequest(f"params.horizon is {abbreviate(value)}; it is a whole number of steps, such as 24.")
    if value < 0:
        raise BadRequest(f"params.horizon is {value}; the fewest steps ahead are 0.")
    if value > limits.horizon:
        raise BadRequest(f"params.horizon is {value}; the furthest is {limits.horizon} steps ahead.")
    return value


def check_size(request: PredictionRequest, limits: Limits) -> None:
    """Refuse what would take too long or too much.

    Raises:
        BadRequest: more rows, or more rows of answer, than one request may have.
    """
    if len(request) > limits.rows:
        raise BadRequest(
            f"The request has {len(request):,} rows; at most {limits.rows:,} are answered at once. Split it.",
            413,
        )
    if request.horizon:
        sensors = len({sensor_id for sensor_id in request.sensor_ids if isinstance(sensor_id, str)})
        rows = len(request) + sensors * request.horizon
        if rows > limits.answer_rows:
            raise BadRequest(
                f"The answer would have {rows:,} rows ({request.horizon} steps ahead of {sensors} sensors); "
                f"at most {limits.answer_rows:,} are given at once. Split the request.",
                413,
            )


def abbreviate(value: Any) -> str:
    """Something posted, short enough for a sentence.

    >>> shown("x" * 99)
    "'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...'"
    """
    text = repr(value[:60]) if isinstance(value, str) else repr(value)
    if len(text) <= 42:
        return text
    return text[:38] + ("...'" if isinstance(value, str) else "...")
