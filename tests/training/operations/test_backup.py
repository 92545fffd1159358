"""A backup contains everything, an altered one is refused, and a restored installation works."""

import json
import resource
import shutil
import sqlite3
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from serving.batch import detect_fleet
from tests.support.workspaces import ingest_readings, parse_time
from training.artifacts.archive import ArchiveReader, ArchiveWriter
from training.data.sensor_store import load_fleet
from training.errors import BadArchive, ConfigurationError, SafePlanError, StoreError
from training.kinds import Kind
from training.operations.backup import back_up, restore
from training.pipeline.fleet import train_fleet
from training.registry.audit import AuditEntry, entries, record_entry
from training.storage.database import labels, metadata, open_database, reading, writing
from training.workspace import Workspace

NOW = parse_time("2026-11-22T12:00")


@pytest.fixture
def trained_workspace(workspace, plan, training_stub):
    """Two sensors, one of them trained, with predictions and a label."""
    ingest_readings(workspace, "PT-1")
    ingest_readings(workspace, "PT-2", 40)
    pt_1 = load_fleet(workspace.engine).match(["PT-1"])
    train_fleet(workspace, pt_1, list(Kind), plan, jobs=1)
    detect_fleet(workspace, pt_1)
    with writing(workspace.engine) as connection:
        interval = {"start": NOW, "end": NOW, "made_at": NOW}
        connection.execute(
            insert(labels), {"sensor_id": "PT-1", "source": "op", "anomalous": True} | interval
        )
    return workspace


@pytest.fixture
def other_workspace(tmp_path_factory, monkeypatch):
    """An empty installation in another folder, as on another machine."""
    home = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setenv("SAFEPLAN_HOME", str(home))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    empty = Workspace(home)
    yield empty
    empty.engine.dispose()


def contents(engine):
    with reading(engine) as connection:
        return {
            table.name: connection.execute(select(table).order_by(*table.primary_key.columns)).all()
            for table in metadata.sorted_tables
            if table.name != "leases"
        }


def test_a_restored_installation_has_every_row_and_scores_with_the_same_versions(
    trained_workspace, other_workspace, tmp_path
):
    champions = trained_workspace.registry.listings()
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    before = contents(trained_workspace.engine)
    trained_workspace.engine.dispose()
    moved = tmp_path / "moved-away"
    moved.mkdir()
    for name in ("safeplan.db", "mlflow.db", "mlartifacts", ".safeplan"):
        if (tmp_path / name).exists():
            shutil.move(tmp_path / name, moved)

    restore(other_workspace, tmp_path / "plant.zip")

    assert contents(other_workspace.engine) == before
    assert other_workspace.registry.listings() == champions
    (outcome,) = detect_fleet(
        other_workspace, load_fleet(other_workspace.engine).match(["PT-1"]), since=parse_time("2026-01-05")
    )
    assert (outcome.status, outcome.version, outcome.error) == ("scored", 1, None)


def test_a_restored_store_has_no_path_of_the_old_machine(trained_workspace, other_workspace, tmp_path):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)

    restore(other_workspace, tmp_path / "plant.zip")

    with sqlite3.connect(other_workspace.home / "mlflow.db") as store:
        for (table,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in store.execute(f"SELECT * FROM {table}"):
                assert not any(str(tmp_path / "mlartifacts") in str(value) for value in row), (table, row)
    store.close()


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_installation_moves_from_sqlite_to_postgresql_and_back(
    trained_workspace, other_workspace, tmp_path, database_url
):
    before = contents(trained_workspace.engine)
    server = Workspace(tmp_path / "server")
    server.__dict__["engine"] = open_database(database_url)

    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    restore(server, tmp_path / "plant.zip")
    assert contents(server.engine) == before
    back_up(server, tmp_path / "again.zip", now=NOW)
    restore(other_workspace, tmp_path / "again.zip")

    assert contents(other_workspace.engine) == before
    server.engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_postgresql_numbers_new_rows_after_the_restored_ones(trained_workspace, tmp_path, database_url):
    server = Workspace(tmp_path / "server")
    server.__dict__["engine"] = open_database(database_url)
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    restore(server, tmp_path / "plant.zip")

    record_entry(server.engine, AuditEntry(NOW, "ana", "restored"))

    assert [entry.action for entry in entries(server.engine)] == ["restored", "promoted", "promoted"]
    server.engine.dispose()


def test_a_backup_of_an_older_schema_is_restored_and_upgraded(trained_workspace, other_workspace, tmp_path):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    old_backup = with_schema(tmp_path / "plant.zip", tmp_path / "old.zip", "0001")

    restore(other_workspace, old_backup)

    with reading(other_workspace.engine) as connection:
        assert connection.execute(text("SELECT count(*) FROM sensor_readings")).scalar() == 240
        assert connection.execute(text("SELECT count(*) FROM leases")).scalar() == 0


def test_a_backup_of_a_newer_schema_is_refused_and_nothing_is_written(
    trained_workspace, other_workspace, tmp_path
):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)

    with pytest.raises(StoreError, match=r"schema 9999.*upgrade"):
        restore(other_workspace, with_schema(tmp_path / "plant.zip", tmp_path / "new.zip", "9999"))

    assert not any(contents(other_workspace.engine).values())
    assert not (other_workspace.home / "mlflow.db").exists()


