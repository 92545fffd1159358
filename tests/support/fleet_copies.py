"""Make a large fleet of a small one: copy readings, models and predictions under new sensor ids.

Writes to the tables of both databases, because a thousand models through MLflow's client take half a minute.
"""

import sqlite3
from pathlib import Path

import yaml

SENSOR_COLUMNS = {  # the tables that refer to a sensor, and in which column
    "sensor_readings": "sensor_id",
    "ml_predictions": "sensor_id",
}
MODEL_TABLES = ("registered_models", "registered_model_tags", "registered_model_aliases", "model_versions")


def copy_sensors(home: Path, sensor_ids: list[str], copies: int, *, since: str = "") -> list[str]:
    """Copy each sensor `copies` times, as `PT-1-001` and so on; `since` leaves out older readings."""
    duplicates = {
        f"{sensor_id}-{number:03d}": sensor_id for number in range(1, copies + 1) for sensor_id in sensor_ids
    }
    _copy_descriptions(home, duplicates)
    with sqlite3.connect(home / "safeplan.db") as connection:
        described_ids = {row[0] for row in connection.execute("SELECT id FROM sensors")}
        for duplicate, original in duplicates.items():
            if original in described_ids:
                _copy_rows(connection, "sensors", "id", original, duplicate)
            for table, column in SENSOR_COLUMNS.items():
                _copy_rows(connection, table, column, original, duplicate, since)
    connection.close()
    with sqlite3.connect(home / "mlflow.db") as connection:
        # The primary keys of these tables start with another column; without indexes this takes minutes.
        for table in (*MODEL_TABLES, "model_version_tags"):
            connection.execute(f"CREATE INDEX {table}_by_name ON {table} (name)")
        for duplicate, original in duplicates.items():
            for kind in ("detector", "forecaster"):
                _copy_model(connection, original, duplicate, kind)
        for table in (*MODEL_TABLES, "model_version_tags"):
            connection.execute(f"DROP INDEX {table}_by_name")
    connection.close()
    return list(duplicates)


def _copy_descriptions(home: Path, duplicates: dict[str, str]) -> None:
    path = home / "conf" / "sensors.yaml"
    if not path.exists():
        return
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    sensors = document["sensors"]
    for duplicate, original in duplicates.items():
        if original in sensors:
            number = duplicate.rsplit("-", 1)[-1]
            sensors[duplicate] = {**sensors[original], "name": f"{sensors[original]['name']} {number}"}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _copy_rows(
    connection: sqlite3.Connection, table: str, column: str, original: str, duplicate: str, since: str = ""
) -> None:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join("?" if name == column else f'"{name}"' for name in names)
    newer = " AND timestamp >= ?" if since else ""
    connection.execute(
        f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE {column} = ?{newer}",
        (duplicate, original, *((since,) if since else ())),
    )


def _copy_model(connection: sqlite3.Connection, original: str, duplicate: str, kind: str) -> None:
    name, new = (f"{sensor_id.lower()}-{kind}" for sensor_id in (original, duplicate))
    for table in (*MODEL_TABLES, "model_version_tags"):
        _copy_rows(connection, table, "name", name, new)
    for table in ("registered_model_tags", "model_version_tags"):
        connection.execute(
            f"UPDATE {table} SET value = ? WHERE name = ? AND key = 'sensor_id'", (duplicate, new)
        )
