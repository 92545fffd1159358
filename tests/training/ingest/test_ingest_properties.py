"""Properties of loading: every row is counted once, and no reading is lost or stored twice."""

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from training.data.readings import ReadingStore
from training.data.sensors import Fleet
from training.errors import StoreError
from training.ingest.layouts import Layout
from training.ingest.load_files import load_files
from training.ingest.load_report import LoadReport, RowReason, RowStatus
from training.ingest.row_validation import IngestSettings
from training.storage.database import open_database

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HEADER = "sensor_id,timestamp,value\n"


def load(store: ReadingStore, *paths: Path, **options) -> LoadReport:
    options = {"settings": IngestSettings(), **options}
    return load_files(paths, store, now=NOW, fleet=Fleet(), **options)


def stored(store: ReadingStore) -> dict[tuple[str, pd.Timestamp], float]:
    rows = store.many(store.spans().index)
    return dict(zip(zip(rows["sensor_id"], rows["timestamp"], strict=True), rows["value"], strict=True))


def empty(store: ReadingStore) -> None:
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM sensor_readings")


# A cell, and the reason to refuse it; None for a valid one.
SENSORS = {"PT-1": None, " PT-2 ": None, "": RowReason.NO_SENSOR}
STAMPS = {
    "2026-03-01": None,
    "2026-03-01T00:00:00Z": None,
    "2026-03-02 00:00": None,
    "1772323200": None,  # 2026-03-01
    "soon": RowReason.UNREADABLE_STAMP,
    "2027-01-01": RowReason.FUTURE,
    "1890-01-01": RowReason.TOO_OLD,
}
VALUES = {
    "1": None,
    "2.50": None,
    '"1,5"': None,
    "": RowReason.EMPTY,
    "Bad": RowReason.TEXT_CODE,
    "x": RowReason.NOT_A_NUMBER,
    "-9999": RowReason.SENTINEL,
    "1e999": RowReason.NOT_FINITE,
}
GOOD_ROWS = st.tuples(*(st.sampled_from(list(cells)) for cells in (SENSORS, STAMPS, VALUES)))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(GOOD_ROWS, max_size=15), replace=st.booleans(), block=st.sampled_from([20, 4_000_000]))
def test_every_row_ends_as_a_plain_model_of_the_rules_predicts(
    store, tmp_path, monkeypatch, rows, replace, block
):
    """However the file is split into chunks; the model is a dictionary, filled row by row."""
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", block)
    empty(store)
    expected: dict[tuple[str, pd.Timestamp], float] = {}
    outcomes: list[RowReason | None] = []
    for sensor, stamp, value in rows:
        refusal = SENSORS[sensor] or STAMPS[stamp] or VALUES[value]
        if refusal:
            outcomes.append(refusal)
            continue
        number = float(value.strip('"').replace(",", "."))
        key = (sensor.strip(), pd.Timestamp("2026-03-02" if "-02" in stamp else "2026-03-01"))
        before = expected.get(key)
        if before is None:
            outcomes.append(RowReason.DECIMAL_COMMA if "," in value else None)
        elif before == number:
            outcomes.append(RowReason.ALREADY_THERE)
        else:
            outcomes.append(RowReason.REPLACED if replace else RowReason.CONTRADICTED)
        if before is None or replace:
            expected[key] = number
    path = tmp_path / "rows.csv"
    path.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))

    report = load(store, path, replace=replace)

    assert report.reasons == {reason: outcomes.count(reason) for reason in set(outcomes) - {None}}
    assert report.accepted == outcomes.count(None)
    assert report.rows == len(rows)
    assert stored(store) == expected


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    *",;\"\n\r\t\x00 .-+eE'",
                    "PT-1",
                    "2026-03-01",
                    "02:30",
                    "1",
                    "é",
                    "🙂",
                    "\ufeff",
                    "1e999",
                    "Bad",
                    "+25:00",
                ]
            ),
            max_size=40,
        ).map(lambda parts: (HEADER + "".join(parts)).encode()),
        st.binary(max_size=60).map(lambda tail: HEADER.encode() + b"A,2026-03-01,1\n" + tail),
    ),
    zone=st.sampled_from(["UTC", "Europe/Oslo"]),
)
@example(b"\xff\xfe\x00", "UTC")
@example(b"PAR1PAR1", "UTC")
@example(b"\x1f\x8b\x08\x00", "UTC")
@pytest.mark.fault("any bytes as a file of readings", "every row is counted")
def test_rows_of_any_bytes_are_loaded_or_refused_and_counted(sqlite_engine, tmp_path, content, zone):
    store = ReadingStore(sqlite_engine)
    empty(store)
    path = tmp_path / "any.csv"
    path.write_bytes(content)

    report = load(store, path, layout=Layout(zone=zone), refused_to=tmp_path / "refused.csv")

    assert report.rows == report.accepted + report.already_there + report.corrected + report.refused
    added = report.accepted + sum(
        count
        for reason, count in report.reasons.items()
        if RowReason(reason).status is RowStatus.CORRECTED and reason != RowReason.REPLACED
    )
    assert len(stored(store)) == added


