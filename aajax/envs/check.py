"""Contract tests of an environment, as gymnasium's `check_env`.

They are the same for all registered environments: constant shapes and dtypes, no
randomness but by the key, episodes that stop in time, and a discount that distinguishes
termination from truncation; then the optional parts of the record.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import Box, Discrete, Environment, MultiDiscrete
from aajax.envs.check_parts import numbers
from aajax.envs.check_words import check_words
from aajax.envs.spec import EnvSpec
from aajax.errors import InputError
from aajax.references import reason
from aajax.types import Episodes, PyTree, Tables, TimeStep, Trajectory

NUM_GAMES, NUM_STEPS = 16, 5
_SPACES = (Discrete, MultiDiscrete, Box)
_ATTRIBUTES = (
    *("num_agents", "action_spaces", "observation_shape", "episode_length"),
    *("is_symmetric", "reset", "step"),
)


class Play(NamedTuple):
    """Random play, longer than episodes are; fields [B, T, ...], without T at reset.

    Attributes:
      keys: of reset and of each step, [B, 1 + T].
      action: of all seats.
      start: state and time step of reset.
      played: states and time steps after each step.
    """

    keys: jax.Array
    action: np.ndarray
    start: tuple[PyTree, TimeStep]
    played: tuple[PyTree, TimeStep]


class ViolationError(Exception):
    """A violation of the contract, in one line."""


def check_environment(
    spec: EnvSpec, num_steps: int = NUM_STEPS, **options: Any
) -> list[str]:
    """Violations of the contract by an environment and its record, one line each.

    Some checks are made only once the ones that they depend on pass.

    Args:
      spec: of the environment.
      num_steps: steps after which its episodes are truncated.
      **options: of its constructor.

    Raises:
      InputError: for an option that it has not.
    """
    if "num_steps" not in spec.options:
        return ["make has no option num_steps: steps until a cut are needed"]
    try:
        env = spec.build(num_steps=num_steps, **options)
    except InputError:
        raise
    except Exception as error:  # of somebody else's code
        return [f"make fails: {reason(error)}"]
    found = list(dict.fromkeys(_attributes(env))) or list(_types(env))
    if found:
        return found
    try:
        play = random_play(env, 2 * num_steps)
        found = [*_episodes(env, play, num_steps), *_chance(env, play)]
        if not found:
            found = list(_parts(spec, env, play))
    except ViolationError as error:
        return [*found, str(error)]
    return found + list(check_words(spec))


def check_rules(env: Environment, game: str) -> None:
    """Raises InputError for what no run could train on, without playing a game.

    Args:
      env: an environment.
      game: what it is called in the message.
    """
    found = list(dict.fromkeys(_attributes(env))) or list(_types(env))
    if found:
        raise InputError(f"game is {game!r}: {found[0]}; `aajax check` tells all")


def random_play(env: Environment, num_steps: int) -> Play:
    """Plays games in parallel in which every seat acts uniformly at random.

    Raises:
      ViolationError: if they cannot be played so.
    """
    shape = NUM_GAMES, num_steps
    keys = jax.random.split(jax.random.key(0), (NUM_GAMES, 1 + num_steps))
    action = random_actions(env, shape)

    # Closed over: kept programs must not outlive a class that is defined anew.
    def play_one(keys: jax.Array, action: np.ndarray) -> PyTree:
        def body(carry: PyTree, x: PyTree) -> PyTree:
            carry = env.step(x[0], carry[0], x[1])
            return carry, carry

        start = env.reset(keys[0])
        return start, jax.lax.scan(body, start, (keys[1:], action))[1]

    try:
        start, played = jax.device_get(jax.jit(jax.vmap(play_one))(keys, action))
    except Exception as error:  # of somebody else's code
        line = f"games cannot be batched by jax.vmap: {reason(error)}"
        raise ViolationError(line) from error
    return Play(keys, action, start, played)


def random_actions(env: Environment, shape: tuple[int, ...]) -> np.ndarray:
    """Of all seats, [*shape, N, ...]."""
    keys = jax.random.split(jax.random.key(1), env.num_agents)
    each = [
        space.sample(key, shape)
        for space, key in zip(env.action_spaces, keys, strict=True)
    ]
    return np.stack(each, axis=len(shape))


def _attributes(made: Any) -> Iterator[str]:
    missing = [name for name in _ATTRIBUTES if not hasattr(made, name)]
    if missing:
        yield f"{', '.join(missing)} missing: what Environment has is needed"
        return
    count, spaces = made.num_agents, made.action_spaces
    if not isinstance(count, int) or count < 1:
        yield f"num_agents is {count!r}: a whole number of at least 1 is needed"
        return
    is_tuple = isinstance(spaces, tuple)
    if not is_tuple or len(spaces) != count or not _are_spaces(spaces):
        yield (
            f"action_spaces is {spaces!r}: a tuple of {count}, each a Discrete, "
            "MultiDiscrete or Box, is needed"
        )
        return
    if len({(type(space), space.shape) for space in spaces}) > 1:
        yield f"action_spaces is {spaces!r}: one kind for all seats is needed"
    for space in spaces:
        if isinstance(space, Box) and not space.low < space.high:
            yield f"action_spaces has {space!r}: low below high is needed"
        if not isinstance(space, Box) and space.num_actions < 2:
            yield f"action_spaces has {space!r}: at least 2 actions are needed"
    shape, length = made.observation_shape, made.episode_length
    if not isinstance(shape, tuple) or len(shape) != 1 or shape[0] < 1:
        yield (
            f"observation_shape is {shape!r}: one axis, of at least one number, is "
            "needed"
        )
    if length is not None and (not isinstance(length, int) or length < 1):
        yield f"episode_length is {length!r}: a whole number from 1, or None, is needed"
    symmetric = made.is_symmetric
    if not isinstance(symmetric, bool | np.bool_):
        yield f"is_symmetric is {symmetric!r}: True or False is needed"
    elif symmetric and len(set(spaces)) > 1:
        yield "is_symmetric is True: False is needed with seats that act differently"
    yield from _pytree(made)


def _are_spaces(spaces: tuple) -> bool:
    return all(isinstance(space, _SPACES) for space in spaces)


def _pytree(env: Environment) -> Iterator[str]:
    leaves, structure = jax.tree.flatten(env)
    if any(leaf is env for leaf in leaves):
        yield "it is no pytree: the decorator aajax.envs.base.environment makes it one"
        return
    odd = [x for x in leaves if not isinstance(x, jax.Array | np.ndarray | float | int)]
    if odd:
        yield f"a field is {odd[0]!r}, no array: `static()` is needed for such fields"
    try:
        hash(structure)
    except TypeError as error:
        yield f"static fields cannot be compared: {reason(error)}"


def _types(env: Environment) -> Iterator[str]:
    """Shapes and types, the same at every step."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    space = env.action_spaces[0]
    action = jax.ShapeDtypeStruct((env.num_agents, *space.shape), space.dtype)
    try:
        reset = _traced("reset", env.reset, key)
        found = list(_timestep("reset", env, reset[1]))
        step = _traced("step", env.step, key, reset[0], action)
    except ViolationError as error:
        yield str(error)
        return
    yield from found
    yield from _timestep("step", env, step[1])
    yield from _same(reset[0], step[0])


