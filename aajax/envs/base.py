"""What an environment is.

An environment is a frozen dataclass that is also a pytree: static fields fix shapes,
leaf fields are hyper-parameters. `jax.vmap` over an environment's leaves is a vmap over
environments. It plays one game; play many at once with `jax.vmap` over `reset` and
`step`.
"""

import dataclasses
from typing import Any, Protocol, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp

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
"""What a seat may do."""


class Environment(Protocol):
    """The contract, checked for every registered environment by the tests.

    Attributes:
      num_agents: N, seats at one game.
      action_spaces: what each seat may do.
      observation_shape: shape of one agent's observation.
      episode_length: steps of every episode, or None where it varies.
      is_symmetric: whether all seats see and earn alike, each from its own side, so
        that one policy can play any of them.
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
        """Begins a game. The key is consumed."""
        ...

    def step(
        self, key: PRNGKey, state: PyTree, action: Array
    ) -> tuple[PyTree, TimeStep]:
        """Plays the joint action i32[N, ...]. The key is consumed."""
        ...


def in_window(
    observation: Array, reward: Array, time: Array, num_steps: int
) -> TimeStep:
    """A time step of a game without end that is cut off after `num_steps` steps."""
    return TimeStep(
        observation=observation,
        reward=reward,
        discount=jnp.ones(()),
        last=time >= num_steps,
    )


def static(**options: Any) -> Any:
    """A field that fixes shapes or rules: compared, never traced."""
    return dataclasses.field(metadata={"static": True}, **options)


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def environment(cls: type[T]) -> type[T]:
    """Makes a class a frozen dataclass and a pytree without its `static()` fields."""
    cls = dataclasses.dataclass(frozen=True)(cls)
    return jax.tree_util.register_dataclass(cls)
