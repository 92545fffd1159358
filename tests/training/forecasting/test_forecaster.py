"""The forecaster of one sensor: accuracy, intervals, updates by newer readings, errors, files."""

import json
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from prophet import Prophet
from prophet.serialize import model_from_json

from training.errors import DataError, NotTrainable, UntrustedModel
from training.forecasting.forecaster import Forecaster, create_forecaster
from training.forecasting.parameters import ForecasterParameters
from training.forecasting.structures import Structure

COLUMNS = ["timestamps", "forecasted_values", "lower_bound", "upper_bound", "trend"]


def readings(
    rows: int, *, step: str = "h", seed: int = 0, noise: float = 0.3, wander: float = 0.05
) -> pd.Series:
    """A daily cycle, a slow random walk and noise around 50."""
    rng = np.random.default_rng(seed)
    times = pd.date_range("2026-01-01", periods=rows, freq=step)
    angle = 2 * np.pi * (times - times[0]).total_seconds().to_numpy() / 86_400
    level = 50 + np.cumsum(rng.normal(0, wander, rows))
    return pd.Series(level + 3 * np.sin(angle) + rng.normal(0, noise, rows), index=times)


def fitted(series: pd.Series, **settings) -> Forecaster:
    return Forecaster(**settings).fit(series.index, series.to_numpy())


@pytest.fixture(scope="module")
def month_of_readings() -> pd.Series:
    return readings(30 * 24)


def test_a_forecast_follows_the_daily_cycle(month_of_readings):
    forecaster = fitted(month_of_readings[:-24])

    forecast = forecaster.forecast(24)

    assert list(forecast.columns) == COLUMNS
    assert list(forecast["timestamps"]) == list(month_of_readings.index[-24:])
    assert np.abs(forecast["forecasted_values"].to_numpy() - month_of_readings[-24:].to_numpy()).mean() < 1.0
    assert forecaster.method == "prophet"
    assert forecaster.skill > 0


@pytest.mark.parametrize("width", [0.5, 0.8, 0.95])
def test_the_interval_has_its_coverage_out_of_sample(width):
    """Over 40 sensors, two days each after the training."""
    inside = []
    for seed in range(40):
        series = readings(20 * 24, seed=seed)
        forecast = fitted(series[:-48], interval_width=width).forecast(48)
        truth = series[-48:].to_numpy()
        inside.append((forecast["lower_bound"] <= truth) & (truth <= forecast["upper_bound"]))
    assert abs(np.mean(inside) - width) < 0.1


def test_a_wider_interval_contains_the_narrower(month_of_readings):
    narrow, wide = (fitted(month_of_readings, interval_width=width).forecast(48) for width in (0.6, 0.99))

    assert (wide["lower_bound"] < narrow["lower_bound"]).all()
    assert (wide["upper_bound"] > narrow["upper_bound"]).all()


def test_intervals_widen_while_a_sensor_is_hard_to_forecast(month_of_readings):
    forecaster = fitted(month_of_readings)
    rng = np.random.default_rng(1)
    later = pd.date_range(month_of_readings.index[-1], periods=25, freq="h")[1:]
    usual = forecaster.forecast(24)["forecasted_values"].to_numpy()

    calm, wild = (
        forecaster.forecast(24, history=pd.Series(usual + rng.normal(0, noise, 24), index=later))
        for noise in (0.3, 3.0)
    )

    widths = [frame["upper_bound"] - frame["lower_bound"] for frame in (calm, wild)]
    assert (widths[1] > 1.3 * widths[0]).all()


def test_newer_readings_move_the_forecast_without_a_training(month_of_readings):
    """After a jump of 20 the next hour is expected at the new level, not at that of the training."""
    forecaster = fitted(month_of_readings[:-48])
    jumped = month_of_readings[-48:-24] + 20

    forecast = forecaster.forecast(24, history=jumped)

    assert forecast["timestamps"].iloc[0] == month_of_readings.index[-24]
    assert forecast["forecasted_values"].iloc[0] == pytest.approx(jumped.iloc[-1], abs=4)


