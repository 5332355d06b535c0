"""Data structures that pass between environments, policies and learners.

Axes, always in this order: T time, B games in parallel, N agents, then
features. Every array here may carry leading axes; the comments give the shape
for one game at one step.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array
AnyArray = jax.Array | np.ndarray  # on a device, or of the host
PRNGKey = chex.PRNGKey
PyTree = Any


class TimeStep(NamedTuple):
    """What an environment emits at reset and after every step.

    Attributes:
      observation: f32[N, ...], what each agent sees next.
      reward: f32[N], earned by the step just taken; zeros at reset.
      discount: f32[], γ-free continuation: 0 if the game has ended, else 1.
      last: bool[], whether the episode stops here: terminated (discount 0) or
        truncated (discount 1).
      final_observation: f32[N, ...], with auto-reset the observation that the step
        led to, where `observation` is already the next episode's first; None
        without auto-reset.
    """

    observation: Array
    reward: Array
    discount: Array
    last: Array
    final_observation: Array | None = None


class Trajectory(NamedTuple):
    """T steps of B games, time-major, as `aajax.rollout.rollout` returns them.

    Attributes:
      observation: f32[T, B, N, ...], seen before acting.
      action: i32[T, B, N] or, with the action space's own axes, [T, B, N, ...].
      reward: f32[T, B, N], earned by `action`.
      discount: f32[T, B], continuation after `action`.
      last: bool[T, B], whether `action` was the episode's last.
      log_prob: f32[T, B, N], of `action` under the policy that acted.
      value: f32[T, B, N], V(observation) of the policy that acted.
      next_value: f32[T, B, N], V of the observation that `action` led to; where
        `last`, of the episode's final observation, not of the next episode's first.
      memory: recurrent state of the policies before the first step, leading axes
        [B, N].
      action_value: f32[T, B, N, A], Q(observation, ·) of the policy that acted; None
        if any seat's policy has no such critic.
    """

    observation: Array
    action: Array
    reward: Array
    discount: Array
    last: Array
    log_prob: Array
    value: Array
    next_value: Array
    memory: PyTree
    action_value: Array | None = None


class Tables(NamedTuple):
    """B games in progress: what a rollout needs to go on with them.

    Attributes:
      state: the environment's states, [B, ...].
      timestep: the latest time steps, [B, ...].
      memory: recurrent state of the policies, leading axes [B, N].
    """

    state: PyTree
    timestep: TimeStep
    memory: PyTree


class Episodes(NamedTuple):
    """B episodes from their start, each padded to T steps.

    Attributes:
      trajectory: [T, B, N, ...]; steps after an episode's end are padding.
      state: the environment's, [T + 1, B, ...]: before each step, and after the last.
      inside: bool[T, B], mask that is false at padding.
    """

    trajectory: Trajectory
    state: PyTree
    inside: Array

    def mean(self, x: Array) -> Array:
        """Mean of x, f32[T, B, ...], over all steps but padding, f32[...]."""
        inside = self.inside.reshape(self.inside.shape + (1,) * (x.ndim - 2))
        count = jnp.maximum(self.inside.sum(), 1).astype(x.dtype)
        return jnp.sum(jnp.where(inside, x, 0.0), axis=(0, 1)) / count
