"""Different policies at one table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs, nets
from aajax.envs.matrix.players import memory_one, scripted_table
from aajax.policies import (
    Policy,
    PolicyOutput,
    action_value_policy,
    by_group,
    categorical_policy,
    distributions,
    seated,
)
from aajax.rollout import begin, rollout


def counter(sign):
    """Acts params + memory, values its observation times `sign`, counts in memory."""

    def act(params, key, observation, memory):
        action = jnp.full(observation.shape[:-1], params, jnp.int32) + memory
        estimate = value(params, observation, memory)
        return PolicyOutput(action, -estimate, estimate, memory + 1)

    def value(params, observation, memory):
        return sign * observation[..., 0]

    return Policy(
        init=lambda key: jax.random.key_data(key),
        initial_memory=lambda shape: jnp.zeros(shape, jnp.int32),
        act=act,
        value=value,
    )


# f32[B, N, 1] for two games of four seats, every entry different.
OBSERVATION = jnp.arange(1.0, 9.0).reshape(2, 4, 1)


def test_every_seat_has_its_own_policy():
    table = seated([counter(1.0), counter(-1.0), counter(10.0)], [[2, 0], [3], [1]])
    memory = table.initial_memory((2, 4))
    assert [m.shape for m in memory] == [(2, 2), (2, 1), (2, 1)]
    params = (100, 200, 300)
    output = table.act(params, jax.random.key(0), OBSERVATION, memory)
    np.testing.assert_array_equal(output.action, [[100, 300, 100, 200]] * 2)
    expected = [[1, 20, 3, -4], [5, 60, 7, -8]]
    np.testing.assert_array_equal(output.value, expected)
    np.testing.assert_array_equal(output.log_prob, -np.array(expected))
    np.testing.assert_array_equal(table.value(params, OBSERVATION, memory), expected)


def test_memories_stay_with_their_seats():
    table = seated([counter(1.0), counter(1.0)], [[2, 0], [1]])
    # The first policy's seats are 2 and 0, in this order.
    memory = (jnp.array([[20, 0], [22, 2]]), jnp.array([[10], [12]]))
    output = table.act((0, 0), jax.random.key(0), OBSERVATION[:, :3], memory)
    np.testing.assert_array_equal(output.action, [[0, 10, 20], [2, 12, 22]])
    np.testing.assert_array_equal(output.memory[0], memory[0] + 1)
    np.testing.assert_array_equal(output.memory[1], memory[1] + 1)


def test_one_policy_in_all_seats_sees_all():
    policy = counter(2.0)
    table = seated([policy], [[0, 1, 2, 3]])
    memory = table.initial_memory((2, 4))
    key = jax.random.key(0)
    output = table.act((5,), key, OBSERVATION, memory)
    alone = policy.act(5, key, OBSERVATION, memory[0])
    for name in ("action", "log_prob", "value"):
        np.testing.assert_array_equal(getattr(output, name), getattr(alone, name))


def test_policies_get_keys_of_their_own():
    table = seated([memory_one(), memory_one()], [[0], [1]])
    random = scripted_table("random", 2, 2)
    observation = jnp.broadcast_to(jnp.eye(5)[0], (400, 2, 5))
    action = table.act(
        (random, random), jax.random.key(0), observation, ((), ())
    ).action
    agree = np.mean(action[:, 0] == action[:, 1])
    assert abs(agree - 0.5) < 4 * 0.5 / np.sqrt(400)
    first, second = seated([counter(1.0)] * 2, [[0], [1]]).init(jax.random.key(0))
    assert (first != second).any()


@pytest.mark.parametrize(
    "seats",
    [[[0], [0]], [[0], [2]], [[1], [2]], [[0, 1]], [[0], [1], [2]], [[0, 1], [1]]],
)
def test_seats_that_do_not_fit_are_named(seats):
    with pytest.raises(ValueError) as error:
        seated([counter(1.0), counter(1.0)], seats)
    assert f"seats is {seats} for 2 policies" in str(error.value)


RECURRENT = categorical_policy(nets.actor_critic(nets.gru(4), 5, 2))
NUM_GROUPS, GAMES_EACH = 3, 2


def drawn(policy, seed):
    """Parameters far from their start."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(policy.init, jax.random.key(0))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(x.dtype), shapes)


