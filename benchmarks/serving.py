"""One endpoint for a fleet: how quick beside an empty model, how big, and what promotions and outages cost.

    python -m benchmarks.serving --json OUT [--sensors 500] [--seconds 60] [--only speed load]

Three servers answer the same requests in turns: MLflow's with an empty model, MLflow's with `safeplan-fleet`,
and `safeplan serve`. Then `safeplan serve` with two workers is asked without pause while versions are
promoted, rolled back and broken, and the registry and the database go away. The database is a PostgreSQL
server, behind a wire that can be cut.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import mlflow
import numpy as np
import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.serving_fleet import MODEL_SHAPES as LEARNED_SHAPES
from benchmarks.serving_fleet import build_fleet, daily_readings
from benchmarks.serving_load import BROKEN_VERSIONS, PROMOTIONS, measure_under_load
from benchmarks.serving_processes import BIN, ServerProcess, free_port
from serving.contract import SIGNATURE
from serving.fleet_registration import register_fleet_model
from training.workspace import Workspace

# Rows, sensors, times asked.
SHAPES = {
    "1 row": (1, 1, 300),
    "100 rows, 100 sensors": (100, 100, 100),
    "1,000 rows, 500 sensors": (1000, 500, 60),
}
PARTS = ("speed", "load")
POSTGRES = "postgresql://postgres@127.0.0.1:5432/postgres"
MIN_SENSORS = PROMOTIONS + BROKEN_VERSIONS
EMPTY_SERVER, MLFLOW_SERVER, SAFEPLAN_SERVER = (
    "mlflow, empty model",
    "mlflow, safeplan-fleet",
    "safeplan serve",
)


def request_body(rows: int, sensors: int, names: list[str], *, forecast: bool = False) -> bytes:
    """New readings of this many sensors: normal ones, and one in twenty anomalous."""
    coming = [daily_readings(shape, 0) for shape in range(LEARNED_SHAPES)]
    asked = []
    for row in range(rows):
        number = row % sensors
        reading = coming[number % LEARNED_SHAPES].iloc[row // sensors]
        value = None if forecast else reading["value"] + 9.0 * (row % 20 == 19)
        stamp = f"{reading['timestamp']:%Y-%m-%dT%H:%M:%SZ}"
        asked.append({"sensor_id": names[number], "timestamp": stamp, "value": value})
    return json.dumps({"dataframe_records": asked}).encode()


def measure_latency(servers: Mapping[str, str], content: bytes, times: int) -> dict[str, list[float]]:
    """Milliseconds of each answer, the servers asked in turns so that all meet the same machine."""
    found: dict[str, list[float]] = {name: [] for name in servers}
    with httpx.Client(timeout=120) as client:
        for turn in range(times + 3):
            for name, url in servers.items():
                started = time.perf_counter()
                answer = client.post(
                    f"{url}/invocations", content=content, headers={"Content-Type": "application/json"}
                )
                spent = 1000 * (time.perf_counter() - started)
                answer.raise_for_status()
                if turn >= 3:
                    found[name].append(spent)
    return found


def summarise_latency(found: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Medians and 99th percentiles, and their ratios to the empty model's."""
    results = {}
    for name, spent in found.items():
        p50, p99 = np.quantile(spent, [0.5, 0.99]).round(2).tolist()
        results[name] = {
            "p50_ms": p50,
            "p99_ms": p99,
            "p50_ratio": round(p50 / float(np.median(found[EMPTY_SERVER])), 2),
            "p99_ratio": round(p99 / float(np.quantile(found[EMPTY_SERVER], 0.99)), 2),
        }
    return results


