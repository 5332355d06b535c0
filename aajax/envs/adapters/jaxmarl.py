"""Adapters from JaxMARL environments to ours, and from ours to JaxMARL.

https://github.com/FLAIROx/JaxMARL, version 0.2. An environment of theirs by its name,
`jaxmarl:coin_game`, is accepted wherever a game is named; `from_jaxmarl` takes any
`MultiAgentEnv`, and `to_jaxmarl` makes one.

JaxMARL has one flag, `done`, for termination and truncation, and its `step` replaces
the final observation by the next episode's first. Ours distinguishes the two by
`discount` and keeps `final_observation`; exported environments keep both in their
state, and the two flags in `info`.
"""

# JaxMARL's classes are annotated by their own states and spaces.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false
# pyright: reportArgumentType=false, reportIncompatibleVariableOverride=false
# pyright: reportOptionalMemberAccess=false, reportCallIssue=false

import functools
import inspect
from collections.abc import Mapping
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
    MultiDiscrete,
    environment,
    static,
)
from aajax.envs.spec import EnvSpec
from aajax.errors import InputError
from aajax.types import Array, PRNGKey, PyTree, TimeStep

# Its import prints which of its parts are missing, and replaces sys.stdout and stderr.
with common.needs("jaxmarl"), common.quiet():
    import jaxmarl
    from jaxmarl.environments import spaces
    from jaxmarl.environments.mpe.simple import SimpleMPE
    from jaxmarl.environments.multi_agent_env import MultiAgentEnv, State
    from jaxmarl.environments.overcooked import Overcooked
    from jaxmarl.environments.overcooked_v2 import OvercookedV2
    from jaxmarl.environments.storm.storm_env import InTheGrid

NUM_STEPS = 100  # of an episode, where an environment of theirs has no limit


class JaxMARLState(NamedTuple):
    """The state of an environment of JaxMARL, and i32[], the steps played."""

    state: PyTree
    time: Array


@environment
class FromJaxMARL:
    """Build it with `from_jaxmarl`, which checks its arguments."""

    env: MultiAgentEnv = static()
    action_spaces: tuple[ActionSpace, ...] = static()
    observation_sizes: tuple[int, ...] = static()
    num_steps: int = static()
    time_limit: int | None = static()
    ends: bool = static()
    is_symmetric: bool = static()

    @property
    def num_agents(self) -> int:
        return len(self.action_spaces)

    @property
    def observation_shape(self) -> tuple[int]:
        return (max(self.observation_sizes),)

    @property
    def episode_length(self) -> int | None:
        if self.ends:
            return None
        return min(self.num_steps, self.time_limit or self.num_steps)

    def reset(self, key: PRNGKey) -> tuple[JaxMARLState, TimeStep]:
        """Begins a game, with their `reset`."""
        observation, state = self.env.reset(key)
        timestep = TimeStep(
            observation=self._padded(observation),
            reward=jnp.zeros(self.num_agents),
            discount=jnp.ones(()),
            last=jnp.zeros((), bool),
        )
        return JaxMARLState(common.typed(state), jnp.int32(0)), timestep

    def step(
        self, key: PRNGKey, state: JaxMARLState, action: Array
    ) -> tuple[JaxMARLState, TimeStep]:
        """Plays a joint action, with their `step_env`, which does not reset."""
        time = state.time + 1
        observation, stepped, rewards, dones, _ = self.env.step_env(
            key, state.state, self._named(action)
        )
        done = jnp.asarray(dones["__all__"], bool)
        limit = self.time_limit
        ended = done if limit is None else done & (time < limit)
        reward = [jnp.asarray(rewards[name], jnp.float32) for name in self.env.agents]
        timestep = TimeStep(
            observation=self._padded(observation),
            reward=jnp.stack(reward),
            discount=1.0 - ended.astype(jnp.float32),
            last=done | (time >= self.num_steps),
        )
        return JaxMARLState(common.typed_as(stepped, state.state), time), timestep

    def _named(self, action: Array) -> Any:
        """A joint action as they take it: a dictionary, or a tuple in Storm."""
        if _are_numbered(self.env):
            return tuple(action)
        return dict(zip(self.env.agents, action, strict=True))

    def _padded(self, observation: PyTree) -> Array:
        """Observations of all agents, f32[N, O], with zeros after the shorter ones."""
        rows = map(common.flat, _split(self.env, observation))
        (size,) = self.observation_shape
        return jnp.stack([jnp.pad(row, (0, size - len(row))) for row in rows])


