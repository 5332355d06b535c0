"""The environment protocol and action spaces.

An environment is a frozen dataclass that is also a pytree: static fields fix shapes and
rules, leaf fields are numbers such as payoffs. `jax.vmap` over the leaves is a vmap
over environments. `reset` and `step` are unbatched; `jax.vmap` them to play many games.
"""

import dataclasses
from typing import Any, Protocol, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from aajax.errors import InputError
from aajax.types import Array, PRNGKey, PyTree, TimeStep

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Discrete:
    """Actions 0, ..., num_actions − 1, as i32[]."""

    num_actions: int

    shape = ()
    dtype = jnp.int32

    def sample(self, key: PRNGKey, batch_shape: tuple[int, ...] = ()) -> Array:
        """Uniform actions, i32[*batch_shape]."""
        return jax.random.randint(key, batch_shape, 0, self.num_actions, jnp.int32)


@dataclasses.dataclass(frozen=True)
class MultiDiscrete:
    """`size` independent choices, each of 0, ..., num_actions − 1, as i32[size]."""

    size: int
    num_actions: int

    dtype = jnp.int32

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    def sample(self, key: PRNGKey, batch_shape: tuple[int, ...] = ()) -> Array:
        """Uniform actions, i32[*batch_shape, size]."""
        shape = (*batch_shape, self.size)
        return jax.random.randint(key, shape, 0, self.num_actions, jnp.int32)


@dataclasses.dataclass(frozen=True)
class Box:
    """`size` real numbers in [low, high], as f32[size]."""

    size: int
    low: float
    high: float

    dtype = jnp.float32

    @property
    def shape(self) -> tuple[int]:
        return (self.size,)

    def sample(self, key: PRNGKey, batch_shape: tuple[int, ...] = ()) -> Array:
        """Uniform actions, f32[*batch_shape, size]."""
        shape = (*batch_shape, self.size)
        return jax.random.uniform(key, shape, minval=self.low, maxval=self.high)


ActionSpace = Discrete | MultiDiscrete | Box
"""The action space of one seat."""


class Environment(Protocol):
    """The environment protocol, for N agents that act simultaneously.

    Attributes:
      num_agents: N, number of seats.
      action_spaces: the action space of each seat.
      observation_shape: shape of one agent's observation.
      episode_length: steps in every episode; None if it varies.
      is_symmetric: whether the game looks the same from every seat (observations and
        payoffs, with the seat's own first), so that one policy can play any of them.
    """

    @property
    def num_agents(self) -> int: ...

    @property
    def action_spaces(self) -> tuple[ActionSpace, ...]: ...

    @property
    def observation_shape(self) -> tuple[int, ...]: ...

    @property
    def episode_length(self) -> int | None: ...

    @property
    def is_symmetric(self) -> bool: ...

    def reset(self, key: PRNGKey) -> tuple[PyTree, TimeStep]:
        """Starts an episode. The key is consumed."""
        ...

    def step(
        self, key: PRNGKey, state: PyTree, action: Array
    ) -> tuple[PyTree, TimeStep]:
        """Plays the joint action, [N, ...]. The key is consumed."""
        ...


def in_window(
    observation: Array, reward: Array, time: Array, num_steps: int
) -> TimeStep:
    """The time step of a non-terminating game, truncated after `num_steps` steps."""
    return TimeStep(
        observation=observation,
        reward=reward,
        discount=jnp.ones(()),
        last=time >= num_steps,
    )


def check_whole(name: str, number: int, low: int = 1, high: int | None = None) -> None:
    """Raises InputError unless `number` is an integer from `low` to `high`."""
    fits = isinstance(number, int | np.integer) and number >= low
    if not fits or (high is not None and number > high):
        bounds = f"from {low} on" if high is None else f"from {low} to {high}"
        raise InputError(f"{name} is {number!r}: a whole number {bounds} is needed")


def positive(name: str, number: Array | float) -> Array:
    """`number` as f32[]; raises InputError if known not to be finite and above 0."""
    number = jnp.asarray(number, jnp.float32)
    # Under vmap the number is not known; the caller's own are checked outside.
    if not isinstance(number, Tracer) and not np.all(
        np.isfinite(number) & (np.asarray(number) > 0)
    ):
        raise InputError(f"{name} is {number}: a finite number > 0 is needed")
    return number


def static(**options: Any) -> Any:
    """A dataclass field that is not a pytree leaf: compared by value, never traced."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def environment(cls: type[T]) -> type[T]:
    """Makes a frozen dataclass and pytree; its leaves are the non-`static` fields."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    return jax.tree_util.register_dataclass(cls)
