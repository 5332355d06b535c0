"""What negotiations are about: every sampler's support, frequencies and worth."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import negotiation as reference

from aajax import envs
from aajax.envs import negotiation as game
from aajax.envs.negotiation.utilities import Stakes, deal_or_no_deal_contexts

NUM_DRAWS = 20_000
PAIRS = list(itertools.product(range(1, 6), repeat=2))
TRIPLES = list(itertools.product(range(1, 6), repeat=3))


def draw(utilities):
    """Many first and second stakes: pools i64[D, 3] and utilities i64[D, 2, 3]."""
    rule = "exact_split"
    env = envs.make("negotiation", utilities=utilities, rule=rule)
    keys = jax.random.split(jax.random.key(0), (NUM_DRAWS // 2, 2))

    @jax.jit
    @jax.vmap
    def draw_two(keys):
        state, _ = env.reset(keys[0])
        action = jnp.zeros((2, 3))
        return state.stakes, env.step(keys[1], state, action)[0].stakes

    pool, utility = jax.tree.map(lambda *x: np.concatenate(x), *draw_two(keys))
    whole = [np.rint(x).astype(int) for x in (pool, utility)]
    np.testing.assert_array_equal(whole[0], pool)
    np.testing.assert_array_equal(whole[1], utility)
    return whole


def check_uniform(x, values):
    """Rows of x, i64[D, ...], are equally often each of `values`, and nothing else."""
    values = np.asarray(values)
    counts = [np.all(x == v, axis=tuple(range(1, x.ndim))).sum() for v in values]
    assert sum(counts) == len(x)
    chance = 1 / len(values)
    error = np.sqrt(chance * (1 - chance) / len(x))
    np.testing.assert_allclose(np.array(counts) / len(x), chance, atol=4.5 * error)


def test_uniform_stakes():
    pool, utility = draw("uniform")
    for row in (pool, utility[:, 0], utility[:, 1]):
        check_uniform(row, TRIPLES)
    for j in range(3):
        check_uniform(np.stack([pool[:, j], utility[:, 0, j]], 1), PAIRS)
        check_uniform(utility[:, :, j], PAIRS)


def test_high_contrast_stakes():
    pool, utility = draw("high_contrast")
    assert (pool == 1).all()
    check_uniform(utility[:, 0], list(itertools.product([1, 5], repeat=3)))
    np.testing.assert_array_equal(utility[:, 1], 6 - utility[:, 0])


def test_competitive_stakes():
    pool, utility = draw("competitive")
    check_uniform(pool, TRIPLES)
    check_uniform(utility[:, 0], TRIPLES)
    check_uniform(np.stack([pool[:, 0], utility[:, 0, 0]], 1), PAIRS)
    np.testing.assert_array_equal(utility[:, 1], utility[:, 0])


def test_cooperative_stakes():
    pool, utility = draw("cooperative")
    assert (pool == 4).all()
    check_uniform(utility[:, 0], [(a, -b, 0) for a, b in PAIRS])
    np.testing.assert_array_equal(utility[:, 1], -utility[:, 0])


@pytest.mark.parametrize(
    ("name", "pool", "utility"),
    [
        ("high_contrast_no_sampling", [1, 1, 1], [[5, 5, 1], [1, 1, 5]]),
        ("no_sampling", [4, 4, 4], [[10, 3, 2], [3, 10, 2]]),
    ],
)
def test_fixed_stakes(name, pool, utility):
    pools, utilities = draw(name)
    assert (pools == pool).all() and (utilities == utility).all()


def test_deal_or_no_deal_stakes():
    contexts = deal_or_no_deal_contexts()
    assert len(np.unique(contexts, axis=0)) == len(contexts)
    for pool, *utility in contexts.tolist():
        assert reference.is_deal_or_no_deal(pool, utility)
    # None is missing: all values of the pool (1, 1, 5), where v_0 + v_1 + 5 v_2 = 10
    # has 11 + 6 + 1 solutions.
    pool = [1, 1, 5]
    values = [
        v for v in itertools.product(range(11), repeat=3) if np.dot(v, pool) == 10
    ]
    assert len(values) == 18
    valid = sum(
        reference.is_deal_or_no_deal(pool, pair)
        for pair in itertools.product(values, repeat=2)
    )
    assert valid == np.all(contexts[:, 0] == pool, axis=1).sum()
    assert len(np.unique(contexts[:, 0], axis=0)) == 6 + 10 + 15  # of 5, 6, 7 items

    pool, utility = draw("deal_or_no_deal")
    drawn = np.concatenate([pool[:, None], utility], 1)
    seen = np.unique(np.concatenate([contexts, drawn]), axis=0)
    assert len(seen) == len(contexts)
    # A context is drawn D / C = 3.5 times in the mean, and left out by e^−3.5 of all.
    missed = 1 - len(np.unique(drawn, axis=0)) / len(contexts)
    assert abs(missed - math.exp(-NUM_DRAWS / len(contexts))) < 0.02
    for count in (5, 6, 7):
        chance = np.mean(contexts[:, 0].sum(1) == count)
        error = np.sqrt(chance * (1 - chance) / NUM_DRAWS)
        assert abs(np.mean(pool.sum(1) == count) - chance) < 4 * error


def test_the_best_total():
    stakes = Stakes(jnp.array([1.0, 2, 3]), jnp.array([[5.0, 1, 2], [1, 4, 2]]))
    env = envs.make("negotiation")
    np.testing.assert_allclose(game.best_total(env, stakes), (5 + 8 + 6) / 15)
    many = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), stakes)
    expected = np.array([19, 4 * 19]) / 15
    np.testing.assert_allclose(game.best_total(env, many), expected, rtol=1e-6)
    paid_in_tenths = envs.make("negotiation", utilities="deal_or_no_deal")
    np.testing.assert_allclose(game.best_total(paid_in_tenths, stakes), 1.9)


@pytest.mark.parametrize("observation", ["raw", "history"])
@pytest.mark.parametrize("utilities", ["no_sampling", "uniform", "deal_or_no_deal"])
def test_stakes_are_read_off_observations(observation, utilities):
    env = envs.make("negotiation", observation=observation, utilities=utilities)
    keys = jax.random.split(jax.random.key(0), 100)
    state, timestep = jax.vmap(env.reset)(keys)
    seen = game.stakes_seen(env, timestep.observation[:, 0])
    jax.tree.map(np.testing.assert_array_equal, seen, state.stakes)
    seen = game.stakes_seen(env, timestep.observation[:, 1])
    np.testing.assert_array_equal(seen.utility, state.stakes.utility[:, ::-1])


@pytest.mark.parametrize("observation", ["private", "utility_difference"])
def test_hidden_stakes_cannot_be_read(observation):
    env = envs.make("negotiation", observation=observation)
    _, timestep = env.reset(jax.random.key(0))
    with pytest.raises(ValueError, match=f"observation is '{observation}'"):
        game.stakes_seen(env, timestep.observation)
