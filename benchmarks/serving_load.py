"""Load on one endpoint during promotions, rollbacks, broken versions and outages.

Has the timetable, the clients and the evaluation of their answers. Servers are in `serving_installation`,
versions in `serving_fleet`.
"""

import json
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from http.client import HTTPException
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving_fleet import MODEL_SHAPES, START, TRAINING_READINGS, Upload, register
from benchmarks.serving_installation import WORKERS, LoadTestInstallation, running_installation
from training.artifacts.model_files import MODEL_FOLDER, digest_folder
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Version
from training.workspace import Workspace

PROMOTIONS, ROLL_BACKS, BROKEN_VERSIONS = 50, 10, 3
CLIENT_THREADS = 4
CLIENT_PAUSE_SECONDS = 0.15  # seconds between an answer and the same asker's next request
FORECASTS_PER_REQUEST = 5  # sensors forecast in one request; all are scored in each
MAX_LIVE_SECONDS = 10.0  # seconds within which a promotion must be
# As shares of the time of load: 15 of 60 seconds each, apart from each other.
REGISTRY_OUTAGE, DATABASE_OUTAGE = (0.2, 0.45), (0.55, 0.8)

ModelKey = tuple[str, str]  # sensor and kind


@dataclass
class ResponseLog:
    """What was answered, taken down while it happens."""

    failures: list[str] = field(default_factory=list)
    row_errors: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    mixed: int = 0
    rows: int = 0
    answered: set[tuple[str, str, str, str]] = field(default_factory=set)  # sensor, kind, time, version
    versions_seen: dict[ModelKey, list[tuple[float, str]]] = field(
        default_factory=dict
    )  # when asked, version
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked_at: float, status: int, content: bytes) -> None:
        """Take one answer down."""
        spent = 1000 * (time.perf_counter() - asked_at)
        rows = json.loads(content)["predictions"] if status == 200 else []
        versions: dict[ModelKey, set[str]] = {}
        with self.lock:
            self.milliseconds.append(spent)
            self.rows += len(rows)
            if status != 200:
                self.failures.append(f"{status}: {content[:200]!r}")
            for row in rows:
                if row["error"] is not None:
                    self.row_errors[row["error"]] += 1
                    continue
                kind = Kind.FORECASTER if row["value"] is None else Kind.DETECTOR
                version = row[f"{kind}_version"]
                versions.setdefault((row["sensor_id"], kind.value), set()).add(version)
                moment = row["timestamp"].removesuffix("Z")
                self.answered.add((row["sensor_id"], kind.model_type, moment, version))
            for key, found in versions.items():
                self.mixed += len(found) > 1
                self.versions_seen.setdefault(key, []).extend((asked_at, version) for version in found)


@dataclass(frozen=True)
class AliasMove:
    """An alias was moved: from then on this version should answer."""

    key: ModelKey
    version: str
    at: float


@dataclass
class EventLog:
    """What was done to the endpoint, and when; all times as of `time.perf_counter`."""

    moves: list[AliasMove] = field(default_factory=list)
    registry_away: list[float] = field(default_factory=list)  # from, until

    def record_champion(self, version: Version) -> None:
        """Note a champion."""
        key = (version.sensor_id, version.kind.value)
        self.moves.append(AliasMove(key, str(version.number), time.perf_counter()))


