"""Make the test data in this folder: a small installation and model folders, written by SafePlan ML 0.1.0.

Run it with the interpreter of a 0.1.0 checkout; it imports and starts that program, never the current one:

    git worktree add ../safeplan-0.1.0 6aa02e0        # the last commit of 0.1.0
    ../safeplan-0.1.0/.venv/bin/python make_fixture.py ../safeplan-0.1.0 OUT --home /var/lib/safeplan

It writes into OUT:

    detector/           PT-1001, version 1, as `safeplan train` registered it: all five base detectors
    detector_bursts/    LT-1003, version 1: no unbroken windows, both detectors on windows are skipped
    detector_constant/  not registered: a sensor that never moved, LOF skipped
    forecaster/         PT-1001, version 1: what the search picked, served by Prophet
    forecaster_linear/  not registered: two Prophets, one of linear growth, and two naive forecasts averaged
    forecaster_naive/   RW-1005, version 1: nothing beat the naive forecast, which is served
    installation.zip    archive of `safeplan backup`: tables, conf, MLflow store and files
    safeplan.db.gz      the SQLite database of the same installation, to be migrated in place
    expected.json       what 0.1.0 answers for these folders, floats as `float.hex`

The registered folders are copied from MLflow's artifact store: MLmodel, environment files, input examples
and `data/model`. 0.1.0 has additive seasonality only, so there is no multiplicative forecaster to keep.

`mlflow/mlflow.db` in the archive, and the line `artifact_path` of each MLmodel, hold absolute paths that
begin with HOME/mlartifacts (`artifacts` in the archive's manifest.json). Restoring the archive rewrites those
in the store. The home folder as it was is `conf/` and the content of `mlflow/` of the archive, beside
`safeplan.db`.

`expected.json` was computed with one numeric thread. Its `made_by` names the versions and the processor: the
last digits of a float may differ where these do.

The readings are synthetic and seeded. Times of training, registration and alert actions are those of the
clock.
"""

import argparse
import csv
import gzip
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
START = datetime(2026, 3, 2)  # noqa: DTZ001 - naive UTC, as 0.1.0 keeps times; a Monday
TRAINED_UNTIL = START + timedelta(days=14)
NOW = TRAINED_UNTIL + timedelta(days=2)
FIRST_ALERT = TRAINED_UNTIL + timedelta(hours=21)  # an hour after the spike
HOUR = timedelta(hours=1)

SENSORS_YAML = """\
types:
  pressure: {unit: bar, low: 0, high: 400}
sensors:
  PT-1001: {name: Wellhead pressure, platform: P-48, type: pressure, step: 1 h, critical_high: 72}
  TT-1002: {name: Wellhead temperature, platform: P-48, unit: degC, step: 1 h, critical_high: 45.6}
  LT-1003: {name: Separator level, platform: P-48, type: level, unit: "%", low: 0, high: 100}
  RW-1005: {name: Tank temperature, platform: P-50, type: temperature, unit: degC, step: 1 h}
"""
MONITORING_YAML = """\
site: {language: pt, zone: America/Sao_Paulo}
anomaly_alerts: {hold: PT5M, danger_score: 0.8}
schedule:
  share: {cron: "30 1 * * *", timeout: PT1H, enabled: true}
  tidy: {cron: "45 1 * * *", timeout: PT1H, enabled: false}
tidy: {predictions: P3650D, messages: P3650D, runs: P3650D, drift_checks: P3650D}
exceptions:
  sensors:
    LT-*: {anomaly_alerts: {hold: PT30M, min_deviation: 0.5, direction: high}}
delivery:
  routes:
    room: {types: [ANOMALY, INSTRUMENT, DRIFT], severity: 2}
budget: {alerts_per_day: 60.0, operators: 2}
drift: {reports: 0}
"""
TRAINING_YAML = """\
tuning: {trials: 4, retrials: 2, borrow_below: 0}
"""


