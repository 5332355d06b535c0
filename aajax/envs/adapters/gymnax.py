"""Adapters from gymnax environments (one agent) to ours, and from ours to gymnax.

https://github.com/RobertTLange/gymnax, version 1. An environment of theirs by its name,
`gymnax:CartPole-v1`, is accepted wherever a game is named; `from_gymnax` takes any
`Environment` of theirs, and `to_gymnax` makes one.

Their step returns observation, state, reward, terminated, truncated and info. Both
libraries distinguish termination from truncation, and keep the final observation:
theirs as `info["final_observation"]`, ours as `TimeStep.final_observation`. Given the
same keys, numbers are the same.
"""

# gymnax's classes are annotated by their own states and parameters.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false
# pyright: reportArgumentType=false, reportIncompatibleVariableOverride=false
# pyright: reportOptionalMemberAccess=false, reportCallIssue=false

import dataclasses
import functools
import inspect
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from aajax.envs.adapters import common
from aajax.envs.base import (
    ActionSpace,
    Box,
    Discrete,
    Environment,
    environment,
    static,
)
from aajax.envs.spec import EnvSpec
from aajax.errors import InputError
from aajax.types import Array, PRNGKey, PyTree, TimeStep

with common.needs("gymnax"):
    import gymnax
    from gymnax.environments import spaces
    from gymnax.environments.environment import Environment as TheirEnvironment
    from gymnax.environments.environment import EnvParams, EnvState

NUM_STEPS = 100  # of an episode, where an environment of theirs has no limit
NO_LIMIT = 2**31 - 1
LIMIT = "max_steps_in_episode"


class GymnaxState(NamedTuple):
    """The state of an environment of gymnax, and i32[], the steps played."""

    state: PyTree
    time: Array


@environment
class FromGymnax:
    """Build it with `from_gymnax`, which checks its arguments."""

    params: PyTree  # theirs; leaves
    env: TheirEnvironment = static()
    action_shape: tuple[int, ...] = static()  # as they have it
    action_spaces: tuple[ActionSpace] = static()
    observation_size: int = static()
    num_categories: int | None = static()  # of an observation that is a number of them
    num_steps: int = static()

    num_agents = 1
    episode_length = None
    is_symmetric = True

    @property
    def observation_shape(self) -> tuple[int]:
        return (self.observation_size,)

    def reset(self, key: PRNGKey) -> tuple[GymnaxState, TimeStep]:
        """Starts an episode, with gymnax's `reset_env`."""
        observation, state = self.env.reset_env(key, self.params)
        timestep = TimeStep(
            observation=self._seen(observation),
            reward=jnp.zeros(1),
            discount=jnp.ones(()),
            last=jnp.zeros((), bool),
        )
        return GymnaxState(common.typed(state), jnp.int32(0)), timestep

    def step(
        self, key: PRNGKey, state: GymnaxState, action: Array
    ) -> tuple[GymnaxState, TimeStep]:
        """Plays a step, with gymnax's `step_env`, which does not auto-reset."""
        time = state.time + 1
        observation, after, reward, terminated, _ = self.env.step_env(
            key, state.state, jnp.reshape(action, self.action_shape), self.params
        )
        terminated = jnp.asarray(terminated, bool)
        truncated = self.env.is_truncated(after, self.params) | (time >= self.num_steps)
        timestep = TimeStep(
            observation=self._seen(observation),
            reward=jnp.reshape(jnp.asarray(reward, jnp.float32), (1,)),
            discount=1.0 - terminated.astype(jnp.float32),
            last=terminated | truncated,
        )
        return GymnaxState(common.typed_as(after, state.state), time), timestep

    def _seen(self, observation: PyTree) -> Array:
        if self.num_categories is not None:
            observation = jax.nn.one_hot(observation, self.num_categories)
        return common.flat(observation)[None]


