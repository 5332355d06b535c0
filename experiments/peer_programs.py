"""Random play in environments of others: run by `peers.py`, in a process of its own.

    python peer_programs.py NAME FOLDER

imports the program of that name from a checkout, compiles it, and then measures it once
for each line of the standard input: a line of JSON with env-steps per second each. It
needs no more than JAX and what the checkout needs. Rewards and observations are summed
up or written out in every step as in `aajax bench`, so that none can be left out.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Program(NamedTuple):
    """A call that plays with a key, and how many steps that are."""

    play: Callable
    steps: int


def pax_ipd() -> Program:
    """Pax's prisoner's dilemma: 4096 games, episodes of 100 steps."""
    from pax.envs.iterated_matrix_game import EnvParams, IteratedMatrixGame

    env = IteratedMatrixGame(num_inner_steps=100, num_outer_steps=1)
    payoff = jnp.array([[-1.0, -1.0], [-3.0, 0.0], [0.0, -3.0], [-2.0, -2.0]])
    return _of_two(env, EnvParams(payoff_matrix=payoff), 2, jnp.int8)


def pax_coin() -> Program:
    """Pax's coin game of 3 × 3: 4096 games, episodes of 100 steps, planes."""
    from pax.envs.coin_game import CoinGame, EnvParams

    env = CoinGame(
        num_inner_steps=100,
        num_outer_steps=1,
        cnn=True,
        egocentric=False,
    )
    payoff = [[1.0, 1.0, -2.0], [1.0, 1.0, -2.0]]
    return _of_two(env, EnvParams(payoff_matrix=payoff), 5, jnp.int32)


def _of_two(env, params, num_actions: int, dtype) -> Program:
    num_games, num_steps = 4096, 1000

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        observation, state = jax.vmap(env.reset, (0, None))(
            jax.random.split(reset_key, num_games), params
        )
        start = state, jnp.zeros((2, num_games)), observation

        def body(carry, key):
            state, reward, seen = carry
            action_key, step_key = jax.random.split(key)
            action = _draw(action_key, (2, num_games), num_actions)
            observation, state, new, _, _ = jax.vmap(env.step, (0, 0, 0, None))(
                jax.random.split(step_key, num_games),
                state,
                tuple(action.astype(dtype)),
                params,
            )
            seen = jax.tree.map(jnp.add, seen, observation)
            return (state, reward + jnp.stack(new), seen), None

        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return Program(play, num_games * num_steps)


def _draw(key, shape, num_actions: int):
    """Random actions; of two, a bit each, which is cheaper."""
    if num_actions == 2:
        words = jax.random.bits(key, (shape[0] * shape[1] // 32,), jnp.uint32)
        bits = (words[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1
        return bits.reshape(shape)
    return jax.random.randint(key, shape, 0, num_actions)


def socialjax_harvest() -> Program:
    """SocialJax's harvest of seven agents: 64 games, 200 steps, windows written out."""
    import socialjax

    env = socialjax.make("harvest_common_open")
    num_games, num_steps = 64, 200
    num_actions = env.action_space(env.agents[0]).n

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        reset_keys = jax.random.split(reset_key, num_games)
        observation, state = jax.vmap(env.reset)(reset_keys)

        def body(carry, key):
            state, _, total = carry
            action_key, step_key = jax.random.split(key)
            shape = len(env.agents), num_games
            action = list(jax.random.randint(action_key, shape, 0, num_actions))
            keys = jax.random.split(step_key, num_games)
            observation, state, reward, _, _ = jax.vmap(env.step)(keys, state, action)
            total = total + sum(x.sum() for x in jax.tree.leaves(reward))
            return (state, observation, total), None

        start = state, observation, jnp.zeros(())
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return Program(play, num_games * num_steps)


PROGRAMS = {
    "pax-ipd": pax_ipd,
    "pax-coin": pax_coin,
    "socialjax-harvest": socialjax_harvest,
}


def main(name: str, folder: str) -> None:
    """Compiles, and measures once for each line that comes in."""
    sys.path.insert(0, folder)
    with contextlib.redirect_stdout(sys.stderr):  # some packages greet when imported
        program = PROGRAMS[name]()
        jax.block_until_ready(program.play(jax.random.key(0)))
    print(json.dumps("ready"), flush=True)
    for i, _ in enumerate(sys.stdin, 1):
        began = time.perf_counter()
        jax.block_until_ready(program.play(jax.random.key(i)))
        seconds = time.perf_counter() - began
        print(json.dumps(program.steps / seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
