"""What every registered environment promises."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from aajax import envs
from aajax.envs.check import check_environment
from aajax.types import TimeStep

NUM_GAMES = 16
NUM_STEPS = 5
CONTINUATION = 0.7
# Each name says how an episode stops.
OPTIONS = {
    "cut off": {},
    "ends": {"ends": True},
    "by chance": {"continuation": CONTINUATION},
}
# Environments whose episodes are only ever cut off, or end by an option of their own.
ENDLESS = (
    *("coin", "negotiation", "harvest", "split", "trust_and_split"),
    *("public_goods_amounts", "meta_ipd"),
)
CASES = [
    (name, ending, resets)
    for name in envs.names()
    for ending, resets in (
        [("cut off", False), ("cut off", True)]
        if name in ENDLESS
        else [("cut off", False), ("ends", False), ("by chance", True)]
    )
]


class Play(NamedTuple):
    """An environment and random play in it, two windows long; fields [B, T, ...]."""

    env: envs.Environment
    ending: str
    keys: jax.Array
    action: np.ndarray
    first: TimeStep  # [B, ...]
    played: TimeStep


@jax.jit
def play_on(env, reset_keys, keys, action):
    """The environment is an argument, so that environments of one shape are compiled
    once."""

    def play_one(reset_key, keys, action):
        # The scan refuses a state or time step that changes its structure.
        def body(carry, x):
            carry = env.step(x[0], carry[0], x[1])
            return carry, carry[1]

        start = env.reset(reset_key)
        return start[1], jax.lax.scan(body, start, (keys, action))[1]

    return jax.vmap(play_one)(reset_keys, keys, action)


def play(env, ending):
    shape = NUM_GAMES, 2 * NUM_STEPS
    keys = jax.random.split(jax.random.key(0), shape)
    action_keys = jax.random.split(jax.random.key(1), env.num_agents)
    action = np.stack(
        [
            space.sample(key, shape)
            for space, key in zip(env.action_spaces, action_keys, strict=True)
        ],
        axis=len(shape),
    )
    first, played = jax.device_get(play_on(env, keys[:, 0], keys, action))
    return Play(env, ending, keys, action, first, played)


@pytest.mark.parametrize(
    ("name", "ending", "resets"),
    CASES,
    ids=[f"{name}-{ending}{'-reset' * resets}" for name, ending, resets in CASES],
)
def test_contract(name, ending, resets):
    spec, options = envs.find_spec(name), OPTIONS[ending]
    env = spec.build(num_steps=NUM_STEPS, **options)
    env = envs.AutoReset(env) if resets else env
    if resets:
        check_types(env)
        games = play(env, ending)
        check_beginning(games)
        check_keys(games)
    else:
        assert check_environment(spec, NUM_STEPS, **options) == []
        games = play(env, ending)
    check_actions(games)
    check_ending(games, resets)
    check_numbers(games)


def check_types(env):
    """Shapes and types as in `Environment` and `TimeStep`, the same at every step."""
    num_agents = env.num_agents
    assert num_agents == len(env.action_spaces) >= 1
    key = jax.eval_shape(lambda: jax.random.key(0))
    reset = jax.eval_shape(env.reset, key)
    space = env.action_spaces[0]
    action = jax.ShapeDtypeStruct((num_agents, *space.shape), space.dtype)
    assert jax.eval_shape(env.step, key, reset[0], action) == reset
    timestep = reset[1]
    seen = jax.ShapeDtypeStruct((num_agents, *env.observation_shape), jnp.float32)
    assert timestep.observation == seen
    assert timestep.final_observation == seen
    assert timestep.reward == jax.ShapeDtypeStruct((num_agents,), jnp.float32)
    assert timestep.discount == jax.ShapeDtypeStruct((), jnp.float32)
    assert timestep.last == jax.ShapeDtypeStruct((), jnp.bool_)


def check_actions(games):
    """All seats act alike in kind, and have a choice."""
    spaces = games.env.action_spaces
    assert {(s.shape, s.dtype) for s in spaces} == {(spaces[0].shape, spaces[0].dtype)}
    assert games.action.dtype == spaces[0].dtype
    for seat, space in enumerate(spaces):
        if isinstance(space, envs.Box):
            assert space.low < space.high
        else:
            assert space.num_actions >= 2
        choices = games.action[:, :, seat].reshape(-1, *space.shape)
        assert len(np.unique(choices, axis=0)) > 1


def check_beginning(games):
    first = games.first
    assert not first.reward.any()
    assert not first.last.any()
    assert (first.discount == 1).all()


def check_ending(games, resets):
    """Episodes stop in time; the discount tells an end from a cut."""
    env, ending, played = games.env, games.ending, games.played
    assert (env.episode_length is None) == (ending == "by chance")
    assert set(np.unique(played.discount)) <= {0.0, 1.0}
    for last, discount in zip(played.last, played.discount, strict=True):
        stops = np.flatnonzero(last)
        first_stop = stops[0]
        if ending == "by chance":
            assert first_stop < NUM_STEPS
        else:
            assert first_stop == NUM_STEPS - 1 == env.episode_length - 1
        if resets:
            lengths = np.diff(np.concatenate([[-1], stops]))
            assert lengths.max() <= NUM_STEPS
            if env.episode_length is not None:
                assert (lengths == env.episode_length).all()
                assert stops[-1] == len(last) - 1
        else:
            # What follows an episode is padding.
            last, discount = last[: first_stop + 1], discount[: first_stop + 1]
            lengths = np.array([first_stop + 1])
        assert (discount[~last] == 1).all()
        for length, at_end in zip(lengths, discount[last], strict=True):
            if ending == "cut off":
                assert at_end == 1
            elif ending == "ends" or length < NUM_STEPS:
                assert at_end == 0
    if ending == "by chance":
        assert {0.0, 1.0} == set(played.discount[played.last])
    if resets:
        goes_on = ~played.last
        seen, final = played.observation[goes_on], played.final_observation[goes_on]
        np.testing.assert_array_equal(seen, final)


def check_numbers(games):
    for x in jax.tree.leaves((games.first, games.played)):
        assert np.isfinite(x).all()
    assert games.played.reward.any()
    seen = games.played.observation.reshape(-1, *games.env.observation_shape)
    assert len(np.unique(seen, axis=0)) > 1


def check_keys(games):
    """Nothing but the key decides; many games at once are the games one by one."""
    env, ending, keys, action, first, played = games
    again = play(env, ending)
    jax.tree.map(np.testing.assert_array_equal, again[-2:], (first, played))
    game = 3
    reset, step = jax.jit(env.reset), jax.jit(env.step)
    state, timestep = reset(keys[game, 0])
    assert_close(timestep, first, game)
    for t in range(NUM_STEPS):
        state, timestep = step(keys[game, t], state, action[game, t])
        assert_close(timestep, jax.tree.map(lambda x, t=t: x[:, t], played), game)


def assert_close(timestep, batch, game):
    jax.tree.map(
        lambda one, many: np.testing.assert_allclose(one, many[game], rtol=1e-6),
        timestep,
        batch,
    )
