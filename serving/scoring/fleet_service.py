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
from serving.models.alias_poller import Follower, FollowSettings
from serving.models.champions import CacheSettings, Champions
from serving.models.serving_state import Record
from serving.recent_readings import RecentReadings, RecentSettings
from serving.scoring.fleet_scoring import Scorer
from training.data.sensors import Fleet, Sensor
from training.errors import SafePlanError, StoreError
from training.ingest.row_validation import IngestSettings
from training.kinds import Kind
from training.settings import load
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")

# MLflow's client otherwise waits 120 s for an answer and asks seven times: a registry that was away for 15 s
# would stay unheard for minutes.
IMPATIENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}

# Seconds until a thread that computes hands the GIL on. Opening a version waits for the network or the disk
# thirty times; under load it would wait for the GIL after each, for Python's usual 5 ms.
HANDED_ON = 0.001

# Made until the newest are looked through for garbage; a large answer makes ten times Python's usual 700.
NEW_OBJECTS = 20_000


class KnownSensors:
    """What is known about the sensors, renewed now and then; as it was where that fails."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sensors: Mapping[str, Sensor]
        try:
            self.renew()
        except StoreError as error:
            log.warning("of the sensors only what conf/sensors.yaml says is known yet: %s", error)
            self.sensors = Fleet.from_yaml()

    def renew(self) -> None:
        """Read the file and the table again."""
        vars(self.workspace).pop("fleet", None)
        self.sensors = self.workspace.fleet


class FleetService:
    """Answers requests for all sensors until it is closed."""

    def __init__(self, workspace: Workspace) -> None:
        for name, value in IMPATIENT.items():
            os.environ.setdefault(name, value)
        sys.setswitchinterval(HANDED_ON)
        gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
        self.started = datetime.now(UTC)
        self.workspace = workspace
        self.limits = load(Limits)
        self.champions = Champions(
            workspace.registry,
            workspace.model_cache,
            record=Record(workspace.model_cache / "served.json"),
            settings=load(CacheSettings),
        )
        self.recent = RecentReadings(lambda: workspace.readings, load(RecentSettings))
        self.known = KnownSensors(workspace)
        self.scorer = Scorer(
            self.champions, self.recent, sensors=lambda: self.known.sensors, ingest=load(IngestSettings)
        )
        # Three threads: a database that hangs must not keep promotions waiting.
        looks = (self.champions.refresh, self.known.renew, self.recent.read_again)
        self.followers = [Follower(look, load(FollowSettings)) for look in looks]
        self.warm = False
        self._closing = threading.Event()

    def start(self, *, warm_up: bool = True) -> None:
        """Begin to follow the aliases; load all champions meanwhile, if wanted."""
        for follower in self.followers:
            follower.start()
        if warm_up:
            threading.Thread(target=self.warm_up, name="warm-up", daemon=True).start()

    def warm_up(self) -> None:
        """Load every champion that fits into memory; requests are answered meanwhile."""
        keys = self.champions.serving()
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

    def troubles(self) -> dict[str, str]:
        """What is out of reach, by name, with the reason."""
        found = {"registry": self.champions.away, "readings": self.recent.away}
        return {name: why for name, why in found.items() if why is not None}

    def close(self) -> None:
        """Stop following and asking; what is being answered is answered."""
        self._closing.set()
        for follower in self.followers:
            follower.close()
        self.recent.close()
