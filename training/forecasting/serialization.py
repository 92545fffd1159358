"""Write and read a forecaster's folder: Prophets in Prophet's JSON, everything else in one plain JSON file.

Every number that is read is checked by `training.forecasting.file_validation`. Nothing is unpickled, and
reading does not need Prophet.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from training.artifacts.model_files import check_layout, read_json, write_json
from training.errors import UntrustedModel
from training.forecasting.file_validation import check_fitted
from training.forecasting.fitted_forecaster import FittedForecaster
from training.forecasting.intervals import Bands
from training.forecasting.naive_forecasts import Naive
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.prophet_json import curve_from_json, curve_to_json
from training.forecasting.residual_autoregression import Autoregression
from training.forecasting.structures import Member
from training.forecasting.time_grid import TimeGrid

LAYOUT_VERSION = 1
FORECASTER_FILE = "forecaster.json"


@dataclass(frozen=True)
class ForecasterConfig:
    """The arguments a forecaster was created with."""

    parameters: ForecasterParameters
    interval_width: float
    seasonalities: Mapping[str, Any]
    seed: int
    step: float | None  # seconds; None: inferred


def write(settings: ForecasterConfig, fitted: FittedForecaster, folder: Path) -> None:
    """Write `prophet.json`, `prophet-2.json`, ... and `forecaster.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    known = fitted.state.known
    seconds = (fitted.state.days * 86_400.0)[known]
    for number, member in enumerate(fitted.members, start=1):
        text = curve_to_json(member.curve, seconds, fitted.state.values[known])
        (folder / _prophet_name(number)).write_text(text, encoding="utf-8")
    write_json(
        {
            "version": LAYOUT_VERSION,
            "settings": asdict(settings) | {"parameters": settings.parameters.to_json()},
            "state": {
                "start": fitted.state.start,
                "step": fitted.state.step,
                "values": [None if np.isnan(v) else float(v) for v in fitted.state.values],
            },
            "autoregressions": [asdict(member.autoregression) for member in fitted.members],
            "shares": list(fitted.shares),
            "naives": [asdict(naive) for naive in fitted.naives],
            "range": [fitted.lowest, fitted.highest],
            "bands": fitted.bands.to_json(),
            "skill": fitted.skill,
            "rows": fitted.rows,
        },
        folder / FORECASTER_FILE,
    )


def read(folder: Path) -> tuple[ForecasterConfig, FittedForecaster]:
    """Read a folder that `write` wrote.

    Raises:
        UntrustedModel: a file is missing, truncated or not written by `write`.
    """
    content = read_json(folder / FORECASTER_FILE)
    check_layout(content.get("version"), LAYOUT_VERSION, name=FORECASTER_FILE)
    try:
        settings, fitted = _settings(content), _fitted(content, folder)
        check_fitted(fitted)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise UntrustedModel(
            f"{FORECASTER_FILE} is not a forecaster of SafePlan: {error!r}. Retrain this sensor."
        ) from error
    return settings, fitted


def _settings(content: Mapping[str, Any]) -> ForecasterConfig:
    stored = dict(content["settings"])
    return ForecasterConfig(**stored | {"parameters": ForecasterParameters.from_json(stored["parameters"])})


def _fitted(content: Mapping[str, Any], folder: Path) -> FittedForecaster:
    state = content["state"]
    values = np.array([np.nan if v is None else v for v in state["values"]], dtype=np.float64)
    members = tuple(
        Member(curve_from_json(read_json(folder / _prophet_name(number))), _autoregression(stored))
        for number, stored in enumerate(content["autoregressions"], start=1)
    )
    return FittedForecaster(
        state=TimeGrid(float(state["start"]), float(state["step"]), values),
        members=members,
        shares=tuple(float(share) for share in content["shares"]),
        naives=tuple(Naive(str(n["name"]), int(n["season"])) for n in content["naives"]),
        lowest=float(content["range"][0]),
        highest=float(content["range"][1]),
        bands=Bands.from_json(content["bands"]),
        skill=float(content["skill"]),
        rows=int(content["rows"]),
    )


def _autoregression(stored: Mapping[str, Any]) -> Autoregression:
    lags = tuple(int(lag) for lag in stored["lags"])
    return Autoregression(lags, tuple(float(w) for w in stored["weights"]), float(stored["carry"]))


def _prophet_name(number: int) -> str:
    return "prophet.json" if number == 1 else f"prophet-{number}.json"