def test_history_from_the_training_changes_nothing(month_of_readings):
    forecaster = fitted(month_of_readings)

    pd.testing.assert_frame_equal(
        forecaster.forecast(24, history=month_of_readings[-100:]), forecaster.forecast(24)
    )


def test_a_time_inside_the_readings_gets_the_forecast_one_step_before_it(month_of_readings):
    forecaster = fitted(month_of_readings)
    earlier = Forecaster.forecast(forecaster, 1)["timestamps"].iloc[0] - pd.Timedelta(hours=11)
    later_changed = month_of_readings[-24:].copy()
    later_changed[later_changed.index >= earlier] += 100

    before = forecaster.predict(pd.DatetimeIndex([earlier]))
    after = forecaster.predict(pd.DatetimeIndex([earlier]), history=later_changed)

    assert before["forecasted_values"].iloc[0] == pytest.approx(month_of_readings[earlier], abs=1.5)
    assert after["forecasted_values"].iloc[0] == before["forecasted_values"].iloc[0]


def test_times_may_be_in_any_order_and_off_the_grid(month_of_readings):
    forecaster = fitted(month_of_readings)
    last = month_of_readings.index[-1]
    times = pd.DatetimeIndex(
        [last + pd.Timedelta(hours=5), last + pd.Timedelta(minutes=90), month_of_readings.index[0]]
    )

    predicted = forecaster.predict(times)

    whole = forecaster.forecast(5)["forecasted_values"].to_numpy()
    assert list(predicted["timestamps"]) == list(times)
    assert predicted["forecasted_values"].iloc[0] == pytest.approx(whole[4])
    assert predicted["forecasted_values"].iloc[1] == pytest.approx((whole[0] + whole[1]) / 2)


def test_a_random_walk_is_forecast_by_its_last_value():
    """Nothing beats the last value on a random walk; `method` names it."""
    rng = np.random.default_rng(3)
    times = pd.date_range("2026-01-01", periods=600, freq="h")
    walk = np.cumsum(rng.normal(size=600))
    forecaster = Forecaster(ForecasterParameters((Structure(growth="flat", lags=0),)))

    forecaster.fit(times, walk)

    assert forecaster.skill <= 0
    assert forecaster.method == "last value"
    assert (forecaster.forecast(24)["forecasted_values"] == walk[-1]).all()
    assert len(forecaster.get_components()["trend"]) == 600


