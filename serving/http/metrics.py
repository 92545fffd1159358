"""Prometheus metrics of the endpoint: their names, their values, and how several workers combine.

Requests are counted by `auth_middleware`, rows by `app`; gauges are read from the service.
"""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from serving.contract import PredictionResponse
from serving.scoring.fleet_service import FleetService
from training.kinds import Kind

LATENCY_BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
MULTIPROCESS_DIR_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """All metrics of one process; several workers combine theirs through a shared folder."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "safeplan_requests", "Requests by path and status.", ["path", "status"], **options
        )
        self.refusals = Counter(
            "safeplan_request_errors", "Requests refused or failed, by HTTP status.", ["kind"], **options
        )
        self.rows = Counter("safeplan_rows", "Rows answered, by result.", ["said"], **options)  # quoted
        self.seconds = Histogram(
            "safeplan_request_seconds", "Time to answer /invocations.", buckets=LATENCY_BUCKETS, **options
        )
        self.models = self._gauge("models_loaded", "Models in memory.", ["kind"], "livemin")
        self.oldest_model_age = self._gauge(
            "oldest_model_age_seconds", "Age of the oldest champion in memory.", ["kind"], "livemax"
        )
        self.last_contact = self._gauge(
            "registry_last_contact_timestamp_seconds", "When the registry last answered.", [], "livemin"
        )
        self.up = self._gauge("up", "Whether a dependency can be reached.", ["what"], "livemin")
        self.events = self._gauge(
            "model_events", "Model events since the start of each worker.", ["event"], "livesum"
        )
        self.refused = self._gauge(
            "refused_versions", "Champions refused by the acceptance checks.", [], "livemax"
        )
        self.predictions = self._gauge("predictions", "Predictions to store, by state.", ["state"], "livesum")

    def _gauge(self, name: str, text: str, labels: list[str], mode: Any) -> Gauge:
        return Gauge(f"safeplan_{name}", text, labels, registry=self.registry, multiprocess_mode=mode)

    def count_rows(self, response: PredictionResponse) -> tuple[int, int]:
        """Count an answer's rows; returns the number of rows and of rows with an error."""
        columns = response.columns
        rows = len(columns["sensor_id"])
        wrong = rows - columns["error"].count(None)
        scored = rows - columns["anomaly_score"].count(None)
        for result, count in (("scored", scored), ("error", wrong), ("forecast", rows - wrong - scored)):
            if count:
                self.rows.labels(result).inc(count)
        return rows, wrong

    def update_gauges(self, service: FleetService, queue_counts: Mapping[str, int]) -> None:
        """Set the gauges from the service's state."""
        loaded = service.champions.loaded().values()
        now = datetime.now(UTC)
        for kind in Kind:
            created = [one.version.created for one in loaded if one.version.kind is kind]
            self.models.labels(kind.value).set(len(created))
            self.oldest_model_age.labels(kind.value).set(
                (now - min(created)).total_seconds() if created else 0
            )
        if service.champions.last_contact is not None:
            self.last_contact.set(service.champions.last_contact.timestamp())
        unreachable = service.unreachable_parts()
        for part in ("registry", "readings"):
            self.up.labels(part).set(part not in unreachable)
        counts = service.champions.event_counts
        for event in ("loads", "takeovers", "refusals", "evictions"):
            self.events.labels(event).set(getattr(counts, event))
        self.refused.set(len(counts.refused))
        for state, count in queue_counts.items():
            self.predictions.labels(state).set(count)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        if MULTIPROCESS_DIR_VARIABLE not in os.environ:
            return generate_latest(self.registry)
        _remove_dead_workers(Path(os.environ[MULTIPROCESS_DIR_VARIABLE]))
        combined = CollectorRegistry()
        multiprocess.MultiProcessCollector(combined)  # type: ignore[no-untyped-call]
        return generate_latest(combined)

    def close(self) -> None:
        """Remove this worker's gauges; its counters stay."""
        if MULTIPROCESS_DIR_VARIABLE in os.environ:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


def _remove_dead_workers(folder: Path) -> None:
    """Remove the gauges of workers that were killed and could not do it themselves."""
    for pid in {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