def from_jaxmarl(
    env: MultiAgentEnv,
    num_steps: int = NUM_STEPS,
    *,
    time_limit: int | None = None,
    ends: bool = True,
    is_symmetric: bool | None = None,
) -> FromJaxMARL:
    """Wraps a JaxMARL environment as one of ours.

    Observations are flattened, in the order of the leaves of an agent's pytree, and
    padded with zeros to a common length. `done` of all agents stops the episode: as a
    truncation (discount 1) from step `time_limit` on, as a termination (discount 0)
    before. Agents that are done before the others play on, and actions that
    `get_avail_actions` excludes are not masked, as in JaxMARL's own `step`.

    Args:
      env: theirs; equal environments of ours need the same object.
      num_steps: steps after which an episode is truncated, if it has not stopped
        before.
      time_limit: steps after which `env` itself sets `done`, because time is up; None
        if it does so for no such reason.
      ends: whether `done` may be set before `time_limit`; else every episode is as long
        as the lower of the two limits.
      is_symmetric: whether all agents see and earn alike, each from its own side, so
        that one policy can play any of them; None: if their observations are of one
        size, their actions of one kind, and their names alike but for a number.

    Raises:
      InputError: for action spaces that ours has not: of mixed kinds, boxes with
        different or infinite bounds, multi-discrete ones with unequal choices.
    """
    for name, value in {"num_steps": num_steps, "time_limit": time_limit}.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}: at least 1 is needed")
    own_spaces = tuple(
        common.action_space(f"action space of {name!r}", env.action_space(name))
        for name in env.agents
    )
    if len({(type(space), space.shape) for space in own_spaces}) > 1:
        raise InputError(
            f"action spaces are {', '.join(map(str, own_spaces))}: for all agents ones "
            "of the same kind and shape are needed"
        )
    seen, _ = jax.eval_shape(env.reset, jax.random.key(0))
    rows = jax.eval_shape(lambda x: tuple(map(common.flat, _split(env, x))), seen)
    sizes = tuple(row.size for row in rows)
    roles = {str(name).rstrip("0123456789") for name in env.agents}
    alike = len(set(sizes)) == len(set(own_spaces)) == len(roles) == 1
    return FromJaxMARL(
        env=env,
        action_spaces=own_spaces,
        observation_sizes=sizes,
        num_steps=num_steps,
        time_limit=time_limit,
        ends=ends,
        is_symmetric=alike if is_symmetric is None else is_symmetric,
    )


@functools.cache
def spec(name: str) -> EnvSpec:
    """The record of an environment that is registered with JaxMARL.

    Its options are `num_steps`, `is_symmetric`, and those arguments of their
    constructor that are numbers, words, or lists of numbers. `done` is taken for a cut
    at their `max_steps` or after their `num_inner_steps · num_outer_steps`.

    Raises:
      InputError: if there is none of this name, or it needs what is not installed or
        arguments that are not numbers or words.
    """
    if name not in jaxmarl.registered_envs:
        names = ", ".join(jaxmarl.registered_envs)
        raise InputError(f"game is 'jaxmarl:{name}': one of {names} is needed")
    defaults = _defaults(type(_made(name, ())))

    def make(
        num_steps: int | None = None,
        is_symmetric: bool | None = None,
        **options: Any,
    ) -> FromJaxMARL:
        given = common.hashable(options)
        env = _made(name, given)
        limit, ends = _timing(env)
        if limit is not None and limit < 1:
            error = InputError("its episodes have no step")
            raise InputError(common.cannot(f"jaxmarl:{name}", given, error))
        return from_jaxmarl(
            env,
            limit or NUM_STEPS if num_steps is None else num_steps,
            time_limit=limit,
            ends=ends,
            is_symmetric=is_symmetric,
        )

    make.__signature__ = common.with_options(make, defaults)
    return EnvSpec(name, f"{name} of JaxMARL.", make, measures=common.measures)


