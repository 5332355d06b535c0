"""What is measured of games, on games made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax.envs.harvest import commons_harvest, rules
from aajax.envs.harvest.measures import measures, shots
from aajax.envs.harvest.observe import PLANES
from aajax.envs.measures import step_numbers
from aajax.types import Trajectory

ENV = commons_harvest("tiny", 2, 5, view=(1, 1, 1, 1), apple_reward=3.0)


def observed(ready):
    """Observations of agents who are as ready as that, f32[..., O]."""
    ready = np.asarray(ready, np.float32)
    planes = np.zeros((*ready.shape, *ENV.plane_shape), np.float32)
    planes[..., PLANES.index("ready"), :, :] = ready[..., None, None]
    return planes.reshape(*ready.shape, -1)


def played(action, reward, ready, last):
    """A trajectory of what is measured, [T, B, N]."""
    fields = dict.fromkeys(Trajectory._fields)
    fields |= {"action": jnp.asarray(action), "reward": jnp.asarray(reward, "f")}
    fields |= {"observation": observed(ready), "last": jnp.asarray(last)}
    return Trajectory(**fields)


def test_two_agents_by_hand():
    """One game of three steps; the first step is the fifth and last of an episode."""
    zap, walk = rules.ZAP, rules.FORWARD
    trajectory = played(
        action=[[[zap, walk]], [[zap, zap]], [[walk, zap]]],
        reward=[[[3, 0]], [[3, 3]], [[0, 3]]],
        ready=[[[1, 1]], [[0.5, 0]], [[1, 1]]],
        last=[[True], [False], [False]],
    )
    time = step_numbers(jnp.array([4]), trajectory.last)
    np.testing.assert_array_equal(time, [[4], [0], [1]])
    numbers = jax.jit(measures)(ENV, trajectory, time)
    assert numbers["apples"] == 2  # four by two agents
    assert numbers["sustainability"] == (5 + 1 + 1 + 2) / 4
    assert numbers["zaps"] == 1


def test_no_apples():
    trajectory = played(
        np.zeros((2, 3, 2), int), np.zeros((2, 3, 2)), np.ones((2, 3, 2)),
        np.zeros((2, 3), bool),
    )  # fmt: skip
    time = step_numbers(jnp.zeros(3, jnp.int32), trajectory.last)
    numbers = measures(ENV, trajectory, time)
    assert all(x == 0 for x in numbers.values())


def test_shots_are_those_of_the_environment():
    """Who zaps all the time fires as often as beams light the map, or hit somebody."""
    env = commons_harvest("tiny", 2, 30)
    state, timestep = env.reset(jax.random.key(0))
    step = jax.jit(env.step)
    action = jnp.array([rules.ZAP, rules.TURN_LEFT], jnp.int32)
    for key in jax.random.split(jax.random.key(1), 12):
        fires = shots(env, timestep.observation, action)
        before = state
        state, timestep = step(key, state, action)
        assert fires[0] == (before.cooldown[0] == 0) & (before.out[0] == 0)
        assert not fires[1]
        assert fires[0] == (state.cooldown[0] == env.cooldown)


def test_steps_beyond_the_end_do_not_count():
    trajectory = played(
        action=[[[rules.ZAP, 0]], [[rules.ZAP, 0]]],
        reward=[[[3, 6]], [[3, 3]]],
        ready=[[[1, 1]], [[1, 1]]],
        last=[[True], [False]],
    )
    time = jnp.array([[4], [5]])
    numbers = measures(ENV, trajectory, time, jnp.array([[True], [False]]))
    # One agent ate one apple and one two of them.
    np.testing.assert_allclose(numbers["apples"], 1.5)
    np.testing.assert_allclose(numbers["sustainability"], 5)
    np.testing.assert_allclose(numbers["zaps"], 0.5)


def test_apples_are_worth_something():
    with pytest.raises(ValueError, match="^apple_reward is 0: another number"):
        commons_harvest(apple_reward=0)