def _traced(name: str, function: Callable, *arguments: PyTree) -> PyTree:
    try:
        found = jax.eval_shape(function, *arguments)
    except Exception as error:  # of somebody else's code
        raise ViolationError(
            f"{name} cannot be traced by jax.jit: {reason(error)}"
        ) from (error)
    if not isinstance(found, tuple) or len(found) != 2:
        raise ViolationError(f"{name} returns no pair (state, TimeStep)")
    if not isinstance(found[1], TimeStep):
        raise ViolationError(
            f"{name} returns {_returned(found[1])} beside the state: an "
            "aajax.TimeStep is needed"
        )
    return found


def _timestep(name: str, env: Environment, found: TimeStep) -> Iterator[str]:
    seats = (env.num_agents,)
    wanted = {
        "observation": (seats + env.observation_shape, jnp.float32),
        "reward": (seats, jnp.float32),
        "discount": ((), jnp.float32),
        "last": ((), jnp.bool_),
    }
    for field, (shape, dtype) in wanted.items():
        own, needed = getattr(found, field), jax.ShapeDtypeStruct(shape, dtype)
        if not isinstance(own, jax.ShapeDtypeStruct):
            yield f"{field} of {name} is {_returned(own)}: {_kind(needed)} is needed"
        elif (own.shape, own.dtype) != (needed.shape, needed.dtype):
            yield f"{field} of {name} is {_kind(own)}: {_kind(needed)} is needed"
    if found.final_observation is not None:
        yield f"final_observation of {name} is given: None is needed, it is AutoReset's"


def _same(reset: PyTree, step: PyTree) -> Iterator[str]:
    if jax.tree.structure(reset) != jax.tree.structure(step):
        yield (
            f"state is {jax.tree.structure(reset)} after reset and "
            f"{jax.tree.structure(step)} after step: one structure is needed"
        )
        return
    after = jax.tree.leaves(step)
    for (path, x), y in zip(jax.tree.leaves_with_path(reset), after, strict=True):
        if (x.shape, x.dtype) != (y.shape, y.dtype):
            yield (
                f"state{jax.tree_util.keystr(path)} is {_kind(x)} after reset and "
                f"{_kind(y)} after step: one shape and type is needed"
            )


