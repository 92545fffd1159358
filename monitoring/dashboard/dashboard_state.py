"""State shared by all readers of the page: one installation with cached fleet, alerts, models and checks.

Each part is refreshed by itself, so one that is unreachable does not hide the others. The choices of one
reader are in `url_state`; what is shown is in `tabs`.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from pydantic import Field

from monitoring.alerts.alert import Alert
from monitoring.alerts.sensor_status import SensorCondition
from monitoring.alerts.status_loader import detectors_of, judge_statuses, load_steps
from monitoring.dashboard.fleet_view import FleetView, ModelOutcomes, load_fleet_view
from monitoring.dashboard.swr_cache import SwrCache
from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.watch.operator_actions import list_alerts
from serving.batch import BatchService
from serving.http.server_process import ServerSettings
from serving.http.tokens import Caller, Tokens
from serving.predictions.store import PredictionStore
from training.common.clock import utc_now
from training.kinds import Kind
from training.operations.overview import describe_models
from training.quality.windows import WindowSettings
from training.registry.model_registry import Listing, Version
from training.registry.version_cache import EMPTY_SUMMARY, VersionCache, VersionKey, VersionRecord
from training.settings import Settings, load_settings
from training.workspace import Workspace


class PageSettings(Settings, file="monitoring", section="page"):
    """Address of the page, links to MLflow, refresh intervals."""

    host: str = "127.0.0.1"
    port: int = Field(8501, ge=0, le=65_535)
    allow_everyone: bool = Field(
        False, description="listen on other interfaces than loopback although there is no token"
    )
    mlflow: str | None = Field(None, description="URL of the MLflow UI; empty: that of the tracking server")
    refresh: float = Field(
        5.0, ge=1, le=600, description="seconds between two refreshes of readings and alerts"
    )
    models_refresh: float = Field(
        10.0, ge=1, le=600, description="seconds between two refreshes of the model aliases"
    )


Clock = Callable[[], datetime]


class JudgedStatuses(NamedTuple):
    """Statuses with the data they were judged from, and when."""

    view: FleetView
    alerts: list[Alert]
    models: ModelOutcomes | None
    at: datetime
    conditions: Mapping[str, SensorCondition]

    def is_of(self, view: FleetView, alerts: list[Alert], models: ModelOutcomes | None) -> bool:
        """Whether they were judged from these objects."""
        return self.view is view and self.alerts is alerts and self.models is models


class DashboardState:
    """One installation, shared by all readers; thread-safe."""

    def __init__(
        self, workspace: Workspace, settings: PageSettings | None = None, *, clock: Clock = utc_now
    ) -> None:
        self.workspace = workspace
        self.settings = settings or load_settings(PageSettings)
        self.clock = clock
        self.tokens = Tokens.from_environment(load_settings(ServerSettings).tokens)
        fast, slow = self.settings.refresh, self.settings.models_refresh
        self.fleet: SwrCache[FleetView] = SwrCache(lambda: load_fleet_view(workspace), max_age=fast)
        self.alerts: SwrCache[list[Alert]] = SwrCache(lambda: list_alerts(workspace), max_age=fast)
        self.models: SwrCache[ModelOutcomes] = SwrCache(self._load_models, max_age=slow)
        self._listed_models: ModelOutcomes | None = None
        self.checks: SwrCache[list[DriftCheck]] = SwrCache(
            DriftCheckStore(workspace.engine).latest, max_age=slow
        )
        self.steps: SwrCache[Mapping[str, timedelta]] = SwrCache(self._load_steps, max_age=60.0)
        self._judged: JudgedStatuses | None = None
        self.trainable: SwrCache[Mapping[Kind, set[str]]] = SwrCache(self._load_trainable, max_age=60.0)

    def caller(self, token_digest: str) -> Caller | None:
        """The caller whose token has this digest, or None."""
        return self.tokens.caller_of_digest(token_digest)

    @cached_property
    def batch(self) -> BatchService:
        """The service that scores and forecasts on the command line too."""
        return BatchService(self.workspace)

    @property
    def predictions(self) -> PredictionStore:
        """The predictions store."""
        return PredictionStore(self.workspace.engine)

    def statuses(
        self, view: FleetView, alerts: list[Alert], models: ModelOutcomes | None
    ) -> Mapping[str, SensorCondition]:
        """The status of each sensor of a view, judged once for all readers of the same data."""
        judged, now = self._judged, self.clock()
        is_current = judged is not None and now - judged.at < timedelta(seconds=self.settings.refresh)
        if judged is not None and is_current and judged.is_of(view, alerts, models):
            return judged.conditions
        conditions = judge_statuses(
            list(view.sensors.values()),
            rows=view.rows,
            alerts=alerts,
            steps=self.steps.get(),
            detectors=None if models is None else detectors_of(models.values()),
            now=now,
        )
        self._judged = JudgedStatuses(view, alerts, models, now, conditions)
        return conditions

    def model_outcomes(self) -> ModelOutcomes | None:
        """The models of the fleet; at first what their aliases alone show, and None until those are read.

        Of 10,000 models the versions behind the aliases and their runs take longer than the aliases.
        """
        return self.models.get_if_loaded() or self._listed_models

    def refresh_errors(self) -> list[Exception]:
        """Why readings, scores, alerts or checks shown are old: the errors of their last refresh."""
        caches = (self.fleet, self.alerts, self.checks, self.trainable)
        return [error for cache in caches if (error := cache.last_error) is not None]

    def _load_models(self) -> ModelOutcomes:
        started = datetime.now(UTC)
        champions = self.batch.champions
        if champions.last_contact is None or champions.last_contact < started:
            champions.refresh()
        if self._listed_models is None:
            listed = ListedVersions(self.workspace.registry, self.workspace.tracker)
            self._listed_models = self._describe_models(champions.listings, listed)
        return self._describe_models(champions.listings, self._version_cache)

    def _describe_models(
        self, listings: Mapping[tuple[str, Kind], Listing], cache: VersionCache
    ) -> ModelOutcomes:
        sensors = list(self.fleet.get().sensors.values())
        outcomes = describe_models(self.workspace, sensors, now=self.clock(), listings=listings, cache=cache)
        return {(outcome.sensor_id, kind): outcome for outcome in outcomes if (kind := outcome.kind)}

    @cached_property
    def _version_cache(self) -> VersionCache:
        return VersionCache(self.workspace.registry, self.workspace.tracker)

    def _load_steps(self) -> Mapping[str, timedelta]:
        return load_steps(self.workspace.engine, list(self.fleet.get().sensors.values()))

    def _load_trainable(self) -> Mapping[Kind, set[str]]:
        window = load_settings(WindowSettings)
        return {kind: self.workspace.readings.sensors_with_good(window.minimum(kind)) for kind in Kind}


class ListedVersions(VersionCache):
    """Versions without their runs, as far as the listings contain them; asks the registry nothing."""

    def read(
        self, requested: Iterable[VersionKey], known: Iterable[Version] = ()
    ) -> Mapping[VersionKey, VersionRecord]:
        """The known versions with all tags, the others by name and number only."""
        versions = {(version.name, version.number): version for version in known}
        return {
            key: VersionRecord(versions.get(key) or _unread_version(*key), EMPTY_SUMMARY) for key in requested
        }


def _unread_version(name: str, number: int) -> Version:
    return Version(
        "", Kind.DETECTOR, name, number, run_id="", created=datetime.fromtimestamp(0, UTC), tags={}
    )
