"""Measures that several environments share."""

import jax
import jax.numpy as jnp

from aajax.types import Array, Episodes


def efficiency(episodes: Episodes, best: Array) -> Array:
    """Sum of all agents' rewards, over the best possible sums `best`, f32[T, B]."""
    paid = episodes.mean(episodes.trajectory.reward).sum()
    return paid / episodes.mean(best)


def step_numbers(start: Array, last: Array) -> Array:
    """Index of each step within its episode, i32[T, B].

    Args:
      start: i32[B], of the first step.
      last: bool[T, B], true at the last step of an episode.
    """

    def advance(time, last):
        return jnp.where(last, 0, time + 1), time

    return jax.lax.scan(advance, start, last)[1]
