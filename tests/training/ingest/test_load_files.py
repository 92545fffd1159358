"""Load: every row of every file gets an outcome, and the accepted ones are stored."""

import csv
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from training.data import sensor_store
from training.data.readings import ReadingStore
from training.data.sensors import Fleet, Sensor
from training.errors import ConfigurationError
from training.ingest.layouts import Layout
from training.ingest.load_files import load_files
from training.ingest.load_report import LoadReport, RowReason
from training.ingest.row_validation import IngestSettings

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HEADER = "sensor_id,timestamp,value\n"


@pytest.fixture
def readings(sqlite_engine) -> ReadingStore:
    return ReadingStore(sqlite_engine)


@pytest.fixture
def load(readings, tmp_path):
    """Load texts as files, with the default settings."""

    def run(*contents: str | bytes, **options) -> LoadReport:
        paths = []
        for number, content in enumerate(contents):
            paths.append(tmp_path / f"file{number}.csv")
            paths[-1].write_bytes(content if isinstance(content, bytes) else content.encode())
        return load_files(
            paths, readings, **{"now": NOW, "fleet": Fleet(), "settings": IngestSettings(), **options}
        )

    return run


def stored(readings: ReadingStore) -> dict[tuple[str, str], float]:
    rows = readings.many(readings.spans().index)
    times = rows["timestamp"].astype(str)
    return dict(zip(zip(rows["sensor_id"], times, strict=True), rows["value"], strict=True))


def counts(report: LoadReport) -> tuple[int, int, int, int]:
    """Accepted, already there, corrected, refused; they must be all rows."""
    outcomes = (report.accepted, report.already_there, report.corrected, report.refused)
    assert sum(outcomes) == report.rows
    assert sum(report.reasons.values()) == report.rows - report.accepted
    return outcomes


def test_rows_of_a_long_file_are_stored(load, readings):
    report = load(HEADER + "PT-1,2026-03-01 12:00:00,1.5\nPT-2,2026-03-01 12:00:00,2.5\n")

    assert counts(report) == (2, 0, 0, 0)
    assert stored(readings) == {("PT-1", "2026-03-01 12:00:00"): 1.5, ("PT-2", "2026-03-01 12:00:00"): 2.5}
    assert report.sensors_created == ("PT-1", "PT-2")
    assert list(sensor_store.read_sensors_table(readings.engine)) == ["PT-1", "PT-2"]


def test_cells_of_a_wide_file_are_stored(load, readings):
    report = load("time,PT-1,PT-2\n2026-03-01,1,2\n2026-03-02,3,\n")

    assert counts(report) == (3, 0, 0, 1)
    assert stored(readings) == {
        ("PT-1", "2026-03-01"): 1,
        ("PT-2", "2026-03-01"): 2,
        ("PT-1", "2026-03-02"): 3,
    }


def test_two_columns_of_one_tag_in_a_wide_file_are_compared(load):
    report = load("time,PT-1,PT-1\n2026-03-01,1,1\n2026-03-02,1,2\n")

    assert report.reasons == {RowReason.ALREADY_THERE: 1, RowReason.CONTRADICTED: 1}


def test_columns_can_be_mapped(load, readings):
    content = "when,tag,pv,status\n2026-03-01,PT-1,1.5,Bad\n"
    columns = {"when": "timestamp", "tag": "sensor_id", "pv": "value", "status": "data_quality"}

    counts(load(content, layout=Layout(columns=columns)))

    assert readings.between("PT-1")["data_quality"].tolist() == [1]


def test_the_wide_layout_can_be_forced(load, readings):
    load("timestamp,value\n2026-03-01,1\n", layout=Layout(form="wide"))

    assert list(readings.spans().index) == ["value"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("when,tag,pv\n", "it has when, tag, pv.*--map when=sensor_id"),
        ("timestamp,value\n2026-03-01,1\n", "needs the columns"),
        ("timestamp\n2026-03-01\n", "needs the columns"),
        ("sensor_id,timestamp,value,value\n", "more than one value"),
        ("", "is empty"),
        ("\n\n", "empty line"),
        (b"PK\x03\x04 whatever", "spreadsheet"),
        (b"PAR1 cut short", "not a complete Parquet"),
        (b"\x1f\x8bnot gzip at all", "cut short or damaged"),
        ("tag°,x\n".encode("cp1252"), "--encoding cp1252"),
        (bytes(range(32, 250)) * 3, "not UTF-8"),
    ],
)
def test_an_unreadable_file_is_reported_with_its_cause_and_the_next_is_loaded(
    load, tmp_path, content, message
):
    report = load(content, HEADER + "PT-1,2026-03-01,1\n")

    assert report.accepted == 1
    assert list(report.unreadable) == [str(tmp_path / "file0.csv")]
    assert pd.Series(report.unreadable).str.contains(message).all()


