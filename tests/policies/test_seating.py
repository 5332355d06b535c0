"""Different policies at one table."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.policies import Policy, PolicyOutput, seated
from aajax.policies.matrix import memory_one, scripted_table


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