@struct.dataclass
class ExportedState(State):
    """The state of an environment of ours, and what the step that led to it said.

    Attributes:
      done: bool[], False: `step` begins a new episode at once.
      step: i32[], steps played of this episode.
      state: of our environment.
      observation: f32[N, ...], in this state.
      final_observation: f32[N, ...], that the last step led to: where it stopped an
        episode, of that one and not of the new one.
      terminated: bool[], whether the last step ended an episode.
      truncated: bool[], whether the last step cut an episode off, whose value then is
        that of `final_observation`.
    """

    state: PyTree
    observation: Array
    final_observation: Array
    terminated: Array
    truncated: Array


class ToJaxMARL(MultiAgentEnv):
    """An environment of ours as a `MultiAgentEnv`, whose agents are agent_0, agent_1, …

    `info` holds `terminated` and `truncated`, bool[N] each, the shape of what their
    training scripts log.
    """

    def __init__(self, env: Environment) -> None:
        common.check_resets(env)
        super().__init__(num_agents=env.num_agents)
        self.env = env
        self.action_spaces = {
            name: _their_space(space)
            for name, space in zip(self.agents, env.action_spaces, strict=True)
        }
        seen = spaces.Box(-jnp.inf, jnp.inf, env.observation_shape, jnp.float32)
        self.observation_spaces = dict.fromkeys(self.agents, seen)

    @functools.partial(jax.jit, static_argnums=0)
    def reset(self, key: PRNGKey) -> tuple[dict[str, Array], ExportedState]:
        """Begins an episode."""
        state, timestep = self.env.reset(key)
        exported = self._state(state, timestep, jnp.int32(0))
        return self.get_obs(exported), exported

    @functools.partial(jax.jit, static_argnums=0)
    def step(
        self,
        key: PRNGKey,
        state: ExportedState,
        actions: Mapping[str, Array],
        reset_state: ExportedState | None = None,
    ) -> tuple[dict, ExportedState, dict, dict, dict]:
        """Plays a step, and begins a new episode where it stopped the old one.

        The state keeps the final observation and how the old episode stopped, which
        `MultiAgentEnv.step` would replace.
        """
        key, reset_key = jax.random.split(key)
        _, stepped, rewards, dones, infos = self.step_env(key, state, actions)
        fresh = self.reset(reset_key)[1] if reset_state is None else reset_state
        fresh = fresh.replace(
            final_observation=stepped.final_observation,
            terminated=stepped.terminated,
            truncated=stepped.truncated,
        )
        done = dones["__all__"]
        after = jax.tree.map(lambda x, y: jnp.where(done, x, y), fresh, stepped)
        return self.get_obs(after), after, rewards, dones, infos

    def step_env(
        self, key: PRNGKey, state: ExportedState, actions: Mapping[str, Array]
    ) -> tuple[dict, ExportedState, dict, dict, dict]:
        """Plays a step and does not reset."""
        joint = [
            jnp.reshape(actions[name], space.shape).astype(space.dtype)
            for name, space in zip(self.agents, self.env.action_spaces, strict=True)
        ]
        inner, timestep = self.env.step(key, state.state, jnp.stack(joint))
        after = self._state(inner, timestep, state.step + 1)
        rewards = dict(zip(self.agents, timestep.reward, strict=True))
        dones = dict.fromkeys([*self.agents, "__all__"], timestep.last)
        infos = {
            name: jnp.full(self.num_agents, getattr(after, name))
            for name in ("terminated", "truncated")
        }
        return self.get_obs(after), after, rewards, dones, infos

    def get_obs(self, state: ExportedState) -> dict[str, Array]:
        """What each agent sees."""
        return dict(zip(self.agents, state.observation, strict=True))

    def get_avail_actions(self, state: ExportedState) -> dict[str, Array]:
        """All actions, always: bool[A] of each agent.

        Raises:
          InputError: if actions are not one choice of A.
        """
        if not all(isinstance(x, Discrete) for x in self.env.action_spaces):
            raise InputError(
                f"action space is {self.env.action_spaces[0]}: a discrete one is needed"
            )
        return {
            name: jnp.ones(space.n, bool) for name, space in self.action_spaces.items()
        }

    @property
    def name(self) -> str:
        return type(self.env).__name__

    @property
    def agent_classes(self) -> dict[str, list[str]]:
        """All agents in one class if they are symmetric, else each in its own."""
        if self.env.is_symmetric:
            return {"agents": list(self.agents)}
        return {name: [name] for name in self.agents}

    def _state(self, state: PyTree, timestep: TimeStep, step: Array) -> ExportedState:
        return ExportedState(
            done=jnp.zeros((), bool),
            step=step,
            state=state,
            observation=timestep.observation,
            final_observation=timestep.observation,
            terminated=timestep.last & (timestep.discount == 0),
            truncated=timestep.last & (timestep.discount != 0),
        )