def test_a_missing_file_is_reported(readings, tmp_path):
    report = load_files([tmp_path / "none.csv", tmp_path], readings, now=NOW, fleet=Fleet())

    assert "cannot be opened" in report.unreadable[str(tmp_path / "none.csv")]
    assert "cannot be opened" in report.unreadable[str(tmp_path)]


def test_a_missing_column_cannot_be_mapped(load):
    report = load(HEADER, layout=Layout(columns={"tag": "sensor_id"}))

    assert "no column tag" in next(iter(report.unreadable.values()))


def test_columns_can_be_mapped_only_to_known_names():
    with pytest.raises(ConfigurationError, match="pressure; choose from sensor_id, timestamp"):
        Layout(columns={"tag": "pressure"})


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separators_are_detected(load, separator):
    content = (HEADER + "PT-1,2026-03-01,1.5\n").replace(",", separator)

    assert counts(load(content)) == (1, 0, 0, 0)


def test_a_comma_is_decimal_in_a_file_separated_by_semicolons(load, readings):
    report = load("sensor_id;timestamp;value\nPT-1;2026-03-01;1,234\n")

    assert report.reasons == {RowReason.DECIMAL_COMMA: 1}
    assert list(stored(readings).values()) == [1.234]


@pytest.mark.parametrize(
    "encode",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.removesuffix("\n").encode(),
        lambda text: gzip.compress(text.encode()),
    ],
    ids=["byte order mark", "utf-16", "crlf", "cr", "no last line end", "gzip"],
)
def test_encoding_line_ends_and_compression_do_not_change_the_rows(load, readings, encode):
    counts(load(encode(HEADER + "PT-ö,2026-03-01,1\nPT-2,2026-03-01,2\n")))

    assert stored(readings) == {("PT-ö", "2026-03-01"): 1, ("PT-2", "2026-03-01"): 2}


def test_the_encoding_can_be_stated(load, readings):
    load((HEADER + "Öl,2026-03-01,1\n").encode("cp1252"), layout=Layout(encoding="cp1252"))

    assert list(readings.spans().index) == ["Öl"]


def test_an_unknown_encoding_is_reported(load):
    report = load(HEADER, layout=Layout(encoding="klingon"))

    assert "klingon" in next(iter(report.unreadable.values()))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("PT-1,2026-03-01", RowReason.MALFORMED),
        ("PT-1,2026-03-01,1,2", RowReason.MALFORMED),
        ('PT-1,"2026-03-01,1', RowReason.MALFORMED),
        (b"PT-\xf6,2026-03-01,1", RowReason.NOT_TEXT),
        (",2026-03-01,1", RowReason.NO_SENSOR),
        ("PT\x00,2026-03-01,1", RowReason.NO_SENSOR),
        ("PT-1,yesterday,1", RowReason.UNREADABLE_STAMP),
        ("PT-1,,1", RowReason.UNREADABLE_STAMP),
        ("PT-1,2026-11-23,1", RowReason.FUTURE),
        ("PT-1,1960-01-01,1", RowReason.TOO_OLD),
        ("PT-1,2026-03-01,", RowReason.EMPTY),
        ("PT-1,2026-03-01,Inp OutRange", RowReason.TEXT_CODE),
        ("PT-1,2026-03-01,broken", RowReason.NOT_A_NUMBER),
        ('PT-1,2026-03-01,"1,234"', RowReason.AMBIGUOUS_NUMBER),
        ("PT-1,2026-03-01,NaN", RowReason.NOT_FINITE),
        ("PT-1,2026-03-01,inf", RowReason.NOT_FINITE),
        ("PT-1,2026-03-01,1e308", RowReason.TOO_LARGE),
        ("PT-1,2026-03-01,-9999.0", RowReason.SENTINEL),
    ],
)
def test_an_invalid_row_is_refused_with_its_reason_and_affects_no_other(load, readings, line, reason):
    line = line if isinstance(line, bytes) else line.encode()
    before, after = b"A,2026-03-01,1", b"B,2026-03-01,2"

    report = load(HEADER.encode() + b"\n".join([before, line, b"", after]) + b"\n")

    assert counts(report) == (2, 0, 0, 1)
    assert report.reasons == {reason: 1}
    assert report.examples[0].line == 3
    assert stored(readings) == {("A", "2026-03-01"): 1, ("B", "2026-03-01"): 2}
    assert report.sensors_created == ("A", "B")


