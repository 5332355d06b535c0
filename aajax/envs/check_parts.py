"""Whether a game's players and measures can be evaluated, from shapes alone.

Nothing is played nor compiled: it is what a run looks at before it trains, where
`check_environment` looks at values too.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Environment
from aajax.envs.spec import EnvSpec
from aajax.errors import InputError
from aajax.references import reason
from aajax.types import Episodes, PyTree, Tables, Trajectory

NUM_GAMES = 16


def check_parts(spec: EnvSpec, env: Environment, game: str, num_steps: int) -> None:
    """Raises InputError for players or measures that fail.

    Args:
      spec: of the environment.
      env: an environment whose rules can be traced.
      game: what it is called in the message.
      num_steps: T, of an episode.
    """
    checks = {
        "players": _players,
        "measures": _measures,
        "training_measures": _training_measures,
    }
    for name, check in checks.items():
        if getattr(spec, name) is None:
            continue
        try:
            found = list(check(spec, env, num_steps))
        except Exception as error:  # of somebody else's code
            found = [f"it fails with {reason(error)}"]
        if found:
            raise InputError(
                f"game is {game!r}: {name}: {found[0]}; `aajax check` tells all"
            )


def numbers(found: Any) -> Iterator[str]:
    """What is wrong with the numbers that a measure returns."""
    if not isinstance(found, dict):
        kind = "an array" if isinstance(found, jax.Array) else type(found).__name__
        yield f"it returns {kind}: a dict of numbers is needed"
        return
    for name, number in found.items():
        if np.shape(number):
            yield f"{name!r} is of shape {np.shape(number)}: one number is needed"


def _players(spec: EnvSpec, env: Environment, num_steps: int) -> Iterator[str]:
    """Of those whom trained runs are evaluated against."""
    assert spec.players is not None
    policy, there, params_of = spec.players(env)
    names = there if spec.opponents is None else spec.opponents
    params = [params_of(name) for name in names if name in there]
    if not params:
        return
    stacked = jax.tree.map(lambda *x: np.stack(x), *params)
    first = jax.tree.map(lambda x: x[0], stacked)
    batch = NUM_GAMES, 1

    def act(params: PyTree, key: jax.Array, observation: jax.Array) -> PyTree:
        memory = policy.initial_memory(batch)
        return policy.act(params, key, observation, memory).action

    action = jax.eval_shape(
        act,
        first,
        jax.eval_shape(lambda: jax.random.key(0)),
        jax.ShapeDtypeStruct((*batch, *env.observation_shape), jnp.float32),
    )
    space = env.action_spaces[0]
    shape = *batch, *space.shape
    if (action.shape, action.dtype) != (shape, space.dtype):
        yield (
            f"they play {action.dtype}{list(action.shape)}: "
            f"{jnp.dtype(space.dtype)}{list(shape)} is needed"
        )


def _measures(spec: EnvSpec, env: Environment, num_steps: int) -> Iterator[str]:
    def measure(trajectory: Trajectory, state: PyTree, inside: jax.Array) -> PyTree:
        assert spec.measures is not None
        return spec.measures(env, Episodes(trajectory, state, inside))

    inside = jax.ShapeDtypeStruct((num_steps, NUM_GAMES), jnp.bool_)
    state = _with_axes(_reset(env)[0], num_steps + 1, NUM_GAMES)
    yield from _returned(measure, _trajectory(env, num_steps), state, inside)


def _training_measures(
    spec: EnvSpec, env: Environment, num_steps: int
) -> Iterator[str]:
    assert spec.training_measures is not None
    before = Tables(*_with_axes(_reset(env), NUM_GAMES), memory=())
    measure = spec.training_measures(env)
    yield from _returned(measure, before, _trajectory(env, num_steps))


def _returned(measure: Any, *arguments: PyTree) -> Iterator[str]:
    """What is wrong with what a measure returns of such shapes."""
    wrong: list[str] = []

    def traced(*arguments: PyTree) -> PyTree:
        found = measure(*arguments)
        wrong.extend(numbers(found))
        return found

    jax.eval_shape(traced, *arguments)
    yield from wrong


def _reset(env: Environment) -> PyTree:
    return jax.eval_shape(lambda: env.reset(jax.random.key(0)))


def _with_axes(shapes: PyTree, *axes: int) -> PyTree:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((*axes, *x.shape), x.dtype), shapes
    )


def _trajectory(env: Environment, num_steps: int) -> Trajectory:
    """As `rollout` has it, [T, B, ...]."""
    axes, space, seats = (num_steps, NUM_GAMES), env.action_spaces[0], env.num_agents
    step = _with_axes(_reset(env)[1], *axes)
    action: Any = jax.ShapeDtypeStruct((*axes, seats, *space.shape), space.dtype)
    each: Any = jax.ShapeDtypeStruct((*axes, seats), jnp.float32)
    return Trajectory(
        *(step.observation, action, step.reward, step.discount, step.last),
        *(each, each, each, ()),
    )
