"""Store the endpoint's answers: queued while it answers, written a second later by a thread.

While the database is unreachable, rows wait in memory up to a limit, and in a file across a restart. The
table is written by `store`.
"""

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field
from sqlalchemy.exc import DataError as DataRefused

from serving.contract import PredictionResponse
from serving.predictions.store import PredictionStore
from training.anomaly.explanations import severity_of
from training.errors import DataError, StoreError
from training.reasons import dump_reasons, render_all
from training.settings import Settings

log = logging.getLogger("safeplan.serving")

SCORE_COLUMNS = (
    *("sensor_id", "value", "anomaly_score", "is_anomaly", "severity", "threshold"),
    *("historical_average", "historical_std", "reason"),
)


class PredictionQueueSettings(Settings, file="serving", section="predictions"):
    """Storage of the endpoint's answers."""

    keep: bool = Field(False, description="store answers in ml_predictions")
    most_waiting: int = Field(200_000, ge=1, description="rows in memory while the database is unreachable")
    every: float = Field(1.0, gt=0, description="seconds between two writes")
    at_once: int = Field(10_000, ge=1, description="rows in one transaction")


class PredictionQueue:
    """The queue and the thread that empties it."""

    def __init__(
        self,
        store: Callable[[], PredictionStore],
        settings: PredictionQueueSettings,
        *,
        leftover: Path,
    ) -> None:
        self.store = store
        self.settings = settings
        self.leftover_path = leftover
        self.saved = self.lost = 0
        self._waiting: deque[dict[str, Any]] = deque()
        self._closing = threading.Event()
        self._store_unreachable = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="predictions", daemon=True)

    def start(self) -> None:
        """Start writing, including the rows left over from the last run."""
        self._thread.start()

    def take(self, response: PredictionResponse) -> None:
        """Queue an answer's rows without waiting for the database."""
        self.add(response_rows(response, datetime.now(UTC)))

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Queue rows; those beyond the limit are lost and counted."""
        with self._lock:
            room = max(self.settings.most_waiting - len(self._waiting), 0)
            self._waiting.extend(rows[:room])
            if len(rows) > room:
                if not self.lost:
                    log.error("predictions are lost: %d already wait for the database", len(self._waiting))
                self.lost += len(rows) - room

    @property
    def counts(self) -> dict[str, int]:
        """The numbers of rows that wait, that were stored and that were lost."""
        return {"waiting": len(self._waiting), "kept": self.saved, "lost": self.lost}

    def close(self, *, patience: float = 5.0) -> None:
        """Write the waiting rows; those not written within `patience` seconds go into a file."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(patience)
        # A write in progress may store some of these as well; writing them twice changes nothing.
        rows = self._dequeue(len(self._waiting))
        if rows:
            path = self.leftover_path.with_name(f"{self.leftover_path.name}-{time.time_ns()}.jsonl")
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
            part.replace(path)
            log.warning("%d predictions were saved in %s for the next start", len(rows), path)

    def _run(self) -> None:
        while not self._closing.wait(self.settings.every):
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        try:
            store = self.store()
            while rows := self._next_batch():
                self._write(store, rows)
                self._dequeue(len(rows))
            self._write_leftovers(store)
            self._store_unreachable = False
        except StoreError as error:
            if not self._store_unreachable:
                log.warning("predictions wait for the database: %s", error)
            self._store_unreachable = True
        # Any other error: the rows stay queued for the next attempt.
        except Exception:
            log.exception("predictions could not be written")

    def _write_leftovers(self, store: PredictionStore) -> None:
        """Write the rows of the last run; another worker may do the same, which changes nothing."""
        for path in sorted(self.leftover_path.parent.glob(f"{self.leftover_path.name}-*.jsonl")):
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except FileNotFoundError:
                continue
            for first in range(0, len(lines), self.settings.at_once):
                rows = [json.loads(line) for line in lines[first : first + self.settings.at_once]]
                self._write(store, rows)
            path.unlink(missing_ok=True)

    def _write(self, store: PredictionStore, rows: list[dict[str, Any]]) -> None:
        """Write rows; a row that the table cannot hold is lost, the others are written.

        Raises:
            StoreError: the database is unreachable, locked or full.
        """
        try:
            write_predictions(store, rows)
        except StoreError as error:
            if not isinstance(error.__cause__, DataRefused):
                raise
            refusal: Exception = error
        # For example a time after the year 9999.
        except (DataError, ValueError, TypeError, OverflowError) as error:
            refusal = error
        else:
            self.saved += len(rows)
            return
        if len(rows) > 1:
            middle = len(rows) // 2
            self._write(store, rows[:middle])
            self._write(store, rows[middle:])
        else:
            self.lost += 1
            log.error("a prediction cannot be stored: %s", refusal)

    def _next_batch(self) -> list[dict[str, Any]]:
        with self._lock:
            return list(islice(self._waiting, self.settings.at_once))

    def _dequeue(self, rows: int) -> list[dict[str, Any]]:
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(rows, len(self._waiting)))]


def response_rows(response: PredictionResponse, made_at: datetime) -> list[dict[str, Any]]:
    """An answer's scores and forecasts as plain rows, without the rows that have an error."""
    columns, rows = response.columns, []
    # To the second: one transaction writes the rows of all requests of a second.
    made_second = int(made_at.timestamp())
    for position, seconds in enumerate(response.seconds):
        if columns["error"][position] is not None:
            continue
        row: dict[str, Any] = {"timestamp": seconds, "made_at": made_second}
        if columns["anomaly_score"][position] is not None:
            row |= {name: columns[name][position] for name in SCORE_COLUMNS}
            row["model_version"] = columns["detector_version"][position]
            row["reason_data"] = dump_reasons(response.reasons[position])
            if position in response.limits:  # limits are judged again wherever readings are shown
                row["reason"] = render_all(response.reasons[position])
                row["severity"] = severity_of(np.array([row["anomaly_score"]]))[0]
        else:
            sensor_id = columns["sensor_id"][position]
            row |= {
                "sensor_id": sensor_id,
                "origin": response.origins.get(sensor_id, seconds),
                "predicted_value": columns["expected"][position],
                "lower_bound": columns["lower"][position],
                "upper_bound": columns["upper"][position],
                "model_version": columns["forecaster_version"][position],
            }
        rows.append(row)
    return rows


def write_predictions(store: PredictionStore, rows: list[dict[str, Any]]) -> None:
    """Write rows of both kinds; existing ones change nothing."""
    for made_at in dict.fromkeys(row["made_at"] for row in rows):
        made_time = datetime.fromtimestamp(made_at, UTC)
        same_time = [
            {k: v for k, v in row.items() if k != "made_at"} for row in rows if row["made_at"] == made_at
        ]
        scores = [row for row in same_time if "anomaly_score" in row]
        forecasts = [row for row in same_time if "anomaly_score" not in row]
        if scores:
            store.save_scores(_to_frame(scores), made_at=made_time)
        if forecasts:
            store.save_forecasts(_to_frame(forecasts), made_at=made_time)


def _to_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows)
    for name in frame.columns.intersection(["timestamp", "origin"]):
        frame[name] = pd.to_datetime(frame[name], unit="s").dt.round("us")
    return frame