def to_jaxmarl(env: Environment) -> ToJaxMARL:
    """Wraps one of our environments as a `MultiAgentEnv` of JaxMARL.

    Raises:
      InputError: if it resets itself.
    """
    return ToJaxMARL(env)


def _are_numbered(env: MultiAgentEnv) -> bool:
    """Whether agents are called 0, 1, … and actions are a tuple, as in Storm."""
    return all(isinstance(name, int) for name in env.agents)


def _split(env: MultiAgentEnv, observation: PyTree) -> list[PyTree]:
    """The observation of each agent, from a dictionary, a sequence or stacked ones."""
    if isinstance(env, InTheGrid):  # whose inventories have agents last
        observation = {**observation, "inventory": observation["inventory"].T}
    elif isinstance(observation, Mapping | list | tuple):
        return [observation[name] for name in env.agents]
    return [
        jax.tree.map(lambda x, i=i: x[i], observation) for i in range(env.num_agents)
    ]


def _timing(env: MultiAgentEnv) -> tuple[int | None, bool]:
    """Steps after which an environment of JaxMARL's own stops, and whether before."""
    if isinstance(env, SimpleMPE):
        return env.max_steps + 1, False  # it looks at the clock before the step
    if isinstance(env, Overcooked | OvercookedV2):
        return env.max_steps, False
    if hasattr(env, "num_inner_steps"):  # the coin game, and Storm
        return env.num_inner_steps * env.num_outer_steps, False
    return getattr(env, "max_steps", None), True


def _defaults(cls: type) -> dict[str, Any]:
    """Arguments of a constructor with a default that a word can replace.

    Where it passes others on, as `**kwargs`, those of the class above are among them.
    """
    found: dict[str, Any] = {}
    for each in cls.__mro__:
        parameters = inspect.signature(each).parameters.values()
        for parameter in parameters:
            if common.option_type(parameter.default) is not None:
                found.setdefault(parameter.name, parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


@functools.cache
def _made(name: str, options: tuple[tuple[str, Any], ...]) -> MultiAgentEnv:
    """An environment of theirs, which is the same object for the same options."""
    defaults = _defaults(type(_made(name, ()))) if options else {}
    given = {key: common.like(x, defaults[key]) for key, x in options}
    try:
        # It makes constants, which must not belong to a function that is being traced.
        with jax.ensure_compile_time_eval():
            return jaxmarl.make(name, **given)
    except Exception as error:  # of somebody else's code
        raise InputError(common.cannot(f"jaxmarl:{name}", options, error)) from error


def _their_space(space: ActionSpace) -> spaces.Space:
    if isinstance(space, Discrete):
        return spaces.Discrete(space.num_actions)
    if isinstance(space, MultiDiscrete):
        return spaces.MultiDiscrete([space.num_actions] * space.size)
    assert isinstance(space, Box)
    return spaces.Box(space.low, space.high, space.shape, jnp.float32)
