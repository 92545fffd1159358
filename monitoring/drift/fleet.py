"""Check every champion of a fleet against the window it was trained on.

Loads the readings, compares, measures recent accuracy, consults the platform's other sensors, and records. A
sensor that cannot be checked does not stop the others. The comparison is in `comparison`, rows, run and tags
in `recording`.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from monitoring.drift.champion_data import ChampionReadings, ChampionReadingsLoader
from monitoring.drift.comparison import DriftComparer, DriftComparison, DriftSettings
from monitoring.drift.model_impact import RecentPerformance, compute_cost
from monitoring.drift.platform_peers import attribute_origins
from monitoring.drift.recording import record_checks
from monitoring.drift.report.charts import VERDICT_ORDER
from monitoring.drift.result import DriftCheckResult, to_outcome
from monitoring.drift.store import DriftCheck
from monitoring.drift.verdict import DriftOrigin, DriftVerdict
from serving.models.champions import Champions
from serving.predictions.store import PredictionStore
from training.common.times import read_iso
from training.data.sensors import Sensor
from training.errors import DataError
from training.kinds import Kind
from training.outcomes import Outcome, OutcomeStatus, failed_outcome
from training.pipeline.plan import DetectorSettings
from training.quality.fault_checks import QualitySettings
from training.reasons import Reason, ReasonCode
from training.settings import load_settings
from training.storage.leases import lease
from training.workspace import Workspace

log = logging.getLogger("safeplan.monitoring")

OutcomeCallback = Callable[[Outcome], None]
LEASE_NAME = "drift check"


def check_fleet(
    workspace: Workspace,
    sensors: Sequence[Sensor],
    *,
    now: datetime,
    settings: DriftSettings | None = None,
    html: Path | None = None,
    watch: OutcomeCallback = lambda _: None,
) -> list[Outcome]:
    """Check every champion of these sensors and record the results.

    `now` is the time of the check, naive UTC; later readings are ignored. A sensor has no data if it lags
    behind the newest reading of the others, so that a fleet with old readings can be checked as well. With
    `html`, a report of each model and the fleet page are written into that folder too.

    Raises:
        LeaseTaken: another process is checking; both would write the same tags.
    """
    # The matrices are small: several BLAS threads only wait for each other, at twice the CPU.
    with lease(workspace.engine, LEASE_NAME), threadpool_limits(1):
        fleet_check = FleetDriftCheck(workspace, settings or load_settings(DriftSettings), now)
        checked: list[DriftCheckResult] = []
        outcomes: list[Outcome] = []
        for result in chain.from_iterable(map(fleet_check.of, sensors)):
            if isinstance(result, DriftCheckResult):
                checked.append(result)
                watch(to_outcome(result))
            else:
                outcomes.append(result)
                watch(result)
        checked = attribute_origins(checked)
        if checked:
            checked = record_checks(workspace, checked, now=now, settings=fleet_check.settings, html=html)
    ranked = sorted(
        checked, key=lambda one: (VERDICT_ORDER.index(one.check.verdict), -(one.check.cost or 0.0))
    )
    return [*(to_outcome(one) for one in ranked), *outcomes]


class FleetDriftCheck:
    """The checks of one run."""

    def __init__(self, workspace: Workspace, settings: DriftSettings, now: datetime) -> None:
        self.settings, self.now = settings, now
        self.champions = Champions(workspace.registry, workspace.model_cache)
        self.readings_loader = ChampionReadingsLoader(
            workspace.readings, settings, load_settings(QualitySettings)
        )
        self.performance = RecentPerformance(
            PredictionStore(workspace.engine), settings, load_settings(DetectorSettings)
        )
        last = workspace.readings.last_times()
        self.last = {str(name): min(when.to_pydatetime(), now) for name, when in last.items()}
        self.newest = max(self.last.values(), default=now)
        self.served_models = set(self.champions.keys_with_champion())

    def of(self, sensor: Sensor) -> Iterator[DriftCheckResult | Outcome]:
        """The checks of one sensor's champions, or why they failed."""
        kinds = [kind for kind in Kind if (sensor.id, kind) in self.served_models]
        if not kinds:
            yield Outcome(sensor_id=sensor.id, kind=None, status=OutcomeStatus.NO_MODEL)
        for kind in kinds:
            try:
                yield self._check_champion(sensor, kind)
            # An error of one sensor must not stop the others.
            except Exception as error:  # noqa: BLE001
                yield failed_outcome(sensor.id, kind, error, task="drift check", log=log)

    def _check_champion(self, sensor: Sensor, kind: Kind) -> DriftCheckResult:
        champion = self.champions.get((sensor.id, kind))
        if not champion.version.tags.get("train_start"):
            raise DataError(
                f"{champion.version.uri} has no tag train_start, so its training window is unknown. "
                f"Train it again: safeplan train {sensor.id} --fresh"
            )
        view = self.readings_loader.of(sensor, champion, until=self.now)
        check = DriftComparer(self.settings, sensor.unit, timedelta(seconds=view.step))
        comparison = self._no_data_comparison(sensor, view) or check.of(
            view.window, view.since, sent=view.unfiltered
        )
        if comparison.drifted and comparison.origin is None and view.faults:
            why = Reason(ReasonCode.DRIFT_INSTRUMENT_FAULTS, {"faults": view.faults})
            comparison = comparison.with_origin(DriftOrigin.INSTRUMENT, why)
        age = self.last.get(sensor.id, self.now) - read_iso(champion.version.tags["train_end"])
        quality = self.performance.of(champion, comparison, view, age=age)
        tags = champion.version.tags
        row = DriftCheck(
            sensor_id=sensor.id,
            model_type=kind.model_type,
            checked_at=self.now,
            model_version=str(champion.version.number),
            train_start=read_iso(tags["train_start"]),
            train_end=read_iso(tags["train_end"]),
            start=comparison.start or read_iso(tags["train_end"]),
            end=comparison.end or self.last.get(sensor.id, self.now),
            readings=comparison.readings,
            verdict=comparison.verdict,
            reason=comparison.reason,
            reasons=comparison.reasons,
            false_alarm_rate=comparison.false_alarm_rate,
            kind=comparison.kind,
            origin=comparison.origin,
            since=comparison.since,
            p_value=comparison.p_value,
            cost=compute_cost(quality),
            advice=comparison.advice or None,
            measures=comparison.measures(),
            quality=quality,
        )
        return DriftCheckResult(sensor, champion, view, comparison, row)

    def _no_data_comparison(self, sensor: Sensor, view: ChampionReadings) -> DriftComparison | None:
        """The result for a sensor that lags behind the others; None if it does not."""
        last = self.last.get(sensor.id)
        seconds_without_data = 0.0 if last is None else (self.newest - last).total_seconds()
        longest_usual_gap = 2 * float(np.diff(view.window.seconds).max(initial=0.0))
        if seconds_without_data <= max(self.settings.silent_steps * view.step, longest_usual_gap):
            return None
        values = {"duration": seconds_without_data, "time": last}
        reasons = (Reason(ReasonCode.DRIFT_NO_DATA, values),)
        rate = self.settings.false_alarm_rate
        return DriftComparison(DriftVerdict.NO_DATA, reasons, rate, readings=0, since=last)