def test_a_restore_into_an_installation_with_readings_is_refused(trained_workspace, tmp_path):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)

    with pytest.raises(ConfigurationError, match=r"sensor_readings has 240 rows"):
        restore(trained_workspace, tmp_path / "plant.zip")


def test_a_restore_does_not_overwrite_an_mlflow_store(trained_workspace, other_workspace, tmp_path):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    shutil.copy(tmp_path / "mlflow.db", other_workspace.home)

    with pytest.raises(ConfigurationError, match=r"mlflow\.db exists"):
        restore(other_workspace, tmp_path / "plant.zip")


def test_a_backup_does_not_overwrite_a_file(trained_workspace, tmp_path):
    (tmp_path / "plant.zip").write_text("the last good one")

    with pytest.raises(ConfigurationError, match="does not overwrite"):
        back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)

    assert (tmp_path / "plant.zip").read_text() == "the last good one"


@contextmanager
def room_for(size):
    """Limit files that this process writes to this many bytes, which has the effect of a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 5_000, 60_000, 300_000])
@pytest.mark.fault(
    "a full disk in a backup", "one clear line and no file; with free space, the backup is complete"
)
def test_a_backup_on_a_full_disk_leaves_no_file(trained_workspace, other_workspace, tmp_path, size):
    rows = contents(trained_workspace.engine)
    to = tmp_path / "out" / "plant.zip"

    with room_for(size), pytest.raises(SafePlanError, match=r"cannot (be written|copy).*(too large|disk)"):
        back_up(trained_workspace, to, now=NOW)

    assert list((tmp_path / "out").iterdir()) == []
    back_up(trained_workspace, to, now=NOW)
    restore(other_workspace, to)
    assert contents(other_workspace.engine) == rows


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
@pytest.mark.fault("one byte of a backup altered", "found before anything is written")
def test_one_altered_byte_is_found_before_anything_is_written(
    trained_workspace, other_workspace, tmp_path, where
):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    spoiled = bytearray((tmp_path / "plant.zip").read_bytes())
    with zipfile.ZipFile(tmp_path / "plant.zip") as archive:
        members = [member for member in archive.infolist() if member.compress_size > 1_000]
    member = members[int(where * len(members))]
    spoiled[member.header_offset + 200 + member.compress_size // 2] ^= 1
    (tmp_path / "spoiled.zip").write_bytes(spoiled)

    with pytest.raises(BadArchive, match=r"altered|damaged"):
        restore(other_workspace, tmp_path / "spoiled.zip")

    assert not any(contents(other_workspace.engine).values())


@pytest.mark.fault(
    "each byte of an archive altered, one after the other", "refused as damaged, or nothing is lost"
)
def test_an_altered_byte_is_refused_or_harmless(tmp_path):
    path = tmp_path / "small.zip"
    with ArchiveWriter(path) as archive:
        archive.add_text("tables.json", json.dumps({"rows": list(range(40))}))
        archive.add_text("manifest.json", json.dumps({"members": archive.digests}))
    whole = path.read_bytes()
    refused = 0

    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            with ArchiveReader(path) as archive:
                archive.verify(archive.json("manifest.json")["members"])
                assert archive.json("tables.json") == {"rows": list(range(40))}
        except BadArchive:
            refused += 1

    assert refused > len(whole) // 2


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
@pytest.mark.fault("a truncated backup", "refused")
def test_a_truncated_backup_is_refused(trained_workspace, other_workspace, tmp_path, share):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    whole = (tmp_path / "plant.zip").read_bytes()
    (tmp_path / "short.zip").write_bytes(whole[: int(share * len(whole))])

    with pytest.raises(BadArchive, match="truncated"):
        restore(other_workspace, tmp_path / "short.zip")


@pytest.mark.attack("a file added to a backup, with a path that leads outside", "refused")
def test_a_file_that_is_not_in_the_manifest_is_refused(trained_workspace, other_workspace, tmp_path):
    back_up(trained_workspace, tmp_path / "plant.zip", now=NOW)
    with zipfile.ZipFile(tmp_path / "plant.zip", "a") as archive:
        archive.writestr("mlflow/../../../evil", "x")

    with pytest.raises(BadArchive, match="1 unexpected members"):
        restore(other_workspace, tmp_path / "plant.zip")


def test_another_zip_file_is_refused(other_workspace, tmp_path):
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("beach.jpg", "x")

    with pytest.raises(BadArchive, match=r"not a SafePlan archive"):
        restore(other_workspace, tmp_path / "photos.zip")


def with_schema(source: Path, target: Path, schema: str) -> Path:
    """The archive as a program with another schema would have written it."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as copy:
        manifest = json.loads(archive.read("manifest.json"))
        known = {"sensors", "sensor_readings", "ml_predictions", "labels"}
        manifest["schema"] = schema
        manifest["tables"] = {k: v for k, v in manifest["tables"].items() if k in known}
        dropped = {
            name
            for name in manifest["members"]
            if name.startswith("tables/") and Path(name).stem not in known
        }
        manifest["members"] = {k: v for k, v in manifest["members"].items() if k not in dropped}
        for name in manifest["members"]:
            copy.writestr(name, archive.read(name))
        copy.writestr("manifest.json", json.dumps(manifest))
    with ArchiveReader(target) as archive:
        archive.verify(manifest["members"])
    return target