def main() -> None:
    """Make everything, or (for the child process) answer for the folders that were made."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a checkout of 0.1.0")
    parser.add_argument("out", type=Path, help="folder to write to")
    parser.add_argument("--home", type=Path, required=True, help="home of the installation; must not exist")
    parser.add_argument(
        "--only-expected", action="store_true", help="compute expected.json again, nothing else"
    )
    arguments = parser.parse_args()
    source, out = arguments.source.resolve(), arguments.out.resolve()
    if arguments.only_expected:
        sys.path.insert(0, str(source))
        write_expected(out)
        return
    home = arguments.home.resolve()
    if home.exists():
        sys.exit(f"{home} exists; name a folder that does not")
    try:
        make_installation(source, home)
        keep_folders(source, home, out)
        keep_home(source, home, out)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    subprocess.run(
        [sys.executable, __file__, str(source), str(out), "--home", str(home), "--only-expected"],
        check=True,
        env={**os.environ, **ONE_THREAD},
    )


# Readings


def readings_of() -> dict[str, list[tuple[datetime, float]]]:
    """All readings by sensor: fourteen days without a fault, then two days with some."""

    rng = np.random.default_rng(10)
    hours = np.arange(16 * 24)
    new = hours >= 14 * 24
    daily = np.sin(2 * np.pi * hours / 24)
    wander = np.zeros(hours.size)
    for hour in range(1, hours.size):
        wander[hour] = 0.9 * wander[hour - 1] + rng.normal(scale=0.25)
    pressure = np.round(60 + 5 * daily + wander + rng.normal(scale=0.2, size=hours.size), 1)
    pressure[14 * 24 + 20] += 25.0  # a spike
    pressure[-14:] = pressure[-14]  # stuck
    temperature = 40 + 3 * daily + rng.normal(scale=0.3, size=hours.size)
    temperature[new] += 6.0 + rng.normal(scale=0.2, size=int(new.sum()))  # a step of the level
    walk = 20 + np.cumsum(rng.normal(scale=0.4, size=hours.size))
    at = [START + HOUR * int(hour) for hour in hours]
    found = {
        "PT-1001": list(zip(at, pressure.tolist(), strict=True)),
        "TT-1002": list(zip(at, temperature.tolist(), strict=True)),
        "RW-1005": list(zip(at, walk.tolist(), strict=True)),
    }
    # Four readings a minute apart, every six hours: no window of readings is ever unbroken.
    bursts = [
        START + timedelta(hours=6 * burst, minutes=minute) for burst in range(16 * 4) for minute in range(4)
    ]
    level = 50 + np.repeat(rng.normal(scale=2, size=16 * 4), 4) + rng.normal(scale=0.3, size=16 * 16)
    found["LT-1003"] = list(zip(bursts, level.tolist(), strict=True))
    # In no file: the first `load` puts it into the table of sensors.
    found["XT-1006"] = list(zip(at[:12], range(12), strict=True))
    return found


def write_csv(path: Path, readings: dict[str, list[tuple[datetime, float]]]) -> None:
    """Long form; floats by `repr`, so that nothing is lost."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["sensor_id", "timestamp", "value"])
        for sensor_id, series in readings.items():
            writer.writerows(
                [sensor_id, f"{when.isoformat()}Z", repr(float(value))] for when, value in series
            )


# The installation


def make_installation(source: Path, home: Path) -> None:
    """Everything an installation does in its first weeks, by the commands of 0.1.0."""

    def safeplan(*words: str, codes: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [sys.executable, str(source / "safeplan.py"), *words],
            cwd=home,
            env=_environment(home, source),
            capture_output=True,
            text=True,
            check=False,
        )
        print(f"$ safeplan {' '.join(words)}  -> {done.returncode}\n{done.stdout}", flush=True)
        if done.returncode not in codes:
            sys.exit(done.stderr)
        return done.stdout

    home.mkdir(parents=True)
    shutil.copytree(source / "conf", home / "conf", ignore=shutil.ignore_patterns("locale", "operate"))
    (home / "conf" / "sensors.yaml").write_text(SENSORS_YAML)
    (home / "conf" / "monitoring.yaml").write_text(MONITORING_YAML)
    (home / "conf" / "training.yaml").write_text(TRAINING_YAML)
    with tempfile.TemporaryDirectory() as folder:
        readings = Path(folder) / "readings.csv"
        write_csv(readings, readings_of())
        safeplan("load", str(readings))
    as_of = TRAINED_UNTIL.isoformat()
    safeplan("train", "PT-1001", "LT-1003", "--jobs", "1", "--as-of", as_of, "--kind", "detector")
    safeplan(
        "train", "PT-1001", "TT-1002", "RW-1005", "--jobs", "1", "--as-of", as_of, "--kind", "forecaster"
    )
    safeplan("promote", "RW-1005", "--kind", "forecaster", "--anyway", codes=(0, 3))
    safeplan("detect", "PT-1001", "LT-1003", "--since", as_of)
    safeplan("forecast", "PT-1001", "TT-1002", "LT-1003", "RW-1005")
    safeplan("alerts", "watch", "--as-of", FIRST_ALERT.isoformat())
    # `safeplan drift` has no --as-of, and a check of today would be no news to a watch of that day.
    check = "from monitoring.drift_fleet import *; workspace = Workspace.here()\n"
    check += (
        f"check_fleet(workspace, workspace.fleet.match(()), now=datetime.fromisoformat({NOW.isoformat()!r}))"
    )
    subprocess.run([sys.executable, "-c", check], cwd=home, env=_environment(home, source), check=True)
    safeplan("alerts", "watch", "--as-of", NOW.isoformat())
    listed = json.loads(safeplan("alerts", "list", "--all", "--json"))["alerts"]
    anomalies = [alert["id"] for alert in listed if alert["type"] == "ANOMALY"]
    safeplan("alerts", "ack", str(anomalies[0]))
    safeplan("alerts", "verdict", str(anomalies[0]), "confirm", "--note", "cable cut")
    safeplan("alerts", "shelve", str(listed[-1]["id"]), "--for", "2h")
    safeplan(
        "alerts",
        "maintenance",
        "--sensor",
        "TT-1002",
        "--from",
        "2026-04-01",
        "--until",
        "2026-04-02",
        "--reason",
        "calibration",
    )
    safeplan("schedule", "--once", "share")
    safeplan("schedule", "--once", "tidy")
    safeplan("alerts", "thresholds", "--share", "--as-of", NOW.isoformat())
    # A second version, so that there is a previous one to roll back to.
    safeplan("train", "TT-1002", "--jobs", "1", "--kind", "forecaster", "--fresh")
    safeplan("promote", "TT-1002", "--kind", "forecaster", "--version", "2", "--anyway", codes=(0, 1, 3))
    safeplan("status")
    safeplan("audit")


