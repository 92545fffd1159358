"""One plant made into a large one: the same readings, models and predictions under many other names.

Knows the tables of both databases, because a thousand models through MLflow's client take half a minute. What
it makes is what training that many sensors would have left.
"""

import sqlite3
from pathlib import Path

import yaml

NAMED = {  # the tables of one home that know a sensor, and in which column
    "sensor_readings": "sensor_id",
    "ml_predictions": "sensor_id",
}
MODELS = ("registered_models", "registered_model_tags", "registered_model_aliases", "model_versions")


def multiply(home: Path, sensor_ids: list[str], copies: int, *, since: str = "") -> list[str]:
    """Give each sensor so many doubles, `PT-1-001` and on; `since` leaves out the older readings."""
    doubles = {
        f"{sensor_id}-{number:03d}": sensor_id for number in range(1, copies + 1) for sensor_id in sensor_ids
    }
    _describe(home, doubles)
    with sqlite3.connect(home / "safeplan.db") as connection:
        known = {row[0] for row in connection.execute("SELECT id FROM sensors")}
        for double, original in doubles.items():
            if original in known:
                _copy(connection, "sensors", "id", original, double)
            for table, column in NAMED.items():
                _copy(connection, table, column, original, double, since)
    connection.close()
    with sqlite3.connect(home / "mlflow.db") as connection:
        # MLflow finds tags by their key; without these, thousands of names take minutes.
        for table in (*MODELS, "model_version_tags"):
            connection.execute(f"CREATE INDEX {table}_by_name ON {table} (name)")
        for double, original in doubles.items():
            for kind in ("detector", "forecaster"):
                _copy_model(connection, original, double, kind)
        for table in (*MODELS, "model_version_tags"):
            connection.execute(f"DROP INDEX {table}_by_name")
    connection.close()
    return list(doubles)


def _describe(home: Path, doubles: dict[str, str]) -> None:
    path = home / "conf" / "sensors.yaml"
    if not path.exists():
        return
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    sensors = written["sensors"]
    for double, original in doubles.items():
        if original in sensors:
            number = double.rsplit("-", 1)[-1]
            sensors[double] = {**sensors[original], "name": f"{sensors[original]['name']} {number}"}
    path.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")


def _copy(
    connection: sqlite3.Connection, table: str, column: str, original: str, double: str, since: str = ""
) -> None:
    names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    taken = ", ".join("?" if name == column else f'"{name}"' for name in names)
    newer = " AND timestamp >= ?" if since else ""
    connection.execute(
        f"INSERT INTO {table} SELECT {taken} FROM {table} WHERE {column} = ?{newer}",
        (double, original, *((since,) if since else ())),
    )


def _copy_model(connection: sqlite3.Connection, original: str, double: str, kind: str) -> None:
    name, new = (f"{sensor_id.lower()}-{kind}" for sensor_id in (original, double))
    for table in (*MODELS, "model_version_tags"):
        _copy(connection, table, "name", name, new)
    for table in ("registered_model_tags", "model_version_tags"):
        connection.execute(
            f"UPDATE {table} SET value = ? WHERE name = ? AND key = 'sensor_id'", (double, new)
        )
