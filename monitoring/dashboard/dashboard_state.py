"""What all readers of the page share: one installation, its fleet and models as they were a moment ago.

Knows how often each is renewed and that one part may be out of reach while the others are shown. Leaves what
is shown to the `page_*` modules.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property

from pydantic import Field

from monitoring.alerts.alert import Alert
from monitoring.dashboard.fleet_view import FleetView, ModelOutcomes, load_fleet_view
from monitoring.dashboard.swr_cache import SwrCache
from monitoring.drift.store import DriftCheck, DriftCheckStore
from monitoring.watch.operator_actions import list_alerts
from serving.batch import BatchService
from serving.http.server_process import ServerSettings
from serving.http.tokens import Caller, Tokens
from serving.predictions.store import PredictionStore
from training.common.times import utc_now
from training.kinds import Kind
from training.operations.overview import describe_models
from training.quality.windows import WindowSettings
from training.registry.version_cache import VersionCache
from training.settings import Settings, load_settings
from training.workspace import Workspace


class PageSettings(Settings, file="monitoring", section="page"):
    """Where the page listens and where it leads."""

    host: str = "127.0.0.1"
    port: int = Field(8501, ge=0, le=65_535)
    allow_everyone: bool = Field(False, description="listen beyond this machine without any token")
    mlflow: str | None = Field(None, description="address of the MLflow UI; empty: the tracking server's")
    refresh: float = Field(5.0, ge=1, le=600, description="seconds between two looks at the readings")
    models_refresh: float = Field(10.0, ge=1, le=600, description="seconds between two looks at the aliases")


Clock = Callable[[], datetime]




class DashboardState:
    """One installation for all who look at it; safe for several threads."""

    def __init__(
        self, workspace: Workspace, settings: PageSettings | None = None, *, clock: Clock = utc_now
    ) -> None:
        self.workspace = workspace
        self.settings = settings or load_settings(PageSettings)
        self.clock = clock
        self.tokens = Tokens.from_environment(load_settings(ServerSettings).tokens)
        often, seldom = self.settings.refresh, self.settings.models_refresh
        self.fleet: SwrCache[FleetView] = SwrCache(lambda: load_fleet_view(workspace), lasts=often)
        self.alerts: SwrCache[list[Alert]] = SwrCache(lambda: list_alerts(workspace), lasts=often)
        self.models: SwrCache[ModelOutcomes] = SwrCache(self._load_models, lasts=seldom)
        self.checks: SwrCache[list[DriftCheck]] = SwrCache(
            DriftCheckStore(workspace.engine).latest, lasts=seldom
        )
        self.trainable: SwrCache[Mapping[Kind, set[str]]] = SwrCache(self._load_trainable, lasts=60.0)

    def caller(self, token: str) -> Caller | None:
        """Whose token this is, or None."""
        return self.tokens.caller(f"Bearer {token}")

    @cached_property
    def batch(self) -> BatchService:
        """What scores and forecasts on the command line."""
        return BatchService(self.workspace)

    @property
    def predictions(self) -> PredictionStore:
        """The predictions store."""
        return PredictionStore(self.workspace.engine)

    def _load_models(self) -> ModelOutcomes:
        started = datetime.now(UTC)
        champions = self.batch.champions  # whoever asks first has the aliases read
        if champions.last_contact is None or champions.last_contact < started:
            champions.refresh()
        view = self.fleet.get()
        outcomes = describe_models(
            self.workspace,
            list(view.sensors.values()),
            now=self.clock(),
            listings=champions.listings,
            cache=self._version_cache,
        )
        return {(outcome.sensor_id, kind): outcome for outcome in outcomes if (kind := outcome.kind)}

    @cached_property
    def _version_cache(self) -> VersionCache:
        return VersionCache(self.workspace.registry, self.workspace.tracker)

    def _load_trainable(self) -> Mapping[Kind, set[str]]:
        window = load_settings(WindowSettings)
        return {kind: self.workspace.readings.sensors_with_good(window.minimum(kind)) for kind in Kind}