def _environment(home: Path, source: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    return {
        **kept,
        **ONE_THREAD,
        "PYTHONPATH": str(source),
        "SAFEPLAN_HOME": str(home),
        "SAFEPLAN_USER": "ana",
        # An address nobody listens at: rows of the outbox are written, nothing is sent.
        "SAFEPLAN_CHANNEL_ROOM": "json://127.0.0.1:9/",
    }


def keep_folders(source: Path, home: Path, out: Path) -> None:
    """Copy version folders out of MLflow's artifact store, and fit two models that no command makes."""

    sys.path.insert(0, str(source))
    from training.detector import AnomalyDetector  # noqa: PLC0415 - found after sys.path is set

    wanted = {
        "detector": "pt-1001-detector",
        "detector_bursts": "lt-1003-detector",
        "forecaster": "pt-1001-forecaster",
        "forecaster_naive": "rw-1005-forecaster",
    }
    with sqlite3.connect(home / "mlflow.db") as store:
        for folder, name in wanted.items():
            query = "SELECT storage_location FROM model_versions WHERE name = ? AND version = 1"
            (place,) = store.execute(query, (name,)).fetchone()
            _fresh(out / folder)
            shutil.copytree(place.removeprefix("file://"), out / folder, dirs_exist_ok=True)
    _fresh(out / "detector_constant")
    constant = AnomalyDetector(seed=0).fit(np.full(200, 3.5))
    constant.save(out / "detector_constant" / "data" / "model")

    from training.forecaster import Forecaster  # noqa: PLC0415 - found after sys.path is set
    from training.forecaster_parameters import ForecasterParameters  # noqa: PLC0415 - found after sys.path is set
    from training.structures import Structure  # noqa: PLC0415 - found after sys.path is set

    series = _bending()
    structures = (
        Structure(growth="linear", changepoint_scale=0.05),
        Structure(halvings=2, lags=12, season_scale=0.1),
    )
    linear = Forecaster(ForecasterParameters(structures, ("last value",), horizon=24), step=HOUR)
    linear.fit(series.index, series.to_numpy())
    _fresh(out / "forecaster_linear")
    linear.save(out / "forecaster_linear" / "data" / "model")


def keep_home(source: Path, home: Path, out: Path) -> None:
    """The archive of `safeplan backup`, and the database itself."""
    (out / "installation.zip").unlink(missing_ok=True)
    subprocess.run(
        [sys.executable, str(source / "safeplan.py"), "backup", str(out / "installation.zip")],
        cwd=home,
        env=_environment(home, source),
        check=True,
    )
    with sqlite3.connect(home / "safeplan.db") as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    packed = gzip.compress((home / "safeplan.db").read_bytes(), compresslevel=9, mtime=0)
    (out / "safeplan.db.gz").write_bytes(packed)


def _fresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


# What 0.1.0 answers


def write_expected(out: Path) -> None:
    """Score and forecast with the folders that were kept; one numeric thread, see `main`."""

    from training.detector import AnomalyDetector  # noqa: PLC0415 - found after sys.path is set
    from training.forecaster import Forecaster  # noqa: PLC0415 - found after sys.path is set

    readings = readings_of()
    cases = []
    for folder, sensor_id in (
        ("detector", "PT-1001"),
        ("detector_bursts", "LT-1003"),
        ("detector_constant", None),
    ):
        detector = AnomalyDetector.load(out / folder / "data" / "model")
        series = _series(readings[sensor_id]) if sensor_id else _constant()
        cases.append({"folder": folder, "sensor_id": sensor_id, **_detector_case(detector, series)})
    for folder, sensor_id in (
        ("forecaster", "PT-1001"),
        ("forecaster_linear", None),
        ("forecaster_naive", "RW-1005"),
    ):
        forecaster = Forecaster.load(out / folder / "data" / "model")
        series = _series(readings[sensor_id]) if sensor_id else _bending(days=16)
        cases.append({"folder": folder, "sensor_id": sensor_id, **_forecaster_case(forecaster, series)})
    names = ("numpy", "scipy", "scikit-learn", "pandas", "skops")
    made_by = {
        "safeplan": version("safeplan"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "simd": simd_extensions(),
        **{name: version(name) for name in names},
    }
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
    (out / "expected.json").write_text(f'{{"made_by": {json.dumps(made_by)},\n"cases": [\n{lines}\n]}}\n')


def _detector_case(detector, series) -> dict:
    """Scores in the light of a history and without one, of usual and unusual values."""

    history = series[series.index < TRAINED_UNTIL].tail(120)
    asked = series[series.index >= TRAINED_UNTIL].copy()
    strange = [np.nan, 1e9, -1e9, float(history.median()), 0.0, float(history.max()) + 1.0]
    asked.iloc[5 : 5 + len(strange)] = strange
    found = detector.detect(asked, history=history)
    forest, forest_scores = detector.detect_isolation_forest(asked)
    lof, lof_scores = detector.detect_lof(asked)
    columns = ("anomaly_score", "historical_average", "historical_std")
    return {
        "kind": "detector",
        "skipped": dict(detector.voices.silent),
        "threshold": detector.threshold.hex(),
        "history": _pairs(history),
        "readings": _pairs(asked),
        "score": _hex(detector.score(asked, history=history)),
        "score_without_history": _hex(detector.score(asked)),
        "score_without_times": _hex(detector.score(asked.to_numpy())),
        "detect": {
            **{name: _hex(found[name]) for name in columns},
            "is_anomaly": found["is_anomaly"].tolist(),
            "severity": [str(one) for one in found["severity"]],
            "reason": [str(one) for one in found["reason"]],
        },
        "isolation_forest": {"labels": forest.tolist(), "scores": _hex(forest_scores)},
        "lof": {"labels": lof.tolist(), "scores": _hex(lof_scores)},
        "promised_share": {str(level): detector.promised_share(level).hex() for level in (0.3, 0.5, 0.9)},
    }


def _forecaster_case(forecaster, series) -> dict:
    """Forecasts from the training's end, from newer readings, and at times before, among and after them."""

    newer = series[series.index >= TRAINED_UNTIL]
    times = pd.date_range(START - timedelta(days=1), NOW + timedelta(days=3), freq="7h30min")
    return {
        "kind": "forecaster",
        "method": forecaster.method,
        "skill": float(forecaster.skill).hex(),
        "history": _pairs(newer),
        "times": [when.isoformat() for when in times],
        "forecast": _frame(forecaster.forecast(48)),
        "forecast_with_history": _frame(forecaster.forecast(48, history=newer)),
        "predict": _frame(forecaster.predict(times)),
        "predict_with_history": _frame(forecaster.predict(times, history=newer)),
    }


def _constant():

    at = pd.DatetimeIndex([TRAINED_UNTIL + HOUR * hour for hour in range(-48, 24)])
    return pd.Series(3.5, index=at, dtype=float)


def _bending(days: int = 14):
    """A level that rises and bends twice, with a day's course."""

    hours = np.arange(days * 24)
    noise = np.random.default_rng(11).normal(scale=0.3, size=16 * 24)[: hours.size]
    values = (
        np.interp(hours, [0, 100, 250, 384], [0, 12, 20, 30]) + 2 * np.sin(2 * np.pi * hours / 24) + noise
    )
    return pd.Series(values, index=pd.DatetimeIndex([START + HOUR * int(hour) for hour in hours]))


def _series(readings):

    at, values = zip(*readings, strict=True)
    return pd.Series(values, index=pd.DatetimeIndex(at), dtype=float)


def _pairs(series) -> list:
    """Times and values, values by `float.hex`."""
    return [
        [when.isoformat(), value.hex()] for when, value in zip(series.index, series.tolist(), strict=True)
    ]


def _frame(frame) -> dict:
    columns = ("forecasted_values", "lower_bound", "upper_bound", "trend")
    return {
        "timestamps": [when.isoformat() for when in frame["timestamps"]],
        **{name: _hex(frame[name]) for name in columns},
    }


def _hex(values) -> list[str]:
    return [float(value).hex() for value in values]


def simd_extensions() -> list[str]:

    return list(np.show_config(mode="dicts")["SIMD Extensions"].get("found", []))


if __name__ == "__main__":
    main()