def from_gymnax(
    env: TheirEnvironment,
    params: PyTree | None = None,
    num_steps: int | None = None,
) -> FromGymnax:
    """Wraps a gymnax environment as one of ours, with one agent.

    Observations are flattened, in the order of the leaves of their pytree; discrete
    ones become one-hot. The discount is 0 at termination, 1 at truncation.

    Args:
      env: of gymnax; wrappers compare equal only for the same object.
      params: its parameters, pytree leaves of the wrapper, for `jax.vmap`; None for its
        `default_params`.
      num_steps: steps after which an episode is truncated; None for its
        `max_steps_in_episode`.

    Raises:
      InputError: for an action space that ours has not: a box with different or
        infinite bounds, and kinds that are neither discrete nor a box.
    """
    params = env.default_params if params is None else params
    limit = getattr(params, LIMIT, None)
    if num_steps is None:
        num_steps = NUM_STEPS if limit is None else int(limit)
    if num_steps < 1:
        raise InputError(f"num_steps is {num_steps}: at least 1 is needed")
    if limit is not None:
        params = params.replace(**{LIMIT: num_steps})
    their_space, seen = env.action_space(params), env.observation_space(params)
    num_categories = int(seen.n) if hasattr(seen, "n") else None
    shapes, _ = jax.eval_shape(env.reset_env, jax.random.key(0), params)
    size = jax.eval_shape(common.flat, shapes).size
    return FromGymnax(
        params=params,
        env=env,
        action_shape=tuple(their_space.shape),
        action_spaces=(common.action_space("action space", their_space),),
        observation_size=num_categories or size,
        num_categories=num_categories,
        num_steps=num_steps,
    )


@functools.cache
def spec(name: str) -> EnvSpec:
    """The record of an environment that is registered with gymnax.

    Its options are `num_steps`, those arguments of their constructor and those of their
    params that are numbers, words, or lists of numbers.

    Raises:
      InputError: for an unknown name, or if a package that it needs is missing.
    """
    if name not in gymnax.registered_envs:
        names = ", ".join(gymnax.registered_envs)
        raise InputError(f"game is 'gymnax:{name}': one of {names} is needed")
    env = _made(name, ())
    arguments = _arguments(type(env))
    params = {
        field.name: getattr(env.default_params, field.name)
        for field in dataclasses.fields(env.default_params)
        if field.name != LIMIT
    }

    def make(num_steps: int | None = None, **options: Any) -> FromGymnax:
        own = {key: x for key, x in options.items() if key in arguments}
        env = _made(name, common.hashable(own))
        given = {
            key: common.like(x, params[key])
            for key, x in options.items()
            if key not in arguments
        }
        return from_gymnax(env, env.default_params.replace(**given), num_steps)

    make.__signature__ = common.with_options(make, {**params, **arguments})
    about = f"{name} of gymnax, for one agent."
    return EnvSpec(name, about, make, measures=common.measures)


@struct.dataclass
class ExportedState(EnvState):
    """The state of one of our environments, and whether the episode is over.

    Attributes:
      time: i32[], steps played in this episode.
      state: of our environment.
      terminated: bool[], whether the episode is terminated.
      truncated: bool[], whether it is truncated.
    """

    state: PyTree
    terminated: Array
    truncated: Array


