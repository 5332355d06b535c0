"""Speed of environments under random play.

Games are the last axis, along which a CPU computes several at once, and all rewards
and observations are summed up, so that none can be left out. Where observations are so
large that to sum them up takes as long as to make them, each step's are written out
whole, as for a policy to read.
"""

import math
from typing import cast

import jax
import jax.numpy as jnp

from aajax import envs
from aajax.bench.timing import rate
from aajax.envs.base import Box
from aajax.types import TimeStep

LAST = TimeStep._make([-1] * 5)  # games last, whatever a field's rank


def measure_ipd(repeats: int, num_games: int = 4096, num_steps: int = 1000) -> dict:
    """IPD environments; episodes of 100 steps start again by auto-reset.

    One random bit is drawn per action.
    """
    env = envs.AutoReset(envs.make("ipd", num_steps=100))
    reset = jax.vmap(env.reset, 0, (0, LAST))
    step = jax.vmap(env.step, (0, 0, -1), (0, LAST))

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        state, first = reset(jax.random.split(reset_key, num_games))

        def body(carry, key):
            state, *totals = carry
            action_key, step_key = jax.random.split(key)
            action = _random_bits(action_key, num_games, 1)
            keys = jax.random.split(step_key, num_games)
            state, timestep = step(keys, state, action)
            seen = timestep.reward, timestep.observation
            return (state, *jax.tree.map(jnp.add, totals, list(seen))), None

        start = state, first.reward, first.observation
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return rate(lambda i: play(jax.random.key(i)), repeats, num_games * num_steps)


def measure_coin(repeats: int, num_games: int = 4096, num_steps: int = 1000) -> dict:
    """Coin Games; episodes of 100 steps start again by auto-reset.

    Two random bits are drawn per action, one step ahead: what a loop carries is not
    computed again by all its users.
    """
    env = envs.AutoReset(envs.make("coin", num_steps=100))
    reset = jax.vmap(env.reset, 0, (-1, LAST))
    step = jax.vmap(env.step, (0, -1, -1), (-1, LAST))

    def seen(timestep):
        return timestep.reward, timestep.observation.sum((0, 1))

    @jax.jit
    def play(key):
        reset_key, action_key, key = jax.random.split(key, 3)
        state, first = reset(jax.random.split(reset_key, num_games))

        def body(carry, key):
            state, action, totals = carry
            action_key, step_key = jax.random.split(key)
            keys = jax.random.split(step_key, num_games)
            state, timestep = step(keys, state, action)
            totals = jax.tree.map(jnp.add, totals, seen(timestep))
            return (state, _random_bits(action_key, num_games, 2), totals), None

        start = state, _random_bits(action_key, num_games, 2), seen(first)
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return rate(lambda i: play(jax.random.key(i)), repeats, num_games * num_steps)


def measure_negotiation(
    repeats: int, num_games: int = 16_384, num_steps: int = 50
) -> dict:
    """Negotiation rounds of uniformly random proposals."""
    env = envs.make("negotiation", num_steps=num_steps)
    reset = jax.vmap(env.reset, 0, (-1, LAST))
    step = jax.vmap(env.step, (0, -1, -1), (-1, LAST))
    space = cast(Box, env.action_spaces[0])
    shape = env.num_agents, *space.shape, num_games

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        state, first = reset(jax.random.split(reset_key, num_games))

        def body(carry, key):
            state, *totals = carry
            action_key, step_key = jax.random.split(key)
            action = jax.random.uniform(
                action_key, shape, minval=space.low, maxval=space.high
            )
            keys = jax.random.split(step_key, num_games)
            state, timestep = step(keys, state, action)
            seen = timestep.reward, timestep.observation
            return (state, *jax.tree.map(jnp.add, totals, list(seen))), None

        start = state, first.reward, first.observation
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return rate(lambda i: play(jax.random.key(i)), repeats, num_games * num_steps)


def measure_harvest(repeats: int, num_games: int = 64, num_steps: int = 200) -> dict:
    """Commons Harvest of seven on the published map, with all observations.

    The same play with rewards alone, whose observations are then left out, tells how
    much of a step they take.
    """
    env = envs.make("harvest")
    whole = _harvest_rate(env, True, repeats, num_games, num_steps)
    rules = _harvest_rate(env, False, repeats, num_games, num_steps)
    looking = 1 - whole["median"] / rules["median"]
    step_bytes = 4 * env.num_agents * math.prod(env.observation_shape)
    return {
        **whole,
        "rules_alone": rules["median"],
        "note": f"{looking:.0%} is looking: {whole['median'] * step_bytes / 1e9:.2g} "
        f"GB/s of planes; rules alone {rules['median']:.3g}",
    }


def _harvest_rate(
    env, looks: bool, repeats: int, num_games: int, num_steps: int
) -> dict:
    """Random play, whose observations are carried from step to step if it `looks`.

    Games are the first axis here: to paint and to look is to index, one game after the
    other.
    """
    reset, step = jax.vmap(env.reset), jax.vmap(env.step)
    num_actions = env.action_spaces[0].num_actions
    shape = num_games, env.num_agents

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        state, first = reset(jax.random.split(reset_key, num_games))

        def body(carry, key):
            state, total, _ = carry
            action_key, step_key = jax.random.split(key)
            action = jax.random.randint(action_key, shape, 0, num_actions, jnp.int32)
            keys = jax.random.split(step_key, num_games)
            state, timestep = step(keys, state, action)
            seen = timestep.observation if looks else None
            return (state, total + timestep.reward, seen), None

        start = state, first.reward, first.observation if looks else None
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return rate(lambda i: play(jax.random.key(i)), repeats, num_games * num_steps)


def _random_bits(key, num_games: int, num_bits: int):
    """Actions of two agents, i32[2, B], each of so many bits: 1, 2, 4 or 8."""
    per_word = 32 // num_bits
    words = jax.random.bits(key, (1, 2 * num_games // per_word), jnp.uint32)
    parts = words >> jnp.arange(0, 32, num_bits, dtype=jnp.uint32)[:, None]
    return (parts & (2**num_bits - 1)).astype(jnp.int32).reshape(2, num_games)
