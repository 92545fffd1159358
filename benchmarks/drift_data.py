"""Which stretches of a folder are undrifted, and which changes in it are known.

Reads a folder of the form described in its own README.md: files `series_id,timestamp,value` (and `label`, 0
for normal) under `forecast/`, `anomaly/`, `raw/` and `drift/`. The README's paragraph "Undrifted stretches"
names files and series in backticks; its table of `drift/` names rows of known changes, or a file
`drift/changes.csv` does (`series_id,row`). Without a README, everything in `forecast/`, what is labelled
normal in `anomaly/`, and the series of `drift/` without a known change are taken for undrifted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class UndriftedSeries:
    """One series, without the readings that somebody labelled anomalous."""

    file: str
    series: str
    readings: pd.Series  # values by time


@dataclass(frozen=True)
class KnownChange:
    """A change that people know of, in one series."""

    file: str
    series: str
    row: int
    whole_file: bool  # marked for the whole file: found where any of its series shows it


def undrifted_series(folder: Path) -> list[UndriftedSeries]:
    """The stretches to count false alarms on."""
    named = _named_undrifted(folder)
    if named is None:
        changed = {change.series for change in known_changes(folder)}
        files = [*_csv_files(folder / "forecast"), *_csv_files(folder / "anomaly")]
        found = [stretch for path in files for stretch in _read_series(path)]
        found += [
            s for path in _csv_files(folder / "drift") for s in _read_series(path) if s.series not in changed
        ]
        return found
    found = []
    for name in named:
        if "/" in name:
            folder_path = folder / name
            found += [
                s for path in _csv_files(folder_path.parent, folder_path.name) for s in _read_series(path)
            ]
        else:
            paths = _csv_files(folder / "drift")
            found += [s for path in paths for s in _read_series(path) if s.series == name]
    return found


def other_series(folder: Path, known: list[UndriftedSeries]) -> list[UndriftedSeries]:
    """All other series without labelled anomalies: nobody vouches for them, and some wander."""
    seen = {stretch.series for stretch in known}
    changed = {change.series for change in known_changes(folder)}
    found = []
    for folder_path in ("forecast", "anomaly", "drift", "raw"):
        for path in _csv_files(folder / folder_path):
            for stretch in _read_series(path):
                if stretch.series not in seen | changed:
                    seen.add(stretch.series)
                    found.append(stretch)
    return found


def known_changes(folder: Path) -> list[KnownChange]:
    """The changes that the folder names, in the order of its files."""
    changes = []
    listed = folder / "drift" / "changes.csv"
    written = pd.read_csv(listed) if listed.exists() else None
    for path in _csv_files(folder / "drift"):
        ids = list(pd.read_csv(path, usecols=["series_id"])["series_id"].astype(str).unique())
        file = path.name.split(".")[0]
        if written is not None:
            in_file = written[written["series_id"].astype(str).isin(ids)]
            changes += [
                KnownChange(file, str(s), int(r), False) for s, r in in_file[["series_id", "row"]].to_numpy()
            ]
        else:
            changes += list(_changes_in_readme(folder, file, ids))
    return changes


def load_series(folder: Path, change: KnownChange) -> pd.Series:
    """The whole series that a change is in."""
    (path,) = _csv_files(folder / "drift", change.file)
    return next(s.readings for s in _read_series(path) if s.series == change.series)


def _changes_in_readme(folder: Path, file: str, ids: list[str]) -> Iterator[KnownChange]:
    """Changes in the README's table: `| file | ... `series` ... row 17424 ... |`."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or cells[0] != file:
            continue
        cell_text = " ".join(cells[1:])
        # "until row 17424", "rows 234-238 and 415-417": of a range, its middle.
        for match in re.finditer(r"\brows? ((?:\d+(?:-\d+)?)(?:(?:, | and )\d+(?:-\d+)?)*)", cell_text):
            tags = re.findall(r"`([^`]+)`", cell_text[: match.start()])
            chosen = [one for one in ids if any(one == tag or one.endswith(f".{tag}") for tag in tags)]
            for part in re.findall(r"\d+(?:-\d+)?", match.group(1)):
                row = int(np.mean([int(number) for number in part.split("-")]))
                for series in chosen or ids:
                    yield KnownChange(file, series, row, not chosen)


def _named_undrifted(folder: Path) -> list[str] | None:
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    found = re.search(r"^Undrifted stretches.*?(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", found.group()) if found else None


def _csv_files(folder_path: Path, name: str = "*") -> list[Path]:
    return sorted([*folder_path.glob(f"{name}.csv.gz"), *folder_path.glob(f"{name}.csv")])


def _read_series(path: Path) -> Iterator[UndriftedSeries]:
    table = pd.read_csv(path, dtype={"series_id": str}) if _is_table(path) else pd.DataFrame()
    if table.empty:
        return
    if "label" in table:
        table = table[table["label"] == 0]
    table["timestamp"] = pd.to_datetime(table["timestamp"])
    for series, rows in table.groupby("series_id", sort=False):
        finite = rows[np.isfinite(rows["value"])]
        finite = finite.sort_values("timestamp", kind="stable").drop_duplicates("timestamp")
        values = pd.Series(finite["value"].to_numpy(np.float64), index=pd.DatetimeIndex(finite["timestamp"]))
        yield UndriftedSeries(path.name.split(".")[0], str(series), values)


def _is_table(path: Path) -> bool:
    return {"series_id", "timestamp", "value"} <= set(pd.read_csv(path, nrows=0).columns)
