"""Intervals: as wide as past errors, wider after bad forecasts, and true to the width they state."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.forecasting.intervals import WIDTHS, Bands, fit_bands, interval_stretch
from training.forecasting.rolling_origin import ERROR_HALF_LIFE

HORIZON = 24
STEPS = np.arange(1.0, HORIZON + 1)


def errors_of(origins: int, *, scale: float = 1.0, growing: bool = False, seed: int = 0) -> np.ndarray:
    """Normal errors, of one size or growing with the root of the step."""
    sizes = np.sqrt(STEPS) if growing else np.ones(HORIZON)
    return scale * sizes * np.random.default_rng(seed).normal(size=(origins, HORIZON))


def bands_of(errors: np.ndarray, *, independent: float = 1e6, recent: np.ndarray | None = None) -> Bands:
    weights = 0.5 ** (np.linspace(1, 0, len(errors)) / ERROR_HALF_LIFE)
    return fit_bands(errors, weights=weights, independent=independent, spread=1.0, recent_errors=recent)


def interval_width(bands: Bands, width: float, steps: np.ndarray = STEPS) -> np.ndarray:
    lower, upper = bands.around(np.zeros(len(steps)), steps, width)
    return upper - lower


@pytest.mark.parametrize("width", [0.5, 0.8, 0.95])
def test_the_share_of_new_errors_inside_is_the_width(width):
    bands = bands_of(errors_of(2000, growing=True))
    lower, upper = bands.around(np.zeros(HORIZON), STEPS, width)

    fresh = errors_of(2000, growing=True, seed=1)

    assert ((lower <= fresh) & (fresh <= upper)).mean() == pytest.approx(width, abs=0.02)


def test_the_interval_grows_as_the_errors_do_and_beyond_the_last_step():
    bands = bands_of(errors_of(2000, growing=True))

    widths = interval_width(bands, 0.9, np.array([1.0, 4.0, 16.0, 4 * HORIZON]))

    assert widths[1:3] / widths[0] == pytest.approx([2, 4], rel=0.15)
    assert widths[3] > 1.2 * interval_width(bands, 0.9)[-1]


def test_an_interval_does_not_grow_beyond_its_limit():
    bands = bands_of(errors_of(500, growing=True))

    near, far = interval_width(bands, 0.9, np.array([1e6, 1e9]))

    assert near == far


def test_a_step_between_two_has_a_width_between_theirs():
    bands = bands_of(errors_of(500, growing=True))

    before, between, after = interval_width(bands, 0.9, np.array([1.0, 1.5, 2.0]))

    assert before < between < after


@given(
    low=st.floats(0.02, 0.98),
    rise=st.floats(0.001, 0.5),
    seed=st.integers(0, 20),
    origins=st.integers(1, 60),
)
@settings(max_examples=60, deadline=None)
def test_a_wider_interval_contains_the_narrower(low, rise, seed, origins):
    bands = bands_of(errors_of(origins, seed=seed), independent=origins / 4)

    narrow, wide = (bands.around(np.zeros(HORIZON), STEPS, w) for w in (low, min(low + rise, 0.999)))

    assert (wide[0] <= narrow[0]).all()
    assert (wide[1] >= narrow[1]).all()
    assert (narrow[0] <= 0).all()
    assert (narrow[1] >= 0).all()


def test_a_skewed_forecast_has_a_skewed_interval():
    """Half of the skew counts: each tail rests on half of the errors."""
    bands = bands_of(np.abs(errors_of(2000)))

    lower, upper = bands.around(np.zeros(1), np.ones(1), 0.9)

    assert upper[0] > 1.5 * -lower[0] > 0


def test_few_independent_errors_widen_the_outer_intervals():
    errors = errors_of(60)
    few, many = bands_of(errors, independent=3), bands_of(errors, independent=1000)

    assert (interval_width(few, 0.95) > 1.1 * interval_width(many, 0.95)).all()
    assert interval_width(few, 0.3) == pytest.approx(interval_width(many, 0.3), rel=0.05)


def test_newer_errors_count_more():
    calm, wild = errors_of(200, scale=0.5), errors_of(200, scale=2.0, seed=1)

    calming, worsening = (bands_of(np.concatenate(parts)) for parts in ((wild, calm), (calm, wild)))

    assert (interval_width(worsening, 0.9) > interval_width(calming, 0.9)).all()


def test_unknown_errors_are_left_out():
    errors = errors_of(400)
    with_gaps = errors.copy()
    with_gaps[::2, ::3] = np.nan
    with_gaps[7] = np.nan

    assert interval_width(bands_of(with_gaps), 0.9) == pytest.approx(
        interval_width(bands_of(errors), 0.9), rel=0.15
    )


@pytest.mark.parametrize("errors", [np.zeros((20, HORIZON)), np.full((20, HORIZON), np.nan)])
def test_no_errors_give_an_interval_that_is_narrow_and_finite(errors):
    widths = interval_width(bands_of(errors), 0.95)

    assert np.isfinite(widths).all()
    assert (widths <= 1e-5).all()


def test_a_forecast_that_was_wrong_of_late_is_stretched():
    usual, wild = np.full(HORIZON, 1.0), np.full(HORIZON, 3.0)

    stretches = interval_stretch(np.stack([0 * usual, usual, wild]), usual)

    assert stretches[0] < 1
    assert stretches[1] == pytest.approx(1)
    assert stretches[2] > 1.3


def test_no_recent_errors_leave_the_interval_as_it_is():
    assert interval_stretch(np.full((1, HORIZON), np.nan), np.ones(HORIZON)).tolist() == [1.0]


@given(size=st.floats(0, 1e12))
def test_a_stretch_is_bounded(size):
    """One reading of 1e12 must not make tomorrow's interval useless."""
    (stretch,) = interval_stretch(np.full((1, HORIZON), size), np.ones(HORIZON))

    assert 0.6 < stretch < 2


def test_errors_already_explained_by_the_stretch_do_not_widen_the_interval_again():
    """Half of the origins have errors three times as large, announced by those just before them."""
    loud = np.repeat([1.0, 3.0], 300)[:, None]
    errors, recent = loud * errors_of(600), loud * errors_of(600, seed=1)

    informed, uninformed = bands_of(errors, recent=recent), bands_of(errors)

    assert (interval_width(informed, 0.95) < 0.9 * interval_width(uninformed, 0.95)).all()


def test_bands_come_back_from_json_as_they_were():
    bands = bands_of(errors_of(50))

    again = Bands.from_json(bands.to_json())

    np.testing.assert_array_equal(interval_width(again, 0.9), interval_width(bands, 0.9))
    assert (again.growth, again.limit) == (bands.growth, bands.limit)


def test_bands_of_another_number_of_widths_are_refused():
    content = bands_of(errors_of(50)).to_json()

    with pytest.raises(ValueError, match=f"expected {len(WIDTHS)}"):
        Bands.from_json({**content, "below": content["below"][:-1]})
