"""Write docs/configuration.md and docs/database.md from the code: `make docs`; a test compares them with it.

Settings come from the `Settings` classes, tables from `training.storage`; the content of a column is
the comment behind it.
"""

import importlib
import inspect
import pkgutil
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import monitoring
import serving
import training
from training.settings import Settings
from training.storage import alert_tables, database
from training.storage.columns import metadata
from training.storage.schema import CURRENT_REVISION

ROOT = Path(__file__).parents[2]
NOT_IMPORTED = ("migrations", "dashboard.tabs", "dashboard.app", "serving.fleet_model")  # run when imported
CONFIGURATION_HEAD = """# Configuration

Generated from the code by `make docs`.

Each setting is read from its section of the file named here: in `SAFEPLAN_CONF`, else in `conf/` of the
home folder, else in the `conf/` that is shipped. The environment wins over the file:
`SAFEPLAN_<SECTION>_<SETTING>` in capitals, as in `SAFEPLAN_TUNING_TRIALS=10`. A value out of bounds and an
unknown key are errors that name the file, the setting and the bound. Durations are ISO 8601 (`PT5M`,
`P7D`).
"""
DATABASE_HEAD = """# Database

Generated from the code by `make docs`. Schema revision {revision}.

SQLite by default, PostgreSQL by `SAFEPLAN_DATABASE_URL`. Times are UTC without a zone. The schema is
brought up to date when a database is opened (`training/storage/schema.py`); all tables belong to
`training/storage`, whichever package reads them.
"""


def render_configuration() -> str:
    """The whole of docs/configuration.md."""
    for package in (training, serving, monitoring):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if (
                "migrations" not in module.name
                and "tabs" not in module.name
                and module.name != "serving.fleet_model"
            ):
                importlib.import_module(module.name)
    kinds = [
        kind for kind in Settings.__subclasses__() if kind.__module__.split(".")[0] != "tests" and kind.file
    ]
    order = {"training": 0, "serving": 1, "monitoring": 2}
    parts, current = [CONFIGURATION_HEAD], ""
    for kind in sorted(kinds, key=lambda kind: (order[kind.file], kind.section)):
        if kind.file != current:
            current = kind.file
            parts.append(f"## conf/{current}.yaml\n")
        parts.append(_section(kind))
    return "\n".join(parts)


def render_database() -> str:
    """The whole of docs/database.md."""
    comments = _column_comments()
    parts = [DATABASE_HEAD.format(revision=CURRENT_REVISION)]
    for table in sorted(metadata.tables.values(), key=lambda table: table.name):
        rows = ["| column | type | key | content |", "|---|---|---|---|"]
        for column in table.columns:
            key = "primary" if column.primary_key else "" if column.nullable else "required"
            name, kind = column.name, type(column.type).__name__
            rows.append(f"| `{name}` | {kind} | {key} | {comments.get((table.name, name), '')} |")
        parts.append(f"## {table.name}\n\n{comments.get((table.name, ''), '')}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _section(kind: type[Settings]) -> str:
    rows = ["| setting | default | bounds | meaning |", "|---|---|---|---|"]
    for name, field in kind.model_fields.items():
        rows.append(f"| `{name}` | {_default(field)} | {_bounds(field)} | {field.description or ''} |")
    summary = inspect.getdoc(kind) or ""
    return f"### {kind.section}\n\n{summary.splitlines()[0]}\n\n" + "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    return f"`{_plain(value)}`" if _plain(value) not in ("", "{}", "()") else "none"


def _plain(value: Any) -> str:
    if isinstance(value, BaseModel):
        return ", ".join(f"{name}: {_plain(getattr(value, name))}" for name in type(value).model_fields)
    if isinstance(value, timedelta):
        return _duration(value)
    if isinstance(value, Path):
        return value.as_posix()
    return "" if value is None else str(getattr(value, "value", value))


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for size, mark in ((86_400, "P{:g}D"), (3_600, "PT{:g}H"), (60, "PT{:g}M")):
        if seconds and seconds % size == 0:
            return mark.format(seconds / size)
    return f"PT{seconds:g}S"


def _bounds(field: FieldInfo) -> str:
    marks = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}
    found = [
        f"{mark} {_plain(getattr(bound, name))}"
        for bound in field.metadata
        for name, mark in marks.items()
        if getattr(bound, name, None) is not None
    ]
    return ", ".join(found)


def _column_comments() -> dict[tuple[str, str], str]:
    """Comments behind columns, and the comment block above each table, by table and column."""
    comments: dict[tuple[str, str], str] = {}
    for module in (database, alert_tables):
        table, above = "", []
        for line in inspect.getsource(module).splitlines():
            if line.startswith("# "):
                above.append(line[2:])
            elif re.match(r"\w+ = Table\($", line):
                table = ""
            elif not table and (match := re.match(r'    "(\w+)",$', line)):
                table = match[1]
                comments[table, ""] = " ".join(above)
                above = []
            elif table and (match := re.match(r'    Column\("(\w+)".*\),\s+# (.+)$', line)):
                comments[table, match[1]] = match[2]
            elif line == ")":
                table, above = "-", []
    return comments


def main() -> None:
    """Rewrite both pages."""
    (ROOT / "docs" / "configuration.md").write_text(render_configuration(), encoding="utf-8")
    (ROOT / "docs" / "database.md").write_text(render_database(), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
