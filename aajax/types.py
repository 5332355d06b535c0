"""The records that pass between environments, policies and learners.

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
      last: bool[], the episode stops here, ended (discount 0) or cut off
        (discount 1).
      final_observation: f32[N, ...], under auto-reset the observation that the
        step led to, before the reset replaced it; None without auto-reset.
    """

    observation: Array
    reward: Array
    discount: Array
    last: Array
    final_observation: Array | None = None


class Trajectory(NamedTuple):
    """A stretch of play, time-major, as `aajax.rollout.rollout` returns it.

    Attributes:
      observation: f32[T, B, N, ...], seen before acting.
      action: i32[T, B, N] or, with the action space's own axes, [T, B, N, ...].
      reward: f32[T, B, N], earned by `action`.
      discount: f32[T, B], continuation after `action`.
      last: bool[T, B], whether `action` was the episode's last.
      log_prob: f32[T, B, N], of `action` under the policy that acted.
      value: f32[T, B, N], the acting policy's estimate at `observation`.
      next_value: f32[T, B, N], its estimate at the observation that `action` led
        to: where `last`, of the final observation and never of the next episode.
      memory: the policies' memory before the first step, leading axes [B, N].
      action_value: f32[T, B, N, A], the acting policy's estimate for every action;
        None where a policy at the table makes none.
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
    """Games under way, [B, ...]: states, last time steps and memories of all seats."""

    state: PyTree
    timestep: TimeStep
    memory: PyTree


class Episodes(NamedTuple):
    """Games from their start, each until its end or for T steps.

    Attributes:
      trajectory: [T, B, N, ...]; steps after a game's end are padding.
      state: the environment's, [T + 1, B, ...]: before each step, and after the last.
      inside: bool[T, B], which steps are of the game; the others are padding.
    """

    trajectory: Trajectory
    state: PyTree
    inside: Array

    def mean(self, x: Array) -> Array:
        """The mean of f32[T, B, ...] over steps inside of games, f32[...]."""
        inside = self.inside.reshape(self.inside.shape + (1,) * (x.ndim - 2))
        count = jnp.maximum(self.inside.sum(), 1).astype(x.dtype)
        return jnp.sum(jnp.where(inside, x, 0.0), axis=(0, 1)) / count
