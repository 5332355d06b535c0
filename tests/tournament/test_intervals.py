"""Intervals hold what they are meant to hold, as often as they say."""

import numpy as np
import pytest

from aajax.tournament.intervals import mean_over_seeds

NUM_SEEDS, NUM_TABLES = 10, 400


def coverage(draw, players, truth=0.0):
    """How often the interval of a drawn table holds the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(NUM_TABLES):
        mean, half = mean_over_seeds(draw(rng), players)
        held += abs(mean - truth) <= half
    return held / NUM_TABLES


@pytest.mark.parametrize(
    ("own", "other", "pair"),
    [(1, 0, 0), (0, 1, 0), (1, 1, 0), (0.3, 1, 0), (1, 0.1, 0.5), (0.5, 0.5, 1)],
)
def test_two_players(own, other, pair):
    """Rewards of row and column seeds' effects, and one of each pair."""

    def draw(rng):
        rows, columns = rng.normal(0, own, NUM_SEEDS), rng.normal(0, other, NUM_SEEDS)
        noise = rng.normal(0, pair, (NUM_SEEDS, NUM_SEEDS))
        return rows[:, None] + columns[None] + noise

    assert 0.92 <= coverage(draw, [0, 1]) <= 0.99


@pytest.mark.parametrize(("own", "other", "pair"), [(1, 1, 0), (1, -1, 1), (0, 1, 1)])
def test_a_player_with_itself(own, other, pair):
    """A seed has one effect on its own reward and one on its co-player's."""

    def draw(rng):
        seeds = rng.normal(0, 1, NUM_SEEDS)
        noise = rng.normal(0, pair, (NUM_SEEDS, NUM_SEEDS))
        # With itself a seed does something else, which does not count.
        noise += 5 * np.eye(NUM_SEEDS)
        return own * seeds[:, None] + other * seeds[None] + noise

    assert coverage(draw, [0, 0]) >= 0.92


def test_one_seed_against_many_is_measured_over_those():
    def draw(rng):
        return rng.normal(0, 1, (1, NUM_SEEDS))

    assert 0.92 <= coverage(draw, [0, 1]) <= 0.98


def test_three_seats_two_of_one_player():
    def draw(rng):
        own, other = rng.normal(0, 1, 6), rng.normal(0, 1, 4)
        return own[:, None, None] + own[None, None] + other[None, :, None]

    assert 0.92 <= coverage(draw, [0, 1, 0]) <= 0.99


def test_nobody_with_more_than_one_seed_has_an_interval_over_seeds():
    assert mean_over_seeds(np.array([[3.0]]), [0, 1]) == (3.0, None)


def test_two_seeds_of_a_player_meet_themselves_too():
    """Without one of them there would be nobody left to meet."""
    mean, half = mean_over_seeds(np.array([[1.0, 2.0], [3.0, 6.0]]), [0, 0])
    assert mean == 3.0 and half > 1