def measure_under_load(
    workspace: Workspace,
    names: Sequence[str],
    uploads: Mapping[Kind, list[Upload]],
    folder: Path,
    seconds: float,
    database: str,
) -> dict[str, Any]:
    """Ask two workers for `seconds` while it all happens, and as long again as a promotion may take."""
    alternatives = [
        _register_alternative(workspace, uploads, name, number)
        for number, name in enumerate(names[:PROMOTIONS])
    ]
    broken_names = names[PROMOTIONS : PROMOTIONS + BROKEN_VERSIONS]
    broken = _register_broken(workspace, uploads[Kind.DETECTOR][0], broken_names, folder)
    sensor_names = [*names[:PROMOTIONS], *broken_names]
    log, events, stop, number = ResponseLog(), EventLog(), threading.Event(), count()
    with running_installation(workspace, sensor_names, folder, database) as house:
        _warm_up(house, sensor_names)
        clients = [
            threading.Thread(target=_send_requests, args=(house, sensor_names, log, stop, number))
            for _ in range(CLIENT_THREADS)
        ]
        for thread in clients:
            thread.start()
        timetable = _timetable(workspace, house, alternatives, broken, events, seconds)
        started = time.perf_counter()
        for moment, act in sorted(timetable, key=lambda one: one[0]):
            time.sleep(max(0.0, started + moment - time.perf_counter()))
            act()
        time.sleep(max(0.0, started + seconds + MAX_LIVE_SECONDS - time.perf_counter()))
        stop.set()
        for thread in clients:
            thread.join()
        results = {
            "workers": WORKERS,
            "seconds": seconds,
            "refused_versions": sorted(one["model"] for one in house.get_json("/models")["refused"]),
            "resident_mb_of_all_workers": round(house.server.resident_bytes() / 2**20),
        }
        house.server.end()
        left = house.leftover_predictions()
        results["predictions_left_for_the_next_start"] = len(left)
        kept = house.stored_predictions() | left
    return results | _summarise(log, events, broken, kept)


def _register_alternative(
    workspace: Workspace, uploads: Mapping[Kind, list[Upload]], name: str, number: int
) -> Version:
    """A good version unlike the one that serves: of one sensor's detector, of the next one's forecaster."""
    kind = list(Kind)[number % 2]
    return register(workspace.registry, name, uploads[kind][(number + 1) % MODEL_SHAPES])


def _register_broken(
    workspace: Workspace, upload: Upload, names: Sequence[str], folder: Path
) -> list[Version]:
    """Three detectors that must never serve: altered, another sensor's, and cut short before its hash."""
    copy = folder / "cut-short" / "data" / MODEL_FOLDER
    shutil.copytree(upload.candidate.files, copy)
    shortened = next(copy.glob("forest*.skops"))
    shortened.write_bytes(shortened.read_bytes()[:-100])
    registry = workspace.registry
    source = str(folder / "cut-short")
    return [
        register(registry, names[0], upload, tags={"model_sha256": "0" * 64}),
        register(registry, names[1], upload, tags={"sensor_id": "somebody-else"}),
        register(registry, names[2], upload, source=source, tags={"model_sha256": digest_folder(copy)}),
    ]


def _timetable(
    workspace: Workspace,
    house: LoadTestInstallation,
    alternatives: Sequence[Version],
    broken: Sequence[Version],
    events: EventLog,
    seconds: float,
) -> list[tuple[float, Callable[[], None]]]:
    registry = workspace.registry

    def promote(version: Version) -> None:
        registry.promote(version)
        events.record_champion(version)

    def roll_back(version: Version) -> None:
        events.record_champion(registry.rollback(version.sensor_id, version.kind))

    def break_it(version: Version) -> None:
        workspace.mlflow.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def leave() -> None:
        events.registry_away.append(time.perf_counter())
        house.registry.disconnect()

    def come_back() -> None:
        house.registry.reconnect()
        events.registry_away.append(time.perf_counter())

    step = seconds / PROMOTIONS
    return [
        *((step * n, lambda v=version: promote(v)) for n, version in enumerate(alternatives)),
        # Each a third of the time after its promotion, the last before the end.
        *(
            (seconds / 3 + 4.5 * step * n / 2, lambda v=version: roll_back(v))
            for n, version in enumerate(alternatives[:ROLL_BACKS])
        ),
        *((seconds * (0.1 + 0.3 * n), lambda v=version: break_it(v)) for n, version in enumerate(broken)),
        (seconds * REGISTRY_OUTAGE[0], leave),
        (seconds * REGISTRY_OUTAGE[1], come_back),
        (seconds * DATABASE_OUTAGE[0], house.database.disconnect),
        (seconds * DATABASE_OUTAGE[1], house.database.reconnect),
    ]