class ToGymnax(TheirEnvironment):
    """One of our environments as a gymnax environment.

    With one agent, observation, action and reward have no agent axis; with N agents,
    they have a leading axis N, and actions are joint actions.
    """

    def __init__(self, env: Environment) -> None:
        common.check_resets(env)
        if len(set(env.action_spaces)) > 1:
            raise InputError(
                f"action spaces are {', '.join(map(str, env.action_spaces))}: equal "
                "ones are needed"
            )
        self.env = env

    @property
    def default_params(self) -> EnvParams:
        """Without a limit of their own, as ours cuts episodes off itself."""
        return EnvParams(max_steps_in_episode=NO_LIMIT)

    def reset_env(self, key: PRNGKey, params: EnvParams) -> tuple[Array, ExportedState]:
        """Begins an episode."""
        state, timestep = self.env.reset(key)
        return self._one(timestep.observation), _exported(state, timestep, jnp.int32(0))

    def step_env(
        self,
        key: PRNGKey,
        state: ExportedState,
        action: Array,
        params: EnvParams,
    ) -> tuple[Array, ExportedState, Array, Array, dict[str, Array]]:
        """Plays a step and does not reset; `step` of the base class does."""
        space = self.env.action_spaces[0]
        shape = self.env.num_agents, *space.shape
        joint = jnp.reshape(jnp.asarray(action), shape).astype(space.dtype)
        inner, timestep = self.env.step(key, state.state, joint)
        after = _exported(inner, timestep, state.time + 1)
        reward, info = self._one(timestep.reward), {"discount": timestep.discount}
        return self._one(timestep.observation), after, reward, after.terminated, info

    def is_truncated(self, state: ExportedState, params: EnvParams) -> Array:
        """Whether ours, or `max_steps_in_episode`, has cut the episode off."""
        late = state.time >= params.max_steps_in_episode
        return state.truncated | (late & ~state.terminated)

    def is_terminated(self, state: ExportedState, params: EnvParams) -> Array:
        """Whether the episode has ended."""
        return state.terminated

    @property
    def name(self) -> str:
        return type(self.env).__name__

    @property
    def num_actions(self) -> int:
        """Choices of one agent.

        Raises:
          InputError: if an agent's action space is not discrete.
        """
        space = self.env.action_spaces[0]
        if not isinstance(space, Discrete):
            raise InputError(f"action space is {space}: a discrete one is needed")
        return space.num_actions

    def action_space(self, params: EnvParams | None = None) -> Any:
        """Theirs of the joint action: discrete for one agent's choice, else a box."""
        space = self.env.action_spaces[0]
        if isinstance(space, Discrete) and self.env.num_agents == 1:
            return spaces.Discrete(space.num_actions)
        axes = () if self.env.num_agents == 1 else (self.env.num_agents,)
        low, high = (
            (space.low, space.high)
            if isinstance(space, Box)
            else (0, space.num_actions - 1)
        )
        return spaces.Box(low, high, (*axes, *space.shape), space.dtype)

    def observation_space(self, params: EnvParams | None = None) -> Any:
        axes = () if self.env.num_agents == 1 else (self.env.num_agents,)
        shape = (*axes, *self.env.observation_shape)
        return spaces.Box(-jnp.inf, jnp.inf, shape, jnp.float32)

    def _one(self, x: Array) -> Array:
        """Without the axis of agents, if there is but one."""
        return x[0] if self.env.num_agents == 1 else x


def to_gymnax(env: Environment) -> ToGymnax:
    """An environment of ours as one of gymnax, whose step returns six values.

    Raises:
      InputError: if it resets itself, or agents have unequal action spaces.
    """
    return ToGymnax(env)


def _exported(state: PyTree, timestep: TimeStep, time: Array) -> ExportedState:
    return ExportedState(
        time=time,
        state=state,
        terminated=timestep.last & (timestep.discount == 0),
        truncated=timestep.last & (timestep.discount != 0),
    )


def _arguments(cls: type) -> dict[str, Any]:
    """Arguments of a constructor, with their defaults."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if common.option_type(parameter.default) is not None
    }


@functools.cache
def _made(name: str, options: tuple[tuple[str, Any], ...]) -> TheirEnvironment:
    """An environment of theirs, which is the same object for the same options."""
    try:
        # It makes constants, which must not belong to a function that is being traced.
        with jax.ensure_compile_time_eval():
            env, _ = gymnax.make(name, **dict(options))
    except Exception as error:  # of somebody else's code
        raise InputError(common.cannot(f"gymnax:{name}", options, error)) from error
    return env