def test_timestamps_up_to_the_tolerance_in_the_future_are_accepted(load):
    assert load(HEADER + "PT-1,2026-11-22 00:04:59,1\nPT-1,2026-11-22 00:05:01,1\n").accepted == 1


def test_the_first_of_two_values_is_stored_and_an_equal_one_counts_as_already_there(load, readings):
    report = load(HEADER + "PT-1,2026-03-01,1\nPT-1,2026-03-01,1.0\nPT-1,2026-03-01,2\n")

    assert report.reasons == {RowReason.ALREADY_THERE: 1, RowReason.CONTRADICTED: 1}
    assert [example.detail for example in report.examples if example.reason is RowReason.CONTRADICTED] == [
        "stored: 1"
    ]
    assert stored(readings) == {("PT-1", "2026-03-01"): 1}


def test_the_last_of_two_values_is_stored_with_replace(load, readings):
    load(HEADER + "PT-1,2026-03-01,1\n")

    report = load(HEADER + "PT-1,2026-03-01,2\n", replace=True)

    assert report.reasons == {RowReason.REPLACED: 1}
    assert stored(readings) == {("PT-1", "2026-03-01"): 2}


def test_a_file_loaded_again_changes_nothing(load, readings):
    content = HEADER + 'PT-1,2026-03-01,1\nPT-1,2026-03-02,"1,5"\n'
    load(content)
    before = stored(readings)

    report = load(content)

    assert counts(report) == (0, 2, 0, 0)
    assert report.sensors_created == ()
    assert stored(readings) == before


def test_rows_out_of_order_are_accepted_and_noted(load, readings):
    report = load(HEADER + "A,2026-03-02,1\nB,2026-03-01,2\nA,2026-03-01,3\nA,2026-03-03,4\n")

    assert report.notes["out of order"] == 1
    assert report.accepted == 4
    assert readings.between("A")["value"].tolist() == [3, 1, 4]


def test_rows_out_of_order_are_noticed_across_chunks(load, monkeypatch):
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", 10)

    report = load(HEADER + "A,2026-03-03,1\nB,2026-03-01,2\nA,2026-03-02,3\nA,2026-03-02 12:00,4\n")

    assert report.notes["out of order"] == 2


def test_an_assumed_time_zone_is_noted(load, readings):
    report = load(
        HEADER + "PT-1,2026-03-01 12:00,1\nPT-1,2026-03-01T12:00:00Z,2\n",
        layout=Layout(zone="America/Sao_Paulo"),
    )

    assert report.notes == {"without a zone, taken as America/Sao_Paulo": 1, "out of order": 1}
    assert stored(readings) == {("PT-1", "2026-03-01 15:00:00"): 1, ("PT-1", "2026-03-01 12:00:00"): 2}


def test_an_unknown_time_zone_is_refused(load):
    with pytest.raises(ConfigurationError, match="Atlantis"):
        load(HEADER, layout=Layout(zone="Sea/Atlantis"))