def _request_body(names: Sequence[str], number: int) -> bytes:
    """Two readings of every sensor, and a forecast of some; no two requests ask for the same moments."""
    newest = START + timedelta(minutes=TRAINING_READINGS, milliseconds=number)
    turn = number * FORECASTS_PER_REQUEST % len(names)
    forecast_names = (list(names) * 2)[turn : turn + FORECASTS_PER_REQUEST]
    rows = [
        *(
            (name, newest + timedelta(minutes=minutes), 20.0 + minutes)
            for name in names
            for minutes in (0, 1)
        ),
        *((name, newest + timedelta(minutes=5), None) for name in forecast_names),
    ]
    records = [
        {"sensor_id": name, "timestamp": f"{moment.isoformat(timespec='milliseconds')}Z", "value": value}
        for name, moment, value in rows
    ]
    return json.dumps({"dataframe_records": records}).encode()


def _warm_up(house: LoadTestInstallation, names: Sequence[str]) -> None:
    """Until every worker has loaded what will be asked about."""
    while not all(house.get_json("/ready")["warm"] for _ in range(8 * WORKERS)):
        time.sleep(1)
    for number in range(4 * WORKERS):
        house.request("POST", "/invocations", _request_body(names, -1 - number))


def _send_requests(
    house: LoadTestInstallation,
    names: Sequence[str],
    log: ResponseLog,
    stop: threading.Event,
    number: "count[int]",
) -> None:
    while not stop.is_set():
        body = _request_body(names, next(number))
        asked_at = time.perf_counter()
        try:
            log.take(asked_at, *house.request("POST", "/invocations", body))
        except (OSError, HTTPException, ValueError) as error:
            log.failures.append(f"{type(error).__name__}: {error}")
        stop.wait(CLIENT_PAUSE_SECONDS)


def _summarise(
    log: ResponseLog, events: EventLog, broken: Sequence[Version], kept: set[tuple[str, str, str, str]]
) -> dict[str, Any]:
    live: list[float] = []
    held_up: list[float] = []
    never: list[str] = []
    away_from, away_until = events.registry_away
    for place, move in enumerate(events.moves):
        ends = [later.at for later in events.moves[place + 1 :] if later.key == move.key]
        seen = [
            (asked_at, version)
            for asked_at, version in log.versions_seen[move.key]
            if move.at < asked_at < min(ends, default=np.inf)
        ]
        others = [asked_at for asked_at, version in seen if version != move.version]
        if not seen or seen[-1][1] != move.version:
            never.append(f"{move.key} {move.version}")
        # A move during an outage of the registry counts from its end.
        hidden = move.at < away_until and move.at + MAX_LIVE_SECONDS > away_from
        since = away_until if hidden else move.at
        (held_up if hidden else live).append(max(0.0, max(others, default=0.0) - since))
    forbidden = {(version.sensor_id, version.kind.value): str(version.number) for version in broken}
    answered = {key: [version for _, version in seen] for key, seen in log.versions_seen.items()}
    p50, p99 = np.quantile(log.milliseconds, [0.5, 0.99]).round(1).tolist()
    return {
        "requests": len(log.milliseconds) + len(log.failures),
        "rows": log.rows,
        "p50_ms": p50,
        "p99_ms": p99,
        "failed_requests": len(log.failures),
        "failures": log.failures[:5],
        "rows_with_error": dict(log.row_errors.most_common(5)),
        "mixed_answers": log.mixed,
        "moves": len(events.moves),
        "never_live": never,
        "live_seconds_max": round(max(live), 1),
        "live_seconds_p50": round(float(np.median(live)), 1),
        "held_up_by_outage": len(held_up),
        "live_seconds_after_outage_max": round(max(held_up, default=0.0), 1),
        "rows_of_broken_versions": sum(
            answered.get(key, []).count(version) for key, version in forbidden.items()
        ),
        "predictions_answered": len(log.answered),
        "predictions_lost": len(log.answered - kept),
    }
