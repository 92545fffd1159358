"""Faults of a plant: full disks, servers that fail or stall, sensors that change. Nothing is lost."""

import shutil
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event, func, select, text

from serving.batch import detect_fleet, forecast_fleet
from tests.support.workspaces import ingest_readings, make_readings, parse_time
from training.anomaly.detector import AnomalyDetector
from training.artifacts.model_files import read_json, write_json
from training.data.readings import ReadingStore
from training.data.sensor_store import add_missing_sensors, load_fleet
from training.errors import RegistryError, StoreError, UntrustedModel
from training.forecasting.forecaster import Forecaster
from training.ingest.load_files import load_files
from training.kinds import Kind
from training.operations.overview import describe_models, describe_sensors
from training.pipeline.fleet import train_fleet
from training.registry.model_registry import CHAMPION, Registry
from training.registry.tracking import TrackingSettings, connect
from training.storage.database import ml_predictions, open_database, reading, sensor_readings, writing

NOW = parse_time("2026-06-01T00:00")


@pytest.fixture
def champions(workspace, plan, training_stub):
    """PT-1 and PT-2 with a champion of each kind."""
    for name in ("PT-1", "PT-2"):
        ingest_readings(workspace, name)
    train_fleet(workspace, load_fleet(workspace.engine).match(), list(Kind), plan, jobs=1)
    return workspace


def score(workspace):
    chosen = load_fleet(workspace.engine).match()
    return {outcome.sensor_id: outcome for outcome in detect_fleet(workspace, chosen)}


@pytest.mark.fault(
    "a full disk in a load", "one clear line; stored readings stay, the next load adds the rest"
)
def test_a_full_disk_during_a_load_keeps_what_was_stored(tmp_path, record_losses):
    engine = open_database(f"sqlite:///{tmp_path / 'safeplan.db'}")
    store = ReadingStore(engine)
    sent = make_readings(rows=120_000)
    path = tmp_path / "plant.csv"
    sent.to_csv(path, index=False)
    room = {"pages": 600}

    @event.listens_for(engine, "checkout")
    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {room['pages']}")

    with pytest.raises(StoreError, match=r"full.*Free some disk space"):
        load_files([path], store, now=NOW + timedelta(days=9_000))
    stored = count(engine)
    room["pages"] = 1_000_000
    load_files([path], store, now=NOW + timedelta(days=9_000))

    assert stored < len(sent)
    record_losses(lost=len(sent) - count(engine), doubled=0)
    engine.dispose()


@contextmanager
def room_for(engine, pages):
    """Let the database grow by at most this many pages, like on a disk that is then full."""
    limits = [int(query_value(engine, "PRAGMA page_count")) + pages]

    def limit(connection, *_):
        connection.execute(f"PRAGMA max_page_count = {limits[0]}")

    event.listen(engine, "checkout", limit)
    yield
    limits[0] = 1_000_000
    query_value(engine, "PRAGMA page_count")
    event.remove(engine, "checkout", limit)


def query_value(engine, query):
    with reading(engine) as connection:
        return connection.exec_driver_sql(query).scalar()


@pytest.mark.parametrize("pages", [0, 20])
@pytest.mark.fault(
    "a full disk in detect and forecast",
    "one line per sensor names the cause; once there is space, every reading has its score",
)
def test_a_full_disk_during_detect_loses_no_score(champions, pages, record_losses):
    """Twenty pages are enough for some of one sensor's scores, but not for all."""
    chosen = load_fleet(champions.engine).match()
    for name in ("PT-1", "PT-2"):
        champions.readings.ingest(make_readings(name, 500, start="2026-01-09T08:00"))

    with room_for(champions.engine, pages):
        interrupted = [*detect_fleet(champions, chosen), *forecast_fleet(champions, chosen, horizon=400)]
    first = scored(champions.engine)
    again = [*detect_fleet(champions, chosen), *forecast_fleet(champions, chosen, horizon=400)]

    errors = [outcome.error for outcome in interrupted if outcome.failed]
    assert errors
    assert all("full" in error and "Free some disk space" in error for error in errors), errors
    assert not any(outcome.failed for outcome in again)
    result = scored(champions.engine)
    assert set(first) <= set(result)
    record_losses(lost=1_000 - len(set(result)), doubled=len(result) - len(set(result)))