@pytest.mark.parametrize("block_bytes", [30, 4_000_000])
@pytest.mark.fault("the hour that daylight saving repeats", "resolved by the order of its rows")
def test_the_hour_that_daylight_saving_repeats_is_resolved_by_order(load, readings, monkeypatch, block_bytes):
    """Also where the two hours are in different chunks of the file."""
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", block_bytes)
    times = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = "".join(f"A,2026-10-25 {time},{value}\n" for value, time in enumerate(times))

    report = load(HEADER + rows + "B,2026-10-25 02:30,9\n", layout=Layout(zone="Europe/Oslo"))

    assert report.reasons == {RowReason.ORDERED_HOUR: 4, RowReason.REPEATED_HOUR: 1}
    assert counts(report) == (2, 0, 4, 1)
    result = readings.between("A")
    assert result["timestamp"].dt.strftime("%d %H:%M").tolist() == [
        *("24 23:30", "25 00:00", "25 00:30", "25 01:00", "25 01:30", "25 02:00"),
    ]
    assert result["value"].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_value_outside_the_physical_range_is_stored_as_bad(load, readings):
    report = load(
        HEADER + "PT-1,2026-03-01,401\nPT-1,2026-03-02,400\n",
        fleet=Fleet([Sensor(id="PT-1", low=0, high=400)]),
    )

    assert report.reasons == {RowReason.OUT_OF_RANGE: 1}
    assert readings.between("PT-1")["data_quality"].tolist() == [1, 0]


def test_a_sentinel_of_one_sensor_is_a_value_of_another(load, readings):
    report = load(
        HEADER + "TT-1,2026-03-01,-200\nTT-2,2026-03-01,-200\n",
        fleet=Fleet([Sensor(id="TT-1", sentinels=(-200,))]),
    )

    assert report.reasons == {RowReason.SENTINEL: 1}
    assert list(readings.spans().index) == ["TT-2"]


def test_unknown_sensors_are_refused_with_strict(load, readings):
    report = load(HEADER + "A,2026-03-01,1\nB,2026-03-01,1\n", fleet=Fleet([Sensor(id="A")]), strict=True)

    assert report.reasons == {RowReason.UNKNOWN_SENSOR: 1}
    assert report.sensors_created == ()
    assert list(readings.spans().index) == ["A"]


def test_a_sensor_with_only_refused_rows_is_not_created(load):
    assert load(HEADER + "A,never,1\n").sensors_created == ()


def test_the_quality_stated_by_the_source_is_stored(load, readings):
    report = load("sensor_id,timestamp,value,data_quality\nA,2026-03-01,1,7\nA,2026-03-02,1,what?\n")

    assert report.reasons == {RowReason.UNREADABLE_QUALITY: 1}
    assert readings.between("A")["data_quality"].tolist() == [7, 1]


def test_refused_rows_load_once_they_are_corrected(load, readings, tmp_path):
    refused = tmp_path / "refused.csv"
    load(HEADER + "A,2026-03-01,Bad\nA,2026-03-02,1\nA;2026\n", refused_to=refused)

    rows = list(csv.DictReader(refused.read_text(encoding="utf-8").splitlines()))
    assert [(row["line"], row["reason"]) for row in rows] == [
        ("4", RowReason.MALFORMED),
        ("2", RowReason.TEXT_CODE),
    ]
    load(refused.read_text(encoding="utf-8").replace("Bad", "5"))
    assert stored(readings) == {("A", "2026-03-01"): 5, ("A", "2026-03-02"): 1}


def test_refused_rows_do_not_overwrite_a_file_to_load(load, tmp_path):
    with pytest.raises(ConfigurationError, match="overwrite"):
        load(HEADER, refused_to=tmp_path / "file0.csv")


def test_refused_rows_need_a_writable_file(load, tmp_path):
    with pytest.raises(ConfigurationError, match="Choose another path"):
        load(HEADER, refused_to=tmp_path / "nowhere" / "refused.csv")