def test_a_constant_series_stays_constant():
    times = pd.date_range("2026-01-01", periods=200, freq="5min")

    forecast = Forecaster().fit(times, np.full(200, 12.5)).forecast(24)

    assert (forecast["forecasted_values"] == 12.5).all()
    assert np.allclose(forecast[["lower_bound", "upper_bound"]], 12.5, atol=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_scale_of_the_values_does_not_matter(month_of_readings, factor):
    plain = fitted(month_of_readings).forecast(24)

    scaled = fitted(month_of_readings * factor).forecast(24)

    np.testing.assert_allclose(scaled[COLUMNS[1:]] / factor, plain[COLUMNS[1:]], rtol=1e-5)


@pytest.mark.parametrize("step", ["s", "1min", "15min", "90min", "D"])
def test_the_step_is_inferred_from_the_readings(step):
    series = readings(300, step=step)

    forecaster = fitted(series)

    assert forecaster.fitted.state.step == pd.Timedelta(series.index[1] - series.index[0]).total_seconds()
    assert forecaster.forecast(3)["timestamps"].iloc[-1] == series.index[-1] + 3 * (
        series.index[1] - series.index[0]
    )


def test_a_given_step_is_used(month_of_readings):
    forecaster = fitted(month_of_readings, step=timedelta(hours=2))

    assert forecaster.forecast(1)["timestamps"].iloc[0] == month_of_readings.index[-1] + pd.Timedelta(hours=2)


def test_gaps_jitter_and_disorder_do_not_break_the_forecast(month_of_readings):
    rng = np.random.default_rng(1)
    gappy = month_of_readings.drop(month_of_readings.index[100:200]).sample(frac=0.7, random_state=1)
    gappy.index = gappy.index + pd.to_timedelta(rng.integers(-120, 120, len(gappy)), unit="s")
    gappy.iloc[:5] = np.nan

    forecast = fitted(gappy).forecast(24)

    assert np.isfinite(forecast[COLUMNS[1:]].to_numpy()).all()
    assert np.abs(forecast["forecasted_values"] - 50).max() < 8


def test_fifty_readings_suffice_and_nine_do_not():
    series = readings(50)

    assert np.isfinite(fitted(series).forecast(24)["forecasted_values"]).all()
    with pytest.raises(NotTrainable, match="9 usable readings"):
        fitted(series[:9])


def test_readings_at_one_time_are_refused():
    times = pd.DatetimeIndex(["2026-01-01"] * 60)

    with pytest.raises(NotTrainable, match="same time"):
        Forecaster().fit(times, np.arange(60.0))


def test_an_unfitted_forecaster_asks_for_a_fit():
    with pytest.raises(NotTrainable, match=r"call fit"):
        create_forecaster().forecast(3)


def test_invalid_arguments_are_refused(month_of_readings):
    with pytest.raises(DataError, match="interval_width"):
        create_forecaster(interval_width=95)
    with pytest.raises(DataError, match="each value needs its own"):
        Forecaster().fit(month_of_readings.index, [1.0])
    with pytest.raises(DataError, match=r"cannot forecast \d+ steps ahead: the limit is 50,000"):
        fitted(month_of_readings).predict(pd.DatetimeIndex(["2099-01-01"]))


def test_time_zones_are_converted_to_utc(month_of_readings):
    paris = month_of_readings.tz_localize("UTC").tz_convert("Europe/Paris")

    pd.testing.assert_frame_equal(fitted(paris).forecast(5), fitted(month_of_readings).forecast(5))


def test_seasons_are_included_where_the_history_supports_them(month_of_readings):
    assert set(fitted(month_of_readings).get_components()) == {"trend", "weekly", "daily"}
    assert set(fitted(month_of_readings[:80]).get_components()) == {"trend", "daily"}
    assert set(fitted(month_of_readings, weekly_seasonality=False).get_components()) == {"trend", "daily"}
    assert set(fitted(month_of_readings[:100], weekly_seasonality=True).get_components()) == {
        "trend",
        "weekly",
        "daily",
    }


def test_the_daily_component_is_the_daily_cycle(month_of_readings):
    daily = fitted(month_of_readings).get_components()["daily"]

    peak = daily["timestamps"][daily["value"].idxmax()]
    assert 5 <= peak.hour <= 7
    assert daily["value"].max() == pytest.approx(3.0, abs=0.3)


def test_metrics_are_measured_on_held_out_readings(month_of_readings):
    """The last tenth has noise of another size; only a fit without it has errors of that size."""
    noisy = month_of_readings.copy()
    noisy[-72:] += np.random.default_rng(0).normal(0, 10, 72)

    quiet_metrics, noisy_metrics = (
        fitted(month_of_readings).calculate_metrics(),
        fitted(noisy).calculate_metrics(),
    )

    assert set(quiet_metrics) >= {"mape", "rmse", "mae", "mase", "coverage", "mape_note", "mape_share_used"}
    assert quiet_metrics["held_out"] == 72
    assert quiet_metrics["mase"] < 1.5
    assert noisy_metrics["mae"] > 5
    assert noisy_metrics["coverage"] < 0.5


def test_mape_leaves_out_zeros_and_states_it():
    series = readings(400)
    off = (np.arange(400) % 4) == 0
    series[off] = 0.0

    metrics = fitted(series).calculate_metrics()

    assert metrics["mape_share_used"] == 0.75
    assert "75%" in metrics["mape_note"]
    assert metrics["mape"] < 100


def test_the_summary_describes_the_forecast():
    times = pd.date_range("2026-01-01", periods=400, freq="h")
    rising = Forecaster(ForecasterParameters((Structure(growth="linear"),)))
    rising.fit(times, np.arange(400) + np.random.default_rng(0).normal(0, 0.1, 400))

    summary = rising.forecast_summary(48)

    assert summary["direction"] == "rising"
    assert summary["periods"] == 48
    assert summary["change"] == pytest.approx(48, rel=0.1)
    assert summary["min"] < summary["mean"] < summary["max"]


def test_history_and_forecast_are_in_one_frame(month_of_readings):
    frame = fitted(month_of_readings).forecast_with_history(24)

    assert len(frame) == len(month_of_readings) + 24
    np.testing.assert_array_equal(frame["actual_values"][:-24], month_of_readings)
    assert frame["actual_values"][-24:].isna().all()


@pytest.mark.parametrize("naive", [False, True])
def test_saving_and_loading_changes_nothing(month_of_readings, tmp_path, naive):
    series = month_of_readings.diff().cumsum().shift(1) if naive else month_of_readings
    parameters = ForecasterParameters((Structure(), Structure(growth="linear"), Structure()))
    forecaster = fitted(series, parameters=parameters, interval_width=0.9, weekly_seasonality=False)

    forecaster.save(tmp_path)
    again = Forecaster.load(tmp_path)

    pd.testing.assert_frame_equal(again.forecast(30), forecaster.forecast(30))
    pd.testing.assert_frame_equal(again.forecast_with_history(5), forecaster.forecast_with_history(5))
    assert again.calculate_metrics() == forecaster.calculate_metrics()
    assert again.parameters == parameters
    assert sorted(p.name for p in tmp_path.iterdir()) == ["forecaster.json", "prophet-2.json", "prophet.json"]


def test_plain_prophet_serves_the_saved_file(tmp_path):
    rising = readings(2880, wander=0) + np.linspace(0, 400, 2880)  # yesterday is always too low
    structure = Structure(growth="linear", lags=0)
    forecaster = fitted(rising, parameters=ForecasterParameters((structure,)))
    forecaster.save(tmp_path)
    ours = forecaster.forecast(24)
    assert forecaster.fitted.shares == (1.0, 0.0), "the naive forecast has no share"

    plain = model_from_json((tmp_path / "prophet.json").read_text())

    theirs = plain.predict(ours[["timestamps"]].rename(columns={"timestamps": "ds"}))
    np.testing.assert_allclose(theirs["yhat"], ours["forecasted_values"], rtol=1e-9)
    np.testing.assert_allclose(theirs["trend"], ours["trend"], rtol=1e-9)


def test_prophet_gives_the_librarys_own_object(month_of_readings):
    assert isinstance(fitted(month_of_readings).prophet(), Prophet)


def test_files_stay_small_for_a_long_history(tmp_path):
    fitted(readings(15_000, step="5min")).save(tmp_path)

    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 200_000


def _without(name):
    return lambda folder: (folder / name).unlink()


def _truncate(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:500])


def _edit(name, **changes):
    def edit(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | changes))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        _without("prophet.json"),
        _without("forecaster.json"),
        _truncate("prophet.json"),
        _truncate("forecaster.json"),
        _edit("forecaster.json", version=99),
        _edit("forecaster.json", shares=["a"]),
        _edit("forecaster.json", bands={}),
        _edit("prophet.json", scaling="absmax"),
        _edit("prophet.json", params={}),
        _edit("prophet.json", growth="logistic"),
    ],
)
def test_a_damaged_file_is_refused(month_of_readings, tmp_path, damage):
    fitted(month_of_readings[-100:]).save(tmp_path)
    damage(tmp_path)

    with pytest.raises(UntrustedModel):
        Forecaster.load(tmp_path)