def scored(engine):
    with reading(engine) as connection:
        columns = ml_predictions.c
        query = select(columns.sensor_id, columns.timestamp).where(columns.anomaly_score.is_not(None))
        return connection.execute(query).all()


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.fault(
    "a database that has become read-only", "one clear line that names the server to connect to"
)
def test_a_read_only_server_can_be_read_and_writing_names_the_cause(database_url):
    open_database(database_url).dispose()
    standby = open_database(f"{database_url}%20-cdefault_transaction_read_only%3Don")
    store = ReadingStore(standby)

    with pytest.raises(StoreError, match=r"read-only.*primary server"):
        store.ingest(make_readings())

    assert store.last_times().empty
    standby.dispose()


@pytest.mark.fault(
    "a database server that accepts connections but never answers", "one line after the timeout"
)
def test_a_database_server_that_stalls_is_given_up(monkeypatch):
    monkeypatch.setattr("training.storage.database.CONNECT_TIMEOUT_SECONDS", 2)
    with (
        socket.create_server(("127.0.0.1", 0)) as stalled,
        pytest.raises(StoreError, match=r"timeout"),
    ):
        open_database(f"postgresql://me@127.0.0.1:{stalled.getsockname()[1]}/plant")


@contextmanager
def web_server(handle) -> Iterator[str]:
    """An HTTP server that handles every request with one function."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            handle(self)

        do_POST = do_GET  # noqa: N815 (http.server's name)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def fail(request):
    request.send_response(500)
    request.end_headers()
    request.wfile.write(b"<html>out of memory</html>")


@pytest.mark.fault("an MLflow server that answers 500", "one clear line; nothing is changed")
def test_an_mlflow_server_that_fails_is_one_registry_error(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with web_server(fail) as url:
        registry = Registry(connect(TrackingSettings(uri=url)))

        with pytest.raises(RegistryError, match="cannot list the registered models"):
            registry.listings()


@pytest.mark.fault("an MLflow server that never answers", "one line after the timeout")
def test_an_mlflow_server_that_stalls_is_given_up(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    released = threading.Event()
    with web_server(lambda _: released.wait(20)) as url:
        registry = Registry(connect(TrackingSettings(uri=url)))

        with pytest.raises(RegistryError, match=r"[Tt]imed? ?out"):
            registry.listings()
        released.set()


@pytest.mark.fault(
    "an alias that points at a deleted version", "an error for that sensor, the others are scored"
)
def test_a_deleted_champion_affects_only_its_own_sensor(champions):
    champions.mlflow.delete_model_version("pt-1-detector", "1")

    outcomes = score(champions)

    assert outcomes["PT-1"].failed
    assert "safeplan train" in outcomes["PT-1"].error
    assert outcomes["PT-2"].status == "scored"


@pytest.mark.fault("a model made by a newer program", "refused with what to do; the others are scored")
@pytest.mark.parametrize(
    ("kind", "name", "key", "model"),
    [
        (Kind.DETECTOR, "detector.json", "format", AnomalyDetector),
        (Kind.FORECASTER, "forecaster.json", "version", Forecaster),
    ],
)
def test_a_model_of_a_newer_program_is_refused_with_the_reason(
    fitted_models, tmp_path, kind, name, key, model
):
    shutil.copytree(fitted_models[kind][0], tmp_path / "files")
    (path,) = (tmp_path / "files").rglob(name)
    write_json(read_json(path) | {key: 99}, path)

    with pytest.raises(UntrustedModel, match=r"layout 99.*another version of SafePlan"):
        model.load(path.parent)


def later(rows, *, step="h", start="2026-01-09T08:00", values=None):
    times = pd.date_range(start, periods=rows, freq=step)
    daily = 20 + 5 * np.sin(2 * np.pi * times.hour.to_numpy() / 24)
    return pd.DataFrame(
        {"sensor_id": "PT-1", "timestamp": times, "value": daily if values is None else values}
    )


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(later(48, values=21.0), id="freezes"),
        pytest.param(later(48, start="2027-01-09"), id="returns after a year"),
        pytest.param(later(48, values=later(48)["value"] * 1.8 + 32), id="changes its unit"),
        pytest.param(later(480, step="6min"), id="changes its step"),
        pytest.param(later(2, values=[1e308, -1e308]), id="sends 1e308"),
        pytest.param(later(3, values=[1e30, 20.0, 1e-300]), id="sends huge and tiny values"),
    ],
)
@pytest.mark.fault(
    "a sensor that freezes, returns after a year, changes its unit or step, or sends 1e308",
    "each reading has a score in [0, 1] or a reason; other sensors are scored as before",
)
def test_a_sensor_that_changes_is_scored_and_affects_no_other(champions, sent, tmp_path):
    path = tmp_path / "changed.csv"
    sent.to_csv(path, index=False)

    report = load_files([path], champions.readings, now=parse_time("2028-01-01"))
    outcomes = score(champions)
    forecasts = {
        outcome.sensor_id: outcome
        for outcome in forecast_fleet(champions, load_fleet(champions.engine).match())
    }

    assert report.rows == len(sent)
    assert outcomes["PT-1"].status == "scored", outcomes["PT-1"].error
    assert 0 <= outcomes["PT-1"].metrics["score"] <= 1
    assert not forecasts["PT-1"].failed, forecasts["PT-1"].error
    assert np.isfinite([forecasts["PT-1"].metrics[name] for name in ("lower", "expected", "upper")]).all()
    assert outcomes["PT-2"].status == "scored"


@pytest.mark.fault("a sensor that stops sending", "it keeps its last score and is not scored again")
def test_a_sensor_that_stops_sending_keeps_its_last_score(champions):
    before = score(champions)["PT-1"]

    after = score(champions)["PT-1"]

    assert (before.status, after.status) == ("scored", "nothing new")


@pytest.mark.fault("a sensor that is renamed", "its models, scores and history stay with its id")
def test_a_renamed_sensor_keeps_its_models(champions, tmp_path):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "sensors.yaml").write_text("sensors: {PT-1: {name: Wellhead <b>pressure</b>}}\n")

    (sensor,) = load_fleet(champions.engine).match(["PT-1"])
    (outcome,) = detect_fleet(champions, [sensor])

    assert sensor.name == "Wellhead <b>pressure</b>"
    assert outcome.version == 1


@pytest.mark.fault(
    "a clock that is set back", "ages are never negative; a lease from the future does not block forever"
)
def test_a_clock_that_is_set_back_gives_no_negative_age(champions):
    chosen = load_fleet(champions.engine).match()

    outcomes = describe_models(champions, chosen, now=parse_time("2025-01-01"))

    assert all(outcome.metrics["age_days"] >= 0 for outcome in outcomes)


@pytest.mark.slow
@pytest.mark.fault("a fleet of 5,000 sensors", "listed, described and scored by each command")
def test_five_thousand_sensors_are_described_and_scored(champions):
    names = [f"T-{number:04}" for number in range(5_000)]
    few = make_readings(names[0], 2)
    many = pd.concat([few.assign(sensor_id=name) for name in names])
    champions.readings.ingest(many)
    add_missing_sensors(champions.engine, names)
    chosen = load_fleet(champions.engine).match()

    described = describe_sensors(champions, chosen)
    models = describe_models(champions, chosen, now=NOW)
    outcomes = score(champions)

    assert (len(described), len(models), len(outcomes)) == (5_002, 10_004, 5_002)
    assert {outcome.status for outcome in outcomes.values()} == {"scored", "failed"}
    assert sum(model.alias == CHAMPION for model in models) == 4


TEN_MILLION = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999999)
    INSERT INTO sensor_readings
    SELECT 'PT-1', strftime('%Y-%m-%d %H:%M:%S', :newest - 10 * (9999999 - i), 'unixepoch') || '.000000',
           20.0 + (i * 7919 % 1000) / 500.0, 0
    FROM n
"""


@pytest.mark.slow
@pytest.mark.fault(
    "10 million readings of one sensor", "described, trained and scored from the newest, within 200 MB"
)
def test_ten_million_readings_of_one_sensor_fit_into_200_mb(workspace, plan, training_stub):
    with writing(workspace.engine) as connection:
        connection.execute(
            text(TEN_MILLION), {"newest": int(parse_time("2026-01-09T07:00+00:00").timestamp())}
        )
    add_missing_sensors(workspace.engine, ["PT-1"])
    chosen = load_fleet(workspace.engine).match()

    tracemalloc.start()
    (described,) = describe_sensors(workspace, chosen)
    trained = train_fleet(workspace, chosen, list(Kind), plan, jobs=1)
    (scored,) = detect_fleet(workspace, chosen)
    (forecast,) = forecast_fleet(workspace, chosen)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert described["readings"] == 10_000_000
    assert [outcome.status for outcome in (*trained, scored, forecast)] == [
        "promoted",
        "promoted",
        "scored",
        "forecast",
    ]
    assert peak < 200e6


def count(engine):
    with reading(engine) as connection:
        return connection.execute(select(func.count()).select_from(sensor_readings)).scalar()
