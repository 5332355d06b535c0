"""Advantages of whole trajectories, game by game and seat by seat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import baselines, returns

from aajax.learners import advantages
from aajax.types import Trajectory

T, B, N = 8, 6, 3
GAMMA = 0.9
GROUP = np.array([2, 0, 2, 0, 2, 5])


def trajectory(**changes):
    """Random numbers; games stop at random steps, and half of them end there."""
    rng = np.random.default_rng(0)
    last = rng.random((T, B)) < 0.3
    ended = last & (rng.random((T, B)) < 0.5)
    assert last.any() and ended.any() and (last & ~ended).any()
    numbers = {
        name: jnp.asarray(rng.normal(size=(T, B, N)), jnp.float32)
        for name in ("reward", "value", "next_value")
    }
    fields = {
        "observation": None,
        "action": None,
        "log_prob": None,
        "memory": (),
        "discount": jnp.asarray(1.0 - ended, jnp.float32),
        "last": jnp.asarray(last),
        **numbers,
        **changes,
    }
    return Trajectory(**fields)


def each_game_and_seat(function):
    """f64[T, B, N] from a function of a game and a seat."""
    return np.stack(
        [
            np.stack([function(game, seat) for seat in range(N)], axis=-1)
            for game in range(B)
        ],
        axis=1,
    )


def returns_within_episodes(games):
    discount = GAMMA * np.asarray(games.discount) * ~np.asarray(games.last)
    return each_game_and_seat(
        lambda b, i: returns.discounted_returns(games.reward[:, b, i], discount[:, b])
    )


@pytest.mark.parametrize("group", [None, GROUP], ids=["all", "groups"])
def test_returns_are_compared_with_those_of_the_other_games(group):
    games = trajectory()
    ours = None if group is None else jnp.asarray(group)
    estimator = advantages.group_relative(GAMMA, ours)
    advantage, target = jax.jit(estimator)(games)
    return_ = returns_within_episodes(games)
    expected = np.stack([baselines.leave_one_out(step, group) for step in return_])
    if group is not None:
        expected[:, 5] = 0.0  # alone in its group
    np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=1e-5)
    assert target is None


def test_groups_do_not_see_one_another():
    games = trajectory()
    estimator = jax.jit(advantages.group_relative(GAMMA, jnp.asarray(GROUP)))
    before, _ = estimator(games)
    one = GROUP == 2
    changed = jnp.where(jnp.asarray(one)[None, :, None], games.reward + 5, games.reward)
    changed = changed.at[:, 0].add(1.0)
    after, _ = estimator(games._replace(reward=changed))
    np.testing.assert_array_equal(before[:, ~one], after[:, ~one])
    assert np.any(before[:, one] != after[:, one])
    # The game alone in its group is compared with nothing.
    np.testing.assert_array_equal(before[:, 5], np.zeros((T, N)))


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 1.0])
def test_a_critic_judges_by_its_values(lambda_):
    games = trajectory()
    advantage, target = jax.jit(advantages.critic(GAMMA, lambda_))(games)
    last, discount = np.asarray(games.last), GAMMA * np.asarray(games.discount)

    def expected(b, i):
        value = np.append(games.value[:, b, i], games.next_value[-1, b, i])
        return returns.gae(
            games.reward[:, b, i],
            discount[:, b],
            value,
            lambda_,
            last[:, b],
            games.next_value[:, b, i],
        )

    expected = each_game_and_seat(expected)
    np.testing.assert_allclose(advantage, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(target, expected + games.value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("discount", "advantage"),
    # Ended: 1 − 3. Cut off: 1 + ½ · 10 − 3, the final observation's value counts on.
    [(0.0, -2.0), (1.0, 3.0)],
    ids=["terminated", "truncated"],
)
def test_an_end_is_not_a_cut(discount, advantage):
    games = Trajectory(
        observation=None,
        action=None,
        reward=jnp.array([1.0, 7.0]).reshape(2, 1, 1),
        discount=jnp.array([discount, 1.0]).reshape(2, 1),
        last=jnp.array([True, False]).reshape(2, 1),
        log_prob=None,
        value=jnp.array([3.0, -20.0]).reshape(2, 1, 1),
        next_value=jnp.array([10.0, 6.0]).reshape(2, 1, 1),
        memory=(),
    )
    actual, _ = advantages.critic(0.5, 0.9)(games)
    np.testing.assert_allclose(actual[:, 0, 0], [advantage, 7 + 3 + 20], rtol=1e-6)


@pytest.mark.parametrize("group", [None, GROUP], ids=["all", "groups"])
def test_centred_advantages_have_mean_zero_in_every_step(group):
    advantage = np.random.default_rng(1).normal(size=(T, B, N))
    ours = None if group is None else jnp.asarray(group)
    estimator = advantages.centred(lambda games: (games, None), ours)
    centred, _ = jax.jit(estimator)(jnp.asarray(advantage, jnp.float32))
    expected = [baselines.leave_one_out(step, group) for step in advantage]
    np.testing.assert_allclose(centred, expected, rtol=1e-5, atol=1e-6)
    groups = [np.arange(B)] if group is None else [[0, 2, 4], [1, 3]]
    for members in groups:
        mean = np.mean(centred[:, np.array(members)], axis=1)
        np.testing.assert_allclose(mean, np.zeros((T, N)), atol=1e-6)


def test_an_error_common_to_all_games_is_taken_away():
    rng = np.random.default_rng(2)
    advantage, target = rng.normal(size=(T, B, N)), jnp.ones((T, B, N))
    error = 10 * rng.normal(size=(T, 1, N))

    @jax.jit
    def centred(advantage):
        return advantages.centred(lambda games: (advantage, target))(None)

    plain, _ = centred(advantage.astype("float32"))
    shifted, same = centred((advantage + error).astype("float32"))
    np.testing.assert_allclose(shifted, plain, atol=2e-5)
    np.testing.assert_array_equal(same, target)
    uneven = error * (np.arange(B) == 0)[:, None]
    skewed, _ = centred((advantage + uneven).astype("float32"))
    assert np.abs(skewed - plain).max() > 1


def test_a_critic_wrong_by_the_same_amount_everywhere_is_put_right():
    games = trajectory(
        last=jnp.zeros((T, B), bool), discount=jnp.ones((T, B), jnp.float32)
    )
    wrong = games._replace(value=games.value + 40, next_value=games.next_value + 40)
    critic = advantages.critic(GAMMA, 0.8)
    plain, centred = jax.jit(critic), jax.jit(advantages.centred(critic))
    assert np.abs(plain(wrong)[0] - plain(games)[0]).max() > 1
    np.testing.assert_allclose(centred(wrong)[0], centred(games)[0], atol=1e-4)