def write_rows(path: Path, start: int, count: int, *, step: int = 1) -> Path:
    """Readings of four sensors, minute by minute; the value follows from the key."""
    minutes = pd.date_range("2026-03-01", periods=start + count * step, freq="min").astype(str)[start::step]
    path.write_text(HEADER + "".join(f"PT-{n % 4},{time},{n % 7}\n" for n, time in enumerate(minutes, start)))
    return path


@pytest.mark.parametrize("replace", [False, True])
def test_two_simultaneous_loads_lose_no_reading_and_store_none_twice(store, tmp_path, monkeypatch, replace):
    """The files overlap by half, and each load has its own connection."""
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", 4_000)
    paths = [write_rows(tmp_path / "a.csv", 0, 2_000), write_rows(tmp_path / "b.csv", 1_000, 2_000)]
    engines = [open_database(store.engine.url.render_as_string(hide_password=False)) for _ in paths]

    with ThreadPoolExecutor(2) as pool:
        reports = list(
            pool.map(lambda at: load(ReadingStore(engines[at]), paths[at], replace=replace), range(2))
        )

    for engine in engines:
        engine.dispose()
    expected = len({line for path in paths for line in path.read_text().splitlines()[1:]})
    assert store.spans()["readings"].sum() == expected
    assert sum(report.accepted for report in reports) == expected
    assert sum(report.already_there for report in reports) == 4_000 - expected


def test_a_load_stopped_at_any_batch_is_completed_by_the_next(store, tmp_path, monkeypatch):
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", 4_000)
    path = write_rows(tmp_path / "rows.csv", 0, 1_000)
    for batches in range(0, 8, 2):
        empty(store)
        stored_rows = _stopped_after(batches, store, path, monkeypatch)

        report = load(store, path)

        assert (report.accepted, report.already_there) == (1_000 - stored_rows, stored_rows)
        assert store.spans()["readings"].sum() == 1_000


def _stopped_after(batches: int, store: ReadingStore, path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Load until the database fails after some batches; the number of readings stored."""
    remaining = [batches]

    def ingest(self: ReadingStore, batch: pd.DataFrame, *, replace: bool = False):
        if not remaining[0]:
            raise StoreError("database unreachable")
        remaining[0] -= 1
        return original(self, batch, replace=replace)

    original = ReadingStore.ingest
    with monkeypatch.context() as patch:
        patch.setattr(ReadingStore, "ingest", ingest)
        with pytest.raises(StoreError):
            load(store, path)
    return int(store.spans()["readings"].sum())


LOADER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from training.ingest import table_files
from training.storage.database import open_database
from training.ingest.load_files import load_files
from training.data.readings import ReadingStore
from training.data.sensors import Fleet

table_files.READ_BLOCK_BYTES = 4_000
store = ReadingStore(open_database(sys.argv[1]))
report = lambda *_: print(flush=True)
load_files([Path(sys.argv[2])], store, now=datetime.now(UTC), fleet=Fleet(), progress=report)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.fault("a load killed in a batch", "the next load completes it")
def test_a_load_that_is_killed_is_completed_by_the_next(store, tmp_path):
    path = write_rows(tmp_path / "rows.csv", 0, 20_000)
    url = store.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", LOADER, url, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as loader:
        assert loader.stdout is not None
        for _ in range(5):
            loader.stdout.readline()
        loader.kill()
    stored_rows = int(store.spans()["readings"].sum())

    report = load(store, path)

    assert 0 < stored_rows < 20_000
    assert (report.accepted, report.already_there) == (20_000 - stored_rows, stored_rows)
    assert store.spans()["readings"].sum() == 20_000
