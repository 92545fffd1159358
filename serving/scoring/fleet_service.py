"""Everything that one process needs to answer requests, opened once: models, readings, sensors and pollers.

`serving.fleet_model` and `serving.http.server_process` build it. Requests are answered by `fleet_scoring`.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from serving.contract import Limits
from serving.models.champions import CacheSettings, Champions
from serving.models.poller import Poller, PollSettings
from serving.models.serving_state import ServingState
from serving.recent_readings import RecentReadings, RecentSettings
from serving.scoring.fleet_scoring import RequestScorer
from serving.vectorized.runtime import ScoringRuntime
from training.data.sensors import Fleet, Sensor
from training.errors import SafePlanError, StoreError
from training.ingest.row_validation import IngestSettings
from training.settings import load_settings
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")


class SensorCache:
    """The sensors' descriptions, refreshed by a poller; the last ones stay where a refresh fails."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.sensors: Mapping[str, Sensor]
        try:
            self.refresh()
        except StoreError as error:
            log.warning("only the sensors of conf/sensors.yaml are known so far: %s", error)
            self.sensors = Fleet.from_yaml()

    def refresh(self) -> None:
        """Read the file and the table again."""
        vars(self.workspace).pop("fleet", None)
        self.sensors = self.workspace.fleet


class FleetService:
    """Answers requests for all sensors until it is closed."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.limits = load_settings(Limits)
        self.champions = Champions(
            workspace.registry,
            workspace.model_cache,
            serving_state=ServingState(workspace.model_cache / "served.json"),
            settings=load_settings(CacheSettings),
            runtime=ScoringRuntime(),
        )
        self.recent = RecentReadings(lambda: workspace.readings, load_settings(RecentSettings))
        self.sensor_cache = SensorCache(workspace)
        self.scorer = RequestScorer(
            self.champions,
            self.recent,
            sensors=lambda: self.sensor_cache.sensors,
            ingest=load_settings(IngestSettings),
        )
        # Three threads: a database that hangs must not delay promotions.
        polls = (self.champions.refresh, self.sensor_cache.refresh, self.recent.reread_stale)
        self.pollers = [Poller(poll, load_settings(PollSettings)) for poll in polls]
        self.warm = False
        self._closing = threading.Event()

    def start(self, *, warm_up: bool = True, when_warm: Callable[[], object] = lambda: None) -> None:
        """Start the pollers; with `warm_up`, load all champions in the background, then call `when_warm`."""
        for poller in self.pollers:
            poller.start()
        if warm_up:
            threading.Thread(target=self.warm_up, args=(when_warm,), name="warm-up", daemon=True).start()

    def warm_up(self, when_warm: Callable[[], object] = lambda: None) -> None:
        """Load every champion that fits into memory; requests are answered meanwhile."""
        keys = sorted(self.champions.keys_with_champion())
        sensors = set(sorted({sensor_id for sensor_id, _ in keys})[: self.champions.settings.sensors])
        for key in keys:
            if self._closing.is_set():
                return
            if key[0] in sensors:
                try:
                    self.champions.get(key)
                except SafePlanError as error:
                    log.warning("the %s of %s was not loaded at the start: %s", key[1], key[0], error)
        when_warm()
        self.warm = True

    def unreachable_parts(self) -> dict[str, str]:
        """The parts that cannot be reached now, each with its error."""
        errors = {"registry": self.champions.unreachable_reason, "readings": self.recent.unreachable_reason}
        return {name: error for name, error in errors.items() if error is not None}

    def close(self) -> None:
        """Stop polling and reading; requests in progress are still answered."""
        self._closing.set()
        for poller in self.pollers:
            poller.close()
        self.recent.close()
