"""Interquartile means and their intervals."""

import numpy as np
import pytest

from aajax.errors import InputError
from aajax.report.statistics import interquartile_mean


def test_a_quarter_is_left_out_at_either_end():
    numbers = [100.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]
    assert interquartile_mean([numbers]).value == pytest.approx(np.mean([2, 3, 4, 5]))
    # Of five numbers one, and of two tasks together of all.
    assert interquartile_mean([[1.0, 9.0, 2.0, 3.0, -9.0]]).value == pytest.approx(2.0)
    both = interquartile_mean([numbers[:4], numbers[4:]])
    assert both.value == interquartile_mean([numbers]).value


def test_who_diverged_is_left_out():
    found = interquartile_mean([[1.0, None, 2.0, float("nan"), 3.0]])
    assert found.value == 2.0
    with pytest.raises(InputError, match=r"^strata is \[\[None\]\]: at least one"):
        interquartile_mean([[None]])


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Of normal numbers, within what few resamples and trials leave."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        found = interquartile_mean([rng.normal(3.0, 1.0, 30)])
        assert found.low < found.value < found.high
        held += found.low <= 3.0 <= found.high
    assert 0.88 <= held / 200 <= 0.98


def test_strata_are_drawn_from_within():
    """Two tasks far apart, each with equal numbers, leave nothing to chance."""
    assert interquartile_mean([[0.0] * 4, [1.0] * 4]) == (0.5, 0.5, 0.5)
    mixed = interquartile_mean([[0.0, 0.0, 1.0], [10.0, 10.0, 11.0]])
    assert mixed.low > 3 and mixed.high < 8


def test_one_number_has_no_interval():
    found = interquartile_mean([[4.0]])
    assert found.value == 4.0 and np.isnan(found.low) and str(found) == "4.00"
    assert str(interquartile_mean([[1.0, 2.0, 3.0, 4.0]])).startswith("2.50 [")