def _kind(x: Any) -> str:
    return f"{x.dtype}[{', '.join(map(str, x.shape))}]"


def _returned(x: Any) -> str:
    """What was returned, by its type and the shapes and types of its arrays."""
    if isinstance(x, jax.ShapeDtypeStruct):
        return _kind(x)
    kinds = [_kind(leaf) for leaf in jax.tree.leaves(x)]
    if not kinds:
        return repr(x)
    more = ", ..." if kinds[4:] else ""
    return f"{type(x).__name__} of {', '.join(kinds[:4])}{more}"


def _episodes(env: Environment, play: Play, num_steps: int) -> Iterator[str]:
    """Episodes begin and stop as they should, and their numbers are numbers."""
    first, played = play.start[1], play.played[1]
    if first.reward.any():
        yield "reward of reset is not 0: nothing is earned before the first step"
    if first.last.any() or (first.discount != 1).any():
        yield "last or discount of reset stops the episode: False and 1 are needed"
    for field in ("observation", "reward"):
        if not all(np.isfinite(getattr(x, field)).all() for x in (first, played)):
            yield f"{field} has numbers that are not finite"
    if not set(np.unique(played.discount)) <= {0.0, 1.0}:
        yield "discount of step is not 0 or 1: it says whether the game goes on"
        return
    lengths, at_end = [], []
    for last, discount in zip(played.last, played.discount, strict=True):
        if not last[:num_steps].any():
            yield f"an episode goes on after num_steps = {num_steps}: last is needed"
            return
        stop = int(np.flatnonzero(last)[0])  # what follows is padding
        if (discount[:stop] == 0).any():
            yield "discount is 0 where last is False: a game that has ended stops"
            return
        lengths.append(stop + 1)
        at_end.append(discount[stop])
    wanted = env.episode_length
    if wanted is not None and set(lengths) != {wanted}:
        yield (
            f"episodes are {min(lengths)} to {max(lengths)} steps long: "
            f"{wanted}, as episode_length says, or episode_length None is needed"
        )
    early = [x for x, length in zip(at_end, lengths, strict=True) if length < num_steps]
    if any(early):
        yield (
            f"discount is 1 where an episode stops before num_steps = {num_steps}: 0 "
            "is needed, as the game has ended"
        )


def _chance(env: Environment, play: Play) -> Iterator[str]:
    """Nothing but the key decides, and games are the same alone and side by side."""
    game, length = 3, min(NUM_STEPS, play.action.shape[1])
    keys, action = play.keys[game], play.action[game]
    # Functions of their own, which are traced anew: Python state shows in that.
    reset = jax.jit(lambda key: env.reset(key))
    step = jax.jit(lambda key, state, action: env.step(key, state, action))
    try:
        with jax.debug_key_reuse(True):
            carries = [reset(keys[0])]
            for t in range(length):
                carries.append(step(keys[1 + t], carries[-1][0], action[t]))
    except jax.errors.KeyReuseError:
        yield "a key is used twice: parts of it, by jax.random.split, are needed"
        return
    for t, carry in enumerate(carries):
        wanted = play.played if t else play.start
        where = (game, t - 1) if t else (game,)
        if not _are_close(carry, jax.tree.map(lambda x, at=where: x[at], wanted)):
            when = f"in step {t}" if t else "at reset"
            yield (
                f"equal keys and actions gave two different games {when}: all chance "
                "from the key, and no Python state, are needed"
            )
            return


def _are_close(one: PyTree, other: PyTree) -> bool:
    """Of time steps: states may hold numbers that are never seen."""
    pairs = zip(jax.tree.leaves(one[1]), jax.tree.leaves(other[1]), strict=True)
    # Programs for one game and for many round differently, and what is computed step
    # upon step, as where an opponent learns, amplifies it.
    near = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}
    return all(np.allclose(x, y, **near) for x, y in pairs)


