"""Split: rounds played by hand, values that are drawn as they are accepted."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs import split as game
from aajax.envs.split.values import SAMPLERS, vectors_by_sum

NUM_DRAWS = 100_000


@jax.jit
def step(env, key, state, action):
    return env.step(key, state, action)


@jax.jit
def reset(env, key):
    return env.reset(key)


def begin(**options):
    env = envs.make("split", **options)
    return env, *reset(env, jax.random.key(0))


def integers(rows):
    return jnp.array(rows, jnp.int32)


def play(env, state, values, proposals):
    state = state._replace(values=integers(values))
    return step(env, jax.random.key(1), state, integers(proposals))


@pytest.mark.parametrize(
    ("values", "proposals", "points"),
    [
        #   hats books balls
        # 0   10     1     1     asks 10, 0, 5 and gets it: 100 + 5
        # 1    1    10     1     asks 0, 10, 5 and gets it: 100 + 5
        ([[10, 1, 1], [1, 10, 1]], [[10, 0, 5], [0, 10, 5]], (105, 105)),
        # All in halves: 50 + 5 + 50 each.
        ([[10, 1, 10], [1, 10, 10]], [[10, 10, 10], [10, 10, 10]], (105, 105)),
        # 0 gets 5, 0 and 10/3: 50 + 10/3; 1 gets 5, 10 and 20/3: 5 + 100 + 20/3.
        (
            [[10, 1, 1], [1, 10, 1]],
            [[10, 0, 5], [10, 10, 10]],
            (50 + 10 / 3, 105 + 20 / 3),
        ),
        # Of hats 8 and 4 of 12; of books 9 of 10; of balls 1 and 2 of 3, with no more
        # than was asked for: 80 · 10/12 + 0 + 10, and 40/12 + 90 + 20.
        (
            [[10, 1, 10], [1, 10, 10]],
            [[8, 0, 1], [4, 9, 2]],
            (800 / 12 + 10, 40 / 12 + 90 + 20),
        ),
        # What nobody asks for is lost.
        ([[10, 1, 10], [1, 10, 10]], [[0, 0, 0], [0, 0, 0]], (0, 0)),
    ],
)
def test_rounds_by_hand(values, proposals, points):
    env, state, _ = begin(unit=100)
    state, timestep = play(env, state, values, proposals)
    np.testing.assert_allclose(state.previous.points, points, rtol=1e-6)
    np.testing.assert_allclose(timestep.reward, np.array(points) / 100, rtol=1e-6)
    np.testing.assert_array_equal(state.previous.values, values)
    np.testing.assert_array_equal(state.previous.proposals, proposals)


def welfare(own, other):
    return np.where(own > other, 10, np.where(own < other, 0, 5))


def greedy(own, other):
    return np.full_like(own, 10)


@pytest.mark.parametrize(
    ("first", "second", "of_one_ten", "of_two_tens"),
    [
        (welfare, welfare, (105, 105), (150, 150)),
        (greedy, greedy, (60, 60), (105, 105)),
        (welfare, greedy, (160 / 3, 335 / 3), (250 / 3, 515 / 3)),
        (greedy, welfare, (335 / 3, 160 / 3), (515 / 3, 250 / 3)),
    ],
)
def test_a_dilemma_over_all_twelve_configurations(
    first, second, of_one_ten, of_two_tens
):
    """Welfare 127.5 each, greed 82.5 each, one against the other 68.33 to 141.67."""
    env, state, _ = begin()
    configurations = [
        (one, other)
        for one, other in itertools.product(
            itertools.product((1, 10), repeat=3), repeat=2
        )
        if one != other and sum(one) == sum(other)
    ]
    assert len(configurations) == 12
    values = np.array(configurations, np.int32)
    own, other = values[:, 0], values[:, 1]
    proposals = np.stack([first(own, other), second(other, own)], 1)
    reward = jax.vmap(lambda v, p: play(env, state, v, p)[1].reward)(values, proposals)
    two_tens = (values[:, 0] == 10).sum(1) == 2
    assert two_tens.sum() == 6
    expected = np.where(two_tens[:, None], of_two_tens, of_one_ten)
    np.testing.assert_allclose(reward, expected, rtol=1e-6)
    best = game.best_total(env, jnp.asarray(values))
    np.testing.assert_array_equal(best, np.where(two_tens, 300, 210))
    mean = {
        (welfare, welfare): (127.5, 127.5),
        (greedy, greedy): (82.5, 82.5),
        (welfare, greedy): (205 / 3, 425 / 3),
        (greedy, welfare): (425 / 3, 205 / 3),
    }
    exact = np.asarray(reward, float).mean(0)
    np.testing.assert_allclose(exact, mean[first, second], rtol=1e-6)


def draw(values, num_items):
    sampler = SAMPLERS[values](num_items)
    words = jax.random.bits(
        jax.random.key(3), (NUM_DRAWS, sampler.num_words), jnp.uint32
    )
    drawn = np.asarray(jax.jit(jax.vmap(sampler.draw))(words))
    assert drawn.dtype == np.int32 and drawn.shape == (NUM_DRAWS, 2, num_items)
    assert drawn.max() == sampler.largest
    return drawn


def accepted(numbers, num_items, exclusive=False):
    """What is left of all pairs of vectors, as a set of pairs."""
    vectors = list(itertools.product(numbers, repeat=num_items))
    return {
        (one, other)
        for one, other in itertools.product(vectors, repeat=2)
        if any(a != b for a, b in zip(one, other, strict=True))
        and sum(one) == sum(other)
        and (not exclusive or all(a + b == 11 for a, b in zip(one, other, strict=True)))
    }


@pytest.mark.parametrize(
    ("values", "num_items", "numbers", "count"),
    [
        ("ties", 2, (1, 10), 2),
        ("ties", 3, (1, 10), 12),
        ("ties", 4, (1, 10), 54),
        ("exclusive", 2, (1, 10), 2),
        ("exclusive", 4, (1, 10), 6),
        # Σ_s n_s (n_s − 1): n = 1, ..., 19, 20, 19, ..., 1.
        ("one_to_twenty", 2, range(1, 21), 4940),
    ],
)
def test_all_that_is_accepted_is_equally_likely(values, num_items, numbers, count):
    expected = accepted(numbers, num_items, values == "exclusive")
    assert len(expected) == count
    pairs, times = np.unique(draw(values, num_items), axis=0, return_counts=True)
    assert {(tuple(one), tuple(other)) for one, other in pairs.tolist()} == expected
    each = NUM_DRAWS / count
    chi_squared = ((times - each) ** 2 / each).sum()
    degrees = count - 1
    assert abs(chi_squared - degrees) < 4.5 * np.sqrt(2 * degrees)


@pytest.mark.parametrize("num_items", [2, 3, 4])
def test_sums_have_their_exact_chance(num_items):
    """That of sums with a few vectors alone is too small to be seen in draws."""
    sums = vectors_by_sum(num_items)
    ways = np.ones(1, int)
    for _ in range(num_items):
        ways = np.convolve(ways, np.ones(20, int))
    pairs = (ways * (ways - 1))[1:-1]  # one vector has the least sum, one the most
    chance = np.diff(np.concatenate([[0.0], sums.below / 2.0**32, [1.0]]))
    np.testing.assert_allclose(chance, pairs / pairs.sum(), atol=2.0**-31)
    for first, count in zip(sums.start, sums.count, strict=True):
        assert len(np.unique(sums.vector[first : first + count].sum(1))) == 1
    assert len(np.unique(sums.vector, axis=0)) == 20**num_items


@pytest.mark.parametrize("num_items", [3, 4])
def test_many_values_are_drawn_as_rejection_would(num_items):
    """Sums come with weight n(n − 1), and in each all vectors alike."""
    drawn = draw("one_to_twenty", num_items)
    assert drawn.min() == 1
    assert (drawn.sum(2)[:, 0] == drawn.sum(2)[:, 1]).all()
    assert (drawn[:, 0] != drawn[:, 1]).any(1).all()
    ways = np.ones(1, int)
    for _ in range(num_items):
        ways = np.convolve(ways, np.ones(20, int))
    chance = ways * (ways - 1) / (ways * (ways - 1)).sum()
    total = drawn[:, 0].sum(1) - num_items
    shares = np.bincount(total, minlength=len(ways)) / NUM_DRAWS
    error = np.sqrt(chance * (1 - chance) / NUM_DRAWS)
    assert (np.abs(shares - chance) <= 4.5 * error + 3 / NUM_DRAWS).all()
    # Of a vector with sum s, the first item is v in as many ways as the others s − v.
    rest = np.ones(1, int)
    for _ in range(num_items - 1):
        rest = np.convolve(rest, np.ones(20, int))
    of_first = [
        sum(
            chance[s] * rest[s - v] / ways[s]
            for s in range(len(ways))
            if 0 <= s - v < len(rest)
        )
        for v in range(20)
    ]
    np.testing.assert_allclose(sum(of_first), 1)
    for seat in range(2):
        for item in range(num_items):
            values = drawn[:, seat, item] - 1
            shares = np.bincount(values, minlength=20) / NUM_DRAWS
            np.testing.assert_allclose(shares, of_first, atol=4.5 * 0.25 / 300)


def test_observations_by_hand():
    env, state, first = begin()
    values, proposals = [[10, 1, 1], [1, 10, 1]], [[10, 0, 5], [10, 10, 10]]
    now = np.asarray(state.values)
    seen = env.read(first.observation)
    np.testing.assert_array_equal(game.values_seen(env, first.observation[0]), now)
    for name, numbers in seen.items():
        if name not in ("own_values", "other_values"):
            np.testing.assert_array_equal(numbers, np.zeros_like(numbers))
    state, timestep = play(env, state, values, proposals)
    now = np.asarray(state.values)
    points = [50 + 10 / 3, 105 + 20 / 3]
    for seat, other in ((0, 1), (1, 0)):
        expected = [
            *(now[seat] / 5 - 1),
            *(now[other] / 5 - 1),
            1,
            *(np.array(values[seat]) / 5 - 1),
            *(np.array(values[other]) / 5 - 1),
            *(np.array(proposals[seat]) / 5 - 1),
            *(np.array(proposals[other]) / 5 - 1),
            points[seat] / 150 - 1,
            points[other] / 150 - 1,
        ]
        actual = timestep.observation[seat]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    seen = env.read(timestep.observation)
    np.testing.assert_allclose(seen["own_points"][:, 0], points, rtol=1e-6)
    np.testing.assert_allclose(seen["other_proposal"], proposals[::-1], atol=1e-6)


@pytest.mark.parametrize("values", SAMPLERS)
def test_observations_stay_in_bounds_and_can_be_read(values):
    env = envs.make("split", values=values, num_items=2)
    keys = jax.random.split(jax.random.key(2), (500, 2))
    action = integers([[10, 0], [0, 10]])

    @jax.vmap
    def two_rounds(keys):
        state, _ = env.reset(keys[0])
        return env.step(keys[1], state, action)

    state, timestep = jax.jit(two_rounds)(keys)
    assert np.abs(timestep.observation).max() <= 1
    for seat, order in ((0, slice(None)), (1, slice(None, None, -1))):
        seen = game.values_seen(env, timestep.observation[:, seat])
        np.testing.assert_array_equal(seen, state.values[:, order])
    best = game.best_total(env, state.values)
    most = np.asarray(state.values).max(1).sum(1)
    np.testing.assert_array_equal(best, 10 * most)


def test_the_seats_are_alike():
    env, state, _ = begin()
    state, _ = play(env, state, [[10, 1, 1], [1, 10, 1]], [[8, 0, 3], [4, 9, 9]])
    previous = jax.tree.map(lambda x: x[::-1], state.previous)
    swapped = state._replace(values=state.values[::-1], previous=previous)
    action, key = integers([[1, 2, 3], [9, 8, 7]]), jax.random.key(4)
    _, here = step(env, key, state, action)
    _, there = step(env, key, swapped, action[::-1])
    np.testing.assert_array_equal(there.reward, here.reward[::-1])
    assert here.reward[0] != here.reward[1]
    # The values of the next round come from the key alone, and are not swapped.
    past = slice(env.layout()["played"].start, None)
    seen = here.observation[::-1, past]
    np.testing.assert_array_equal(there.observation[:, past], seen)


def test_actions_do_not_touch_what_is_drawn():
    env = envs.make("split")
    keys = jax.random.split(jax.random.key(5), 30)

    @jax.jit
    def values_met(actions):
        start = env.reset(keys[0])[0]

        def body(state, x):
            state, _ = env.step(x[0], state, x[1])
            return state, state.values

        return jax.lax.scan(body, start, (keys[1:], actions))[1]

    space = env.action_spaces[0]
    one, other = (space.sample(jax.random.key(i), (29, 2)) for i in (6, 7))
    np.testing.assert_array_equal(values_met(one), values_met(other))
    assert len(np.unique(values_met(one), axis=0)) > 5


def test_hyperparameters_can_be_mapped_over():
    """Two units at once, as a sweep has them."""
    units = jnp.array([1.0, 100.0])
    worlds = jax.vmap(lambda unit: envs.make("split", unit=unit))(units)
    _, state, _ = begin()
    action = integers([[10, 0, 5], [0, 10, 5]])
    reward = jax.vmap(lambda env: env.step(jax.random.key(0), state, action)[1].reward)
    one, hundred = reward(worlds)
    np.testing.assert_allclose(one / 100, hundred, rtol=1e-6)
    assert one.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"values": "low"}, "values is 'low': one of ties, exclusive, one_to_twenty"),
        ({"num_items": 1}, "num_items is 1: a whole number from 2 to 4 is needed"),
        ({"num_items": 5}, "num_items is 5: a whole number from 2 to 4"),
        ({"num_items": 2.0}, "num_items is 2.0: a whole number"),
        ({"values": "exclusive"}, "num_items is 3: an even number is needed.*'exclus"),
        ({"unit": 0}, "unit is 0.0: a finite number > 0 is needed"),
        ({"unit": math.nan}, "unit is nan"),
        ({"num_steps": 0}, "num_steps is 0: a whole number from 1 on is needed"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        envs.make("split", **options)