def stacked(parts):
    return jax.tree.map(lambda *x: jnp.stack(x), *parts)


def test_a_group_is_played_by_its_own_parameters():
    """As though it were alone, with a key of its own."""
    policy = action_value_policy(
        nets.actor_critic(nets.gru(4), 5, 2, num_values=2), distributions.categorical()
    )
    params = [drawn(policy, seed) for seed in range(NUM_GROUPS)]
    grouped = by_group(policy, NUM_GROUPS)
    num_games, key = NUM_GROUPS * GAMES_EACH, jax.random.key(0)
    observation = jnp.eye(5)[jnp.arange(2 * num_games).reshape(num_games, 2) % 5]
    rng = np.random.default_rng(3)
    memory = jax.tree.map(
        lambda x: jnp.asarray(rng.normal(size=x.shape), x.dtype),
        grouped.initial_memory((num_games, 2)),
    )
    output = jax.jit(grouped.act)(stacked(params), key, observation, memory)
    value = jax.jit(grouped.value)(stacked(params), observation, memory)
    assert output.action_value.shape == (num_games, 2, 2)
    keys = jax.random.split(key, NUM_GROUPS)
    for group in range(NUM_GROUPS):
        games = slice(group * GAMES_EACH, (group + 1) * GAMES_EACH)
        own = jax.tree.map(lambda x, games=games: x[games], memory)
        alone = jax.jit(policy.act)(params[group], keys[group], observation[games], own)
        jax.tree.map(
            lambda x, y, games=games: np.testing.assert_allclose(
                x[games], y, rtol=1e-5, atol=1e-5
            ),
            output,
            alone,
        )
        np.testing.assert_allclose(value[games], alone.value, rtol=1e-5, atol=1e-5)


def test_groups_play_whole_games_against_one_policy():
    """What each group recorded is what its own parameters say of its games."""
    env = envs.make("ipd", num_steps=6)
    table = seated([RECURRENT, by_group(RECURRENT, NUM_GROUPS)], [[1], [0]])
    own = drawn(RECURRENT, 9)
    others = [drawn(RECURRENT, seed) for seed in range(NUM_GROUPS)]
    num_games = NUM_GROUPS * GAMES_EACH

    @jax.jit
    def play():
        tables = begin(jax.random.key(0), env, table, num_games)
        params = own, stacked(others)
        return rollout(jax.random.key(1), env, table, params, tables, 6)[1]

    played = play()
    evaluate = jax.jit(RECURRENT.evaluate)

    def read(params, games, seat):
        place = slice(None), games, slice(seat, seat + 1)
        start = RECURRENT.initial_memory((played.last[:, games].shape[1], 1))
        return evaluate(
            params,
            played.observation[place],
            played.action[place],
            played.last[:, games],
            start,
        ).log_prob[..., 0]

    for group, params in enumerate(others):
        games = slice(group * GAMES_EACH, (group + 1) * GAMES_EACH)
        recorded = played.log_prob[:, games]
        np.testing.assert_allclose(
            read(params, games, 0), recorded[..., 0], rtol=2e-5, atol=2e-5
        )
        np.testing.assert_allclose(
            read(own, games, 1), recorded[..., 1], rtol=2e-5, atol=2e-5
        )
        stranger = read(others[group - 1], games, 0)
        assert np.abs(stranger - recorded[..., 0]).max() > 0.01


def test_groups_do_not_learn():
    grouped = by_group(RECURRENT, 2)
    assert grouped.evaluate is None and grouped.critic_branch is None


def test_action_values_need_all_at_the_table():
    valued = action_value_policy(
        nets.tabular(5, 2, num_values=2), distributions.categorical()
    )
    observation = jnp.eye(5)[jnp.array([[0, 1], [2, 3]])]
    params = drawn(valued, 0)
    both = seated([valued, valued], [[1], [0]])
    output = both.act((params, params), jax.random.key(0), observation, ((), ()))
    expected = params["critic"][jnp.array([[0, 1], [2, 3]])]
    np.testing.assert_allclose(output.action_value, expected, rtol=1e-6)
    mixed = seated([valued, memory_one()], [[1], [0]])
    random = scripted_table("random", 2, 2)
    output = mixed.act((params, random), jax.random.key(0), observation, ((), ()))
    assert output.action_value is None
