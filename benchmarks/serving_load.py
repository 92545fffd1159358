"""One endpoint asked without pause through promotions, roll-backs, broken versions and outages.

Knows the timetable, who asks meanwhile, and how what was answered is judged afterwards. Leaves servers to
`serving_house`, versions to `serving_fleet`.
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

from benchmarks.serving_fleet import LEARNED, SHAPES, START, Upload, register
from benchmarks.serving_house import WORKERS, House, furnished
from training.artifacts.model_files import MODEL_FOLDER, digest_folder
from training.kinds import Kind
from training.registry.model_registry import CHAMPION, Version
from training.workspace import Workspace

PROMOTIONS, ROLL_BACKS, BROKEN = 50, 10, 3
ASKERS = 4
PAUSE = 0.15  # seconds between an answer and the same asker's next request
FORECASTS = 5  # sensors forecast in one request; all are scored in each
LIVE = 10.0  # seconds within which a promotion must be
# As shares of the time of load: 15 of 60 seconds each, apart from each other.
REGISTRY_AWAY, DATABASE_AWAY = (0.2, 0.45), (0.55, 0.8)

Key = tuple[str, str]  # sensor and kind


@dataclass
class Noted:
    """What was answered, taken down while it happens."""

    failures: list[str] = field(default_factory=list)
    row_errors: Counter[str] = field(default_factory=Counter)
    milliseconds: list[float] = field(default_factory=list)
    mixed: int = 0
    rows: int = 0
    said: set[tuple[str, str, str, str]] = field(default_factory=set)  # sensor, kind, time, version
    seen: dict[Key, list[tuple[float, str]]] = field(default_factory=dict)  # when asked, version
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, asked_at: float, status: int, content: bytes) -> None:
        """Take one answer down."""
        spent = 1000 * (time.perf_counter() - asked_at)
        rows = json.loads(content)["predictions"] if status == 200 else []
        versions: dict[Key, set[str]] = {}
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
                self.said.add((row["sensor_id"], kind.model_type, moment, version))
            for key, found in versions.items():
                self.mixed += len(found) > 1
                self.seen.setdefault(key, []).extend((asked_at, version) for version in found)


@dataclass(frozen=True)
class Move:
    """An alias was moved: from then on this version should answer."""

    key: Key
    version: str
    at: float


@dataclass
class Happenings:
    """What was done to the endpoint, and when; all times as of `time.perf_counter`."""

    moves: list[Move] = field(default_factory=list)
    registry_away: list[float] = field(default_factory=list)  # from, until

    def moved(self, version: Version) -> None:
        """Note a champion."""
        key = (version.sensor_id, version.kind.value)
        self.moves.append(Move(key, str(version.number), time.perf_counter()))


def under_load(
    workspace: Workspace,
    names: Sequence[str],
    uploads: Mapping[Kind, list[Upload]],
    folder: Path,
    seconds: float,
    database: str,
) -> dict[str, Any]:
    """Ask two workers for `seconds` while it all happens, and as long again as a promotion may take."""
    coming = [_another(workspace, uploads, name, number) for number, name in enumerate(names[:PROMOTIONS])]
    spoilt = names[PROMOTIONS : PROMOTIONS + BROKEN]
    broken = _broken(workspace, uploads[Kind.DETECTOR][0], spoilt, folder)
    chosen = [*names[:PROMOTIONS], *spoilt]
    noted, happened, stop, number = Noted(), Happenings(), threading.Event(), count()
    with furnished(workspace, chosen, folder, database) as house:
        _warm_up(house, chosen)
        asking = [
            threading.Thread(target=_ask, args=(house, chosen, noted, stop, number)) for _ in range(ASKERS)
        ]
        for thread in asking:
            thread.start()
        timetable = _timetable(workspace, house, coming, broken, happened, seconds)
        begun = time.perf_counter()
        for moment, act in sorted(timetable, key=lambda one: one[0]):
            time.sleep(max(0.0, begun + moment - time.perf_counter()))
            act()
        time.sleep(max(0.0, begun + seconds + LIVE - time.perf_counter()))
        stop.set()
        for thread in asking:
            thread.join()
        told = {
            "workers": WORKERS,
            "seconds": seconds,
            "refused_versions": sorted(one["model"] for one in house.told("/models")["refused"]),
            "resident_mb_of_all_workers": round(house.server.resident_bytes() / 2**20),
        }
        house.server.end()
        left = house.left()
        told["predictions_left_for_the_next_start"] = len(left)
        kept = house.kept() | left
    return told | _judged(noted, happened, broken, kept)


def _another(workspace: Workspace, uploads: Mapping[Kind, list[Upload]], name: str, number: int) -> Version:
    """A good version unlike the one that serves: of one sensor's detector, of the next one's forecaster."""
    kind = list(Kind)[number % 2]
    return register(workspace.registry, name, uploads[kind][(number + 1) % SHAPES])


def _broken(workspace: Workspace, upload: Upload, names: Sequence[str], folder: Path) -> list[Version]:
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
    house: House,
    coming: Sequence[Version],
    broken: Sequence[Version],
    happened: Happenings,
    seconds: float,
) -> list[tuple[float, Callable[[], None]]]:
    registry = workspace.registry

    def promote(version: Version) -> None:
        registry.promote(version)
        happened.moved(version)

    def roll_back(version: Version) -> None:
        happened.moved(registry.rollback(version.sensor_id, version.kind))

    def break_it(version: Version) -> None:
        workspace.mlflow.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def leave() -> None:
        happened.registry_away.append(time.perf_counter())
        house.registry.cut()

    def come_back() -> None:
        house.registry.join()
        happened.registry_away.append(time.perf_counter())

    step = seconds / PROMOTIONS
    return [
        *((step * n, lambda v=version: promote(v)) for n, version in enumerate(coming)),
        # Each a third of the time after its promotion, the last before the end.
        *(
            (seconds / 3 + 4.5 * step * n / 2, lambda v=version: roll_back(v))
            for n, version in enumerate(coming[:ROLL_BACKS])
        ),
        *((seconds * (0.1 + 0.3 * n), lambda v=version: break_it(v)) for n, version in enumerate(broken)),
        (seconds * REGISTRY_AWAY[0], leave),
        (seconds * REGISTRY_AWAY[1], come_back),
        (seconds * DATABASE_AWAY[0], house.database.cut),
        (seconds * DATABASE_AWAY[1], house.database.join),
    ]


def _body(names: Sequence[str], number: int) -> bytes:
    """Two readings of every sensor, and a forecast of some; no two requests ask for the same moments."""
    newest = START + timedelta(minutes=LEARNED, milliseconds=number)
    turn = number * FORECASTS % len(names)
    foreseen = (list(names) * 2)[turn : turn + FORECASTS]
    rows = [
        *(
            (name, newest + timedelta(minutes=minutes), 20.0 + minutes)
            for name in names
            for minutes in (0, 1)
        ),
        *((name, newest + timedelta(minutes=5), None) for name in foreseen),
    ]
    records = [
        {"sensor_id": name, "timestamp": f"{moment.isoformat(timespec='milliseconds')}Z", "value": value}
        for name, moment, value in rows
    ]
    return json.dumps({"dataframe_records": records}).encode()


def _warm_up(house: House, names: Sequence[str]) -> None:
    """Until every worker has loaded what will be asked about."""
    while not all(house.told("/ready")["warm"] for _ in range(8 * WORKERS)):
        time.sleep(1)
    for number in range(4 * WORKERS):
        house.request("POST", "/invocations", _body(names, -1 - number))


def _ask(
    house: House, names: Sequence[str], noted: Noted, stop: threading.Event, number: "count[int]"
) -> None:
    while not stop.is_set():
        body = _body(names, next(number))
        asked_at = time.perf_counter()
        try:
            noted.take(asked_at, *house.request("POST", "/invocations", body))
        except (OSError, HTTPException, ValueError) as error:
            noted.failures.append(f"{type(error).__name__}: {error}")
        stop.wait(PAUSE)


def _judged(
    noted: Noted, happened: Happenings, broken: Sequence[Version], kept: set[tuple[str, str, str, str]]
) -> dict[str, Any]:
    live: list[float] = []
    held_up: list[float] = []
    never: list[str] = []
    away_from, away_until = happened.registry_away
    for place, move in enumerate(happened.moves):
        ends = [later.at for later in happened.moves[place + 1 :] if later.key == move.key]
        seen = [
            (asked_at, version)
            for asked_at, version in noted.seen[move.key]
            if move.at < asked_at < min(ends, default=np.inf)
        ]
        others = [asked_at for asked_at, version in seen if version != move.version]
        if not seen or seen[-1][1] != move.version:
            never.append(f"{move.key} {move.version}")
        # What the registry could not say in time counts from when it could again.
        hidden = move.at < away_until and move.at + LIVE > away_from
        since = away_until if hidden else move.at
        (held_up if hidden else live).append(max(0.0, max(others, default=0.0) - since))
    forbidden = {(version.sensor_id, version.kind.value): str(version.number) for version in broken}
    answered = {key: [version for _, version in seen] for key, seen in noted.seen.items()}
    p50, p99 = np.quantile(noted.milliseconds, [0.5, 0.99]).round(1).tolist()
    return {
        "requests": len(noted.milliseconds) + len(noted.failures),
        "rows": noted.rows,
        "p50_ms": p50,
        "p99_ms": p99,
        "failed_requests": len(noted.failures),
        "failures": noted.failures[:5],
        "rows_with_error": dict(noted.row_errors.most_common(5)),
        "mixed_answers": noted.mixed,
        "moves": len(happened.moves),
        "never_live": never,
        "live_seconds_max": round(max(live), 1),
        "live_seconds_p50": round(float(np.median(live)), 1),
        "held_up_by_outage": len(held_up),
        "live_seconds_after_outage_max": round(max(held_up, default=0.0), 1),
        "rows_of_broken_versions": sum(
            answered.get(key, []).count(version) for key, version in forbidden.items()
        ),
        "predictions_answered": len(noted.said),
        "predictions_lost": len(noted.said - kept),
    }