def measure_speed(workspace: Workspace, names: list[str], folder: Path) -> dict[str, Any]:
    """Latency, memory and start of the three servers."""
    environ = {"SAFEPLAN_HOME": str(workspace.home), "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()}
    mlflow.pyfunc.save_model(
        str(folder / "empty"),
        python_model=str(Path(__file__).parent / "empty_model.py"),
        signature=SIGNATURE,
        pip_requirements=["mlflow"],
    )
    ports = {name: free_port() for name in (EMPTY_SERVER, MLFLOW_SERVER, SAFEPLAN_SERVER)}
    plain = [str(BIN / "mlflow"), "models", "serve", "--env-manager", "local"]
    commands = {
        EMPTY_SERVER: [*plain, "-m", str(folder / "empty"), "-p", str(ports[EMPTY_SERVER])],
        MLFLOW_SERVER: [*plain, "-m", "models:/safeplan-fleet@champion", "-p", str(ports[MLFLOW_SERVER])],
        SAFEPLAN_SERVER: [str(BIN / "safeplan"), "serve", "--port", str(ports[SAFEPLAN_SERVER])],
    }
    urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    results: dict[str, Any] = {
        "start_seconds": {},
        "first_answer_seconds": {},
        "resident_mb": {},
        "latency": {},
    }
    with ExitStack() as stack:
        running = {}
        for name, command in commands.items():
            process = stack.enter_context(ServerProcess(command, environ, folder / f"{name}.log"))
            running[name] = process
            results["start_seconds"][name] = round(process.wait_for(f"{urls[name]}/ping"), 1)
            first = httpx.post(
                f"{urls[name]}/invocations",
                content=request_body(1, 1, names),
                headers={"Content-Type": "application/json"},
                timeout=120,
            )
            first.raise_for_status()
            results["first_answer_seconds"][name] = round(time.perf_counter() - process.begun, 1)
        for name in (MLFLOW_SERVER, SAFEPLAN_SERVER):
            results.setdefault("all_loaded_seconds", {})[name] = load_all(urls[name], names, running[name])
        for shape, (rows, sensors, times) in SHAPES.items():
            content = request_body(rows, min(sensors, len(names)), names)
            results["latency"][shape] = summarise_latency(measure_latency(urls, content, times))
        shape = "1,000 rows, 500 sensors, all to forecast"
        content = request_body(1000, min(500, len(names)), names, forecast=True)
        results["latency"][shape] = summarise_latency(measure_latency(urls, content, 20))
        results["resident_mb"] = {name: round(one.resident_bytes() / 2**20) for name, one in running.items()}
    return results


def load_all(url: str, names: list[str], server: ServerProcess) -> float:
    """Ask for both models of every sensor; seconds since the server was started."""
    with httpx.Client(timeout=300) as client:
        for first in range(0, len(names), 25):
            batch = names[first : first + 25]
            for forecast in (False, True):
                client.post(
                    f"{url}/invocations",
                    content=request_body(len(batch), len(batch), batch, forecast=forecast),
                    headers={"Content-Type": "application/json"},
                ).raise_for_status()
    return round(time.perf_counter() - server.begun, 1)


def show_results(results: Mapping[str, Any]) -> None:
    """The same as tables."""
    console = Console(width=120)
    if speed := results.get("speed"):
        table = Table("request", "server", "p50 ms", "p99 ms", "p50 ratio", "p99 ratio", box=None)
        for shape, servers in speed["latency"].items():
            for name, process in servers.items():
                table.add_row(
                    shape,
                    name,
                    *(f"{process[key]:g}" for key in ("p50_ms", "p99_ms", "p50_ratio", "p99_ratio")),
                )
        console.print(table)
        for key in ("start_seconds", "first_answer_seconds", "all_loaded_seconds", "resident_mb"):
            console.print(key, speed[key])
    if load := results.get("load"):
        table = Table("under load", "", box=None)
        for name, found in load.items():
            table.add_row(name, str(found))
        console.print(table)


def main() -> None:
    """Build, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--sensors", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--database", default=os.environ.get("SAFEPLAN_TEST_POSTGRES", POSTGRES))
    arguments = parser.parse_args()
    if "load" in arguments.only:
        if arguments.sensors < MIN_SENSORS:
            parser.error(f"under load {MIN_SENSORS} sensors are needed, not {arguments.sensors}")
        try:
            psycopg.connect(arguments.database).close()
        except psycopg.Error as error:
            parser.error(
                f"no PostgreSQL to cut off at {arguments.database}; name one with --database. {error}"
            )
    with tempfile.TemporaryDirectory(prefix="safeplan-serving-") as place:
        folder = Path(place)
        os.environ["SAFEPLAN_HOME"] = str(folder / "home")
        for name in ("MLFLOW_TRACKING_URI", "SAFEPLAN_DATABASE_URL"):
            os.environ.pop(name, None)
        workspace = Workspace(folder / "home")
        started = time.perf_counter()
        names, uploads = build_fleet(workspace, arguments.sensors, folder / "learned")
        register_fleet_model(workspace)
        results: dict[str, Any] = {
            "sensors": len(names),
            "models": 2 * len(names),
            "build_seconds": round(time.perf_counter() - started, 1),
        }
        if "speed" in arguments.only:
            results["speed"] = measure_speed(workspace, names, folder)
        if "load" in arguments.only:
            results["load"] = measure_under_load(
                workspace, names, uploads, folder, arguments.seconds, arguments.database
            )
    arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    show_results(results)


if __name__ == "__main__":
    main()
