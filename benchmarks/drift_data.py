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
class Stretch:
    """One series, without the readings that somebody labelled anomalous."""

    file: str
    series: str
    readings: pd.Series  # values by time


@dataclass(frozen=True)
class Change:
    """A change that people know of, in one series."""

    file: str
    series: str
    row: int
    together: bool  # marked for the whole file: found where any of its series shows it


def undrifted(folder: Path) -> list[Stretch]:
    """The stretches to count false alarms on."""
    named = _named_undrifted(folder)
    if named is None:
        changed = {change.series for change in known_changes(folder)}
        files = [*_tables(folder / "forecast"), *_tables(folder / "anomaly")]
        found = [stretch for path in files for stretch in _stretches(path)]
        found += [
            s for path in _tables(folder / "drift") for s in _stretches(path) if s.series not in changed
        ]
        return found
    found = []
    for name in named:
        if "/" in name:
            place = folder / name
            found += [s for path in _tables(place.parent, place.name) for s in _stretches(path)]
        else:
            paths = _tables(folder / "drift")
            found += [s for path in paths for s in _stretches(path) if s.series == name]
    return found


def others(folder: Path, known: list[Stretch]) -> list[Stretch]:
    """All other series without labelled anomalies: nobody vouches for them, and some wander."""
    seen = {stretch.series for stretch in known}
    changed = {change.series for change in known_changes(folder)}
    found = []
    for place in ("forecast", "anomaly", "drift", "raw"):
        for path in _tables(folder / place):
            for stretch in _stretches(path):
                if stretch.series not in seen | changed:
                    seen.add(stretch.series)
                    found.append(stretch)
    return found


def known_changes(folder: Path) -> list[Change]:
    """The changes that the folder names, in the order of its files."""
    changes = []
    listed = folder / "drift" / "changes.csv"
    written = pd.read_csv(listed) if listed.exists() else None
    for path in _tables(folder / "drift"):
        ids = list(pd.read_csv(path, usecols=["series_id"])["series_id"].astype(str).unique())
        file = path.name.split(".")[0]
        if written is not None:
            here = written[written["series_id"].astype(str).isin(ids)]
            changes += [Change(file, str(s), int(r), False) for s, r in here[["series_id", "row"]].to_numpy()]
        else:
            changes += list(_told(folder, file, ids))
    return changes


def series_of(folder: Path, change: Change) -> pd.Series:
    """The whole series that a change is in."""
    (path,) = _tables(folder / "drift", change.file)
    return next(s.readings for s in _stretches(path) if s.series == change.series)


def _told(folder: Path, file: str, ids: list[str]) -> Iterator[Change]:
    """Changes in the README's table: `| file | ... `series` ... row 17424 ... |`."""
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or cells[0] != file:
            continue
        words = " ".join(cells[1:])
        # "until row 17424", "rows 234-238 and 415-417": of a range, its middle.
        for told in re.finditer(r"\brows? ((?:\d+(?:-\d+)?)(?:(?:, | and )\d+(?:-\d+)?)*)", words):
            tags = re.findall(r"`([^`]+)`", words[: told.start()])
            chosen = [one for one in ids if any(one == tag or one.endswith(f".{tag}") for tag in tags)]
            for part in re.findall(r"\d+(?:-\d+)?", told.group(1)):
                row = int(np.mean([int(number) for number in part.split("-")]))
                for series in chosen or ids:
                    yield Change(file, series, row, not chosen)


def _named_undrifted(folder: Path) -> list[str] | None:
    readme = folder / "README.md"
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    found = re.search(r"^Undrifted stretches.*?(?:\n\s*\n|\Z)", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`]+)`", found.group()) if found else None


def _tables(place: Path, name: str = "*") -> list[Path]:
    return sorted([*place.glob(f"{name}.csv.gz"), *place.glob(f"{name}.csv")])


def _stretches(path: Path) -> Iterator[Stretch]:
    table = pd.read_csv(path, dtype={"series_id": str}) if _is_table(path) else pd.DataFrame()
    if table.empty:
        return
    if "label" in table:
        table = table[table["label"] == 0]
    table["timestamp"] = pd.to_datetime(table["timestamp"])
    for series, rows in table.groupby("series_id", sort=False):
        kept = rows[np.isfinite(rows["value"])]
        kept = kept.sort_values("timestamp", kind="stable").drop_duplicates("timestamp")
        values = pd.Series(kept["value"].to_numpy(np.float64), index=pd.DatetimeIndex(kept["timestamp"]))
        yield Stretch(path.name.split(".")[0], str(series), values)


def _is_table(path: Path) -> bool:
    return {"series_id", "timestamp", "value"} <= set(pd.read_csv(path, nrows=0).columns)
