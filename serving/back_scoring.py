"""Score the past with a detector version that is new: its chart is not empty, and people can judge it.

These scores are marked (`back_scores`), since they raise no alert: the readings were judged when they came,
or were the training window. New readings are scored by `serving.batch`.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta

from pydantic import Field

from serving.batch import BatchService, score_readings
from serving.predictions.store import PredictionStore
from serving.recent_readings import to_tail
from training.common.clock import utc_now
from training.data.readings import GOOD_QUALITY
from training.data.sensors import Sensor
from training.errors import SafePlanError
from training.kinds import Kind
from training.registry.model_registry import CHAMPION
from training.settings import Settings, load_settings
from training.workspace import Workspace

log = logging.getLogger("safeplan.serving")


class BackScoringSettings(Settings, file="serving", section="back_scoring"):
    """How much of the past a new detector version scores."""

    period: timedelta = Field(
        timedelta(days=7),
        ge=timedelta(0),
        description="newest readings that a new champion scores once; PT0S: none",
    )
    readings_per_run: int = Field(
        50_000, gt=0, description="readings after which a run stops and leaves the rest to the next"
    )


def score_past(workspace: Workspace, sensors: Sequence[Sensor]) -> int:
    """Score the past of each sensor whose detector champion has not done so; the number of readings scored.

    A sensor that fails is logged and tried again by the next run.
    """
    settings = load_settings(BackScoringSettings)
    if not settings.period:
        return 0
    service, store = BatchService(workspace), PredictionStore(workspace.engine)
    versions, done = _champion_versions(workspace), store.back_scored_versions()
    readings = 0
    for sensor in sensors:
        version = versions.get(sensor.id)
        if version is None or done.get(sensor.id) == str(version):
            continue
        if readings >= settings.readings_per_run:
            break
        try:
            readings += _score_sensor(service, store, sensor, settings.period)
        except SafePlanError:
            log.exception("the past of %s could not be scored", sensor.id)
    return readings


def _champion_versions(workspace: Workspace) -> dict[str, int]:
    """The version number of each detector champion, by one query."""
    return {
        sensor_id: listing.aliases[CHAMPION]
        for (sensor_id, kind), listing in workspace.registry.listings().items()
        if kind is Kind.DETECTOR and CHAMPION in listing.aliases
    }


def _score_sensor(service: BatchService, store: PredictionStore, sensor: Sensor, period: timedelta) -> int:
    champion = service.champions.detector(sensor.id)
    version = str(champion.version.number)
    newest = service.readings.latest(sensor.id, 1, quality=GOOD_QUALITY)
    if newest.empty:
        return 0
    end: datetime = newest["timestamp"].iloc[0].to_pydatetime()
    first_live = store.first_score(sensor.id, version, since=end - period)
    before = service.readings.between(
        sensor.id, end - period, first_live or end + datetime.resolution, quality=GOOD_QUALITY
    )
    if before.empty:
        return 0
    scores = score_readings(service.readings, sensor, champion.model, to_tail(before, whole=False))
    scores["threshold"], scores["model_version"] = champion.model.threshold, version
    until = before["timestamp"].iloc[-1].to_pydatetime()
    store.save_back_scores(scores, sensor.id, version, until=until, made_at=utc_now())
    return len(scores)