@pytest.mark.fault(
    "a file of readings cut short", "the rows before the cut are stored; the whole file loads later"
)
def test_the_rows_before_a_cut_are_stored_and_the_whole_file_loads_later(load, readings, monkeypatch):
    monkeypatch.setattr("training.ingest.table_files.READ_BLOCK_BYTES", 5_000)
    minutes = pd.date_range("2026-03-01", periods=5_000, freq="min").astype(str)
    rows = "".join(f"A,{time},{n % 97}.{n % 89}\n" for n, time in enumerate(minutes))
    whole = gzip.compress((HEADER + rows).encode())

    cut = load(whole[: len(whole) // 2])
    again = load(whole)

    assert "cut short" in next(iter(cut.unreadable.values()))
    assert 0 < cut.accepted < 5_000
    assert counts(again) == (5_000 - cut.accepted, cut.accepted, 0, 0)


def test_examples_of_each_reason_are_limited_and_show_file_and_line(load, tmp_path):
    report = load(HEADER + "A,2026-03-01,Bad\n" * 10 + "A,never,1\n", settings=IngestSettings(examples=2))

    assert [(example.reason, example.line) for example in report.examples] == [
        (RowReason.UNREADABLE_STAMP, 12),
        (RowReason.TEXT_CODE, 2),
        (RowReason.TEXT_CODE, 3),
    ]
    assert str(report.examples[1]) == f"{tmp_path / 'file0.csv'}:2: A,2026-03-01,Bad"


def test_the_report_is_valid_json(load):
    document = json.loads(json.dumps(load(HEADER + "A,2026-03-01,Bad\n").as_dict()))

    assert document["refused"] == 1
    assert document["examples"][0]["reason"] == RowReason.TEXT_CODE


def test_progress_ends_with_all_rows_and_all_bytes(load, tmp_path):
    steps = []

    load(
        HEADER + "A,2026-03-01,1\n",
        "",
        HEADER + "A,2026-03-02,1\n",
        progress=lambda *step: steps.append(step),
    )

    total = sum(path.stat().st_size for path in tmp_path.glob("file*.csv"))
    assert steps[-1] == (2, total, total)
    assert steps == sorted(steps)


def write_parquet(path: Path, columns: dict[str, pa.Array]) -> Path:
    pa_parquet.write_table(pa.table(columns), path)
    return path


def test_a_long_parquet_file_is_loaded(readings, tmp_path):
    path = write_parquet(
        tmp_path / "long.parquet",
        {
            "sensor_id": pa.array(["A", "A", None]).dictionary_encode(),
            "timestamp": pa.array([1772366400_000, 1772366460_000, 0], pa.timestamp("ms", "UTC")),
            "value": pa.array([1.5, None, 2.0], pa.float32()),
        },
    )

    report = load_files([path], readings, now=NOW, fleet=Fleet())

    assert counts(report) == (1, 0, 0, 2)
    assert stored(readings) == {("A", "2026-03-01 12:00:00"): 1.5}


def test_a_wide_parquet_file_with_columns_of_any_type_is_loaded(readings, tmp_path):
    path = write_parquet(
        tmp_path / "wide.parquet",
        {
            "ts": pa.array([1772366400]),
            "flow": pa.array([1.5]),
            "valve_open": pa.array([True]),
            "note": pa.array(["Bad"], pa.large_string()),
            "blob": pa.array([b"\x00"]),
            "list": pa.array([[1]]),
        },
    )

    report = load_files([path], readings, now=NOW, fleet=Fleet())

    assert counts(report) == (2, 0, 0, 3)
    assert {sensor for sensor, _ in stored(readings)} == {"flow", "valve_open"}


def test_integer_ids_have_no_decimals(readings, tmp_path):
    times = pa.array([1772366400, 1772366400])
    for name, ids in {"whole": pa.array([1001, 1002]), "gappy": pa.array([1001.0, None])}.items():
        path = write_parquet(
            tmp_path / f"{name}.parquet", {"sensor_id": ids, "timestamp": times, "value": pa.array([1, 2])}
        )
        load_files([path], readings, now=NOW, fleet=Fleet())

    assert list(readings.spans().index) == ["1001", "1002"]


def test_the_default_fleet_is_that_of_the_table(readings, tmp_path, monkeypatch):
    monkeypatch.setenv("SAFEPLAN_HOME", str(tmp_path))
    sensor_store.save_sensors(readings.engine, [Sensor(id="A", high=10)])
    (tmp_path / "file.csv").write_text(HEADER + "A,2026-03-01,11\n")

    report = load_files([tmp_path / "file.csv"], readings, now=NOW)

    assert report.reasons == {RowReason.OUT_OF_RANGE: 1}


def test_the_time_zone_in_the_settings_must_exist():
    with pytest.raises(ValueError, match="unknown time zone"):
        IngestSettings(zone="Sea/Atlantis")