def _parts(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    """What the record offers besides the rules."""
    checks = {
        "planes": _planes,
        "players": _players,
        "measures": _measures,
        "training_measures": _training_measures,
        "view": _view,
    }
    for name, check in checks.items():
        if getattr(spec, name) is None:
            continue
        try:
            yield from (f"{name}: {line}" for line in check(spec, env, play))
        except Exception as error:  # of somebody else's code
            yield f"{name}: it fails with {reason(error)}"


def _planes(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    assert spec.planes is not None
    shape = spec.planes(env)
    if len(shape) != 3 or np.prod(shape) != env.observation_shape[0]:
        yield f"{shape} is not the (C, H, W) of {env.observation_shape[0]} numbers"


def _players(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    assert spec.players is not None
    there = spec.players(env)
    if len(set(there.names)) < len(there.names):
        yield f"names are {there.names}: each is needed once"
    for name in spec.opponents or ():
        if there.names and name not in there.names:
            yield f"opponents has {name!r}, who is none of {', '.join(there.names)}"
    params = [there.params(name) for name in there.names]
    if len({jax.tree.structure(x) for x in params}) > 1:
        yield "params of players have different structures, and cannot be stacked"
        return
    try:
        there.params("nobody of that name")
        yield "params of a name that is not there: InputError is needed"
    except InputError:
        pass
    seen = play.start[1].observation[:, :1]
    space, memory = env.action_spaces[0], there.policy.initial_memory(seen.shape[:2])
    wanted = jax.ShapeDtypeStruct((*seen.shape[:2], *space.shape), space.dtype)
    for name, own in zip(there.names, params, strict=True):
        output = there.policy.act(own, jax.random.key(2), seen, memory)
        action = output.action
        if (action.shape, action.dtype) != (wanted.shape, wanted.dtype):
            yield f"{name} plays {_kind(action)}: {_kind(wanted)} is needed"
        elif not _is_in(space, np.asarray(action)):
            yield f"{name} plays what is not in {space}"
        shape = output.log_prob.shape
        if shape != seen.shape[:2]:
            yield f"log_prob of {name} is of shape {shape}: {seen.shape[:2]} is needed"
        before, after = (jax.tree.map(np.shape, x) for x in (memory, output.memory))
        if before != after:
            yield f"memory of {name} changes its shape: {before} becomes {after}"


def _is_in(space: Any, action: np.ndarray) -> bool:
    if isinstance(space, Box):
        return bool(np.all((action >= space.low) & (action <= space.high)))
    return bool(np.all((action >= 0) & (action < space.num_actions)))


def _measures(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    trajectory, state, inside = _trajectory(env, play)
    assert spec.measures is not None
    found = spec.measures(env, Episodes(trajectory, state, inside))
    yield from numbers(found)


def _training_measures(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    before = Tables(*jax.tree.map(jnp.asarray, play.start), memory=())
    assert spec.training_measures is not None
    yield from numbers(spec.training_measures(env)(before, _trajectory(env, play)[0]))


def _trajectory(env: Environment, play: Play) -> tuple[Trajectory, PyTree, jax.Array]:
    """Play as `rollout` has it: [T, B, ...], states [T + 1, B, ...], what is inside."""
    state, first = play.start
    states, played = (jax.tree.map(_by_time, x) for x in play.played)
    seen = np.concatenate([first.observation[None], played.observation[:-1]])
    zeros = jnp.zeros(played.reward.shape)
    reward, discount, last = map(
        jnp.asarray, (played.reward, played.discount, played.last)
    )
    trajectory = Trajectory(
        *(jnp.asarray(seen), jnp.asarray(_by_time(play.action))),
        *(reward, discount, last, zeros, zeros, zeros, ()),
    )
    states = jax.tree.map(
        lambda x, y: jnp.concatenate([jnp.asarray(x)[None], jnp.asarray(y)]),
        *(state, states),
    )
    over = np.cumsum(played.last, axis=0) > 0
    inside = np.concatenate([np.ones_like(over[:1]), ~over[:-1]])
    return trajectory, states, jnp.asarray(inside)


def _by_time(x: np.ndarray) -> np.ndarray:
    return np.swapaxes(x, 0, 1)


def _view(spec: EnvSpec, env: Environment, play: Play) -> Iterator[str]:
    assert spec.view is not None
    view = spec.view(env)
    if len(view.seats) != env.num_agents:
        yield f"seats are {view.seats}: {env.num_agents} names are needed"
        return
    state, first = (jax.tree.map(lambda x: x[0], part) for part in play.start)
    for seat in range(env.num_agents):
        said = {
            "show": view.show(state),
            "show_to": view.show_to(seat, state, first.observation),
            "say": view.say(seat, state, play.action[0, 0, seat]),
        }
        question = view.question(seat, state)
        if question is not None:
            said["question"] = question
        for name, text in said.items():
            if not isinstance(text, str):
                yield f"{name} returns {text!r} for seat {seat}: a text is needed"
        if question is None:
            continue
        try:
            view.read(seat, state, "?!")
        except InputError:
            continue
        yield f"read takes '?!' for an answer of seat {seat}: InputError is needed"
        return
