"""The fleet's service: everything that one process needs to answer, opened once.

Knows how the parts are put together from a workspace, and how they start, warm up and end. `fleet_model` and
`server` are two doors to it; batch scoring uses the same parts.
"""

import gc
import logging
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime

from serving.contract import Limits
from serving.models.alias_poller import Poller, PollSettings
from serving.models.champions import CacheSettings, Champions
from serving.models.serving_state import ServingState
from serving.recent_readings import RecentReadings, RecentSettings
from serving.scoring.fleet_scoring import RequestScorer
from training.data.sensors import Fleet, Sensor
from training.errors import SafePlanError, StoreError
from training.ingest.row_validation import IngestSettings
from training.kinds import Kind
from training.settings import load_settings
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

# MLflow's client otherwise waits 120 s for an answer and asks seven times: a registry that was away for 15 s
# would stay unheard for minutes.
MLFLOW_CLIENT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

# Seconds until a thread that computes hands the GIL on. Opening a version waits for the network or the disk
# thirty times; under load it would wait for the GIL after each, for Python's usual 5 ms.
SWITCH_INTERVAL_SECONDS = 0.001

# Made until the newest are looked through for garbage; a large answer makes ten times Python's usual 700.
GC_THRESHOLD = 20_000


class SensorCache:
    """What is known about the sensors, renewed now and then; as it was where that fails."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sensors: Mapping[str, Sensor]
        try:
            self.refresh()
        except StoreError as error:
            log.warning("of the sensors only what conf/sensors.yaml says is known yet: %s", error)
            self.sensors = Fleet.from_yaml()

    def refresh(self) -> None:
        """Read the file and the table again."""
        vars(self.workspace).pop("fleet", None)
        self.sensors = self.workspace.fleet


class FleetService:
    """Answers requests for all sensors until it is closed."""

    def __init__(self, workspace: Workspace) -> None:
        for name, value in MLFLOW_CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        sys.setswitchinterval(SWITCH_INTERVAL_SECONDS)
        gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
        self.started = datetime.now(UTC)
        self.workspace = workspace
        self.limits = load_settings(Limits)
        self.champions = Champions(
            workspace.registry,
            workspace.model_cache,
            record=ServingState(workspace.model_cache / "served.json"),
            settings=load_settings(CacheSettings),
        )
        self.recent = RecentReadings(lambda: workspace.readings, load_settings(RecentSettings))
        self.sensor_cache = SensorCache(workspace)
        self.scorer = RequestScorer(
            self.champions,
            self.recent,
            sensors=lambda: self.sensor_cache.sensors,
            ingest=load_settings(IngestSettings),
        )
        # Three threads: a database that hangs must not keep promotions waiting.
        looks = (self.champions.refresh, self.sensor_cache.refresh, self.recent.reread_stale)
        self.pollers = [Poller(look, load_settings(PollSettings)) for look in looks]
        self.warm = False
        self._closing = threading.Event()

    def start(self, *, warm_up: bool = True) -> None:
        """Begin to follow the aliases; load all champions meanwhile, if wanted."""
        for follower in self.pollers:
            follower.start()
        if warm_up:
            threading.Thread(target=self.warm_up, name="warm-up", daemon=True).start()

    def warm_up(self) -> None:
        """Load every champion that fits into memory; requests are answered meanwhile."""
        keys = self.champions.keys_with_champion()
        sensors = sorted({sensor_id for sensor_id, _ in keys})[: self.champions.settings.sensors]
        for sensor_id in sensors:
            for kind, load_it in (
                (Kind.DETECTOR, self.champions.detector),
                (Kind.FORECASTER, self.champions.forecaster),
            ):
                if self._closing.is_set():
                    return
                if (sensor_id, kind) in keys:
                    try:
                        load_it(sensor_id)
                    except SafePlanError as error:
                        log.warning("%s of %s could not be warmed up: %s", kind, sensor_id, error)
        # Looking through a fleet of models for garbage takes 0.2 s, during which nobody is answered.
        gc.collect()
        gc.freeze()
        self.warm = True

    def unreachable_parts(self) -> dict[str, str]:
        """What is out of reach, by name, with the reason."""
        reasons = {"registry": self.champions.unreachable_reason, "readings": self.recent.unreachable_reason}
        return {name: why for name, why in reasons.items() if why is not None}

    def close(self) -> None:
        """Stop following and asking; what is being answered is answered."""
        self._closing.set()
        for follower in self.pollers:
            follower.close()
        self.recent.close()
