"""An environment that begins again in the step that stops it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs

START, CC, CD, DC, DD = np.eye(5)


@pytest.mark.parametrize(("ends", "discount"), [(False, 1), (True, 0)])
def test_two_episodes_by_hand(ends, discount):
    env = envs.AutoReset(envs.make("ipd", num_steps=2, ends=ends))
    state, timestep = env.reset(jax.random.key(0))
    np.testing.assert_array_equal(timestep.observation, [START, START])
    np.testing.assert_array_equal(timestep.final_observation, [START, START])
    step = jax.jit(env.step)
    expected = [
        # action, reward, discount, last, observation, final observation
        ((0, 1), (-3, 0), 1, False, (CD, DC), (CD, DC)),
        ((1, 1), (-2, -2), discount, True, (START, START), (DD, DD)),
        ((1, 0), (0, -3), 1, False, (DC, CD), (DC, CD)),
        ((0, 0), (-1, -1), discount, True, (START, START), (CC, CC)),
        ((0, 0), (-1, -1), 1, False, (CC, CC), (CC, CC)),
    ]
    for action, *rest in expected:
        state, timestep = step(jax.random.key(0), state, jnp.array(action, jnp.int32))
        seen = (
            timestep.reward,
            timestep.discount,
            timestep.last,
            timestep.observation,
            timestep.final_observation,
        )
        for actual, wanted in zip(seen, rest, strict=True):
            np.testing.assert_array_equal(actual, wanted)


def test_it_is_otherwise_the_environment_inside():
    inside = envs.make("public_goods", num_steps=7, continuation=0.5)
    env = envs.AutoReset(inside)
    for name in (
        "num_agents",
        "action_spaces",
        "observation_shape",
        "episode_length",
    ):
        assert getattr(env, name) == getattr(inside, name)
