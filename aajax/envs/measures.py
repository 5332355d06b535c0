"""What several games measure alike."""

import jax
import jax.numpy as jnp

from aajax.types import Array, Episodes


def efficiency(episodes: Episodes, best: Array) -> Array:
    """Rewards of all over the best total of each step, f32[T, B]."""
    paid = episodes.mean(episodes.trajectory.reward).sum()
    return paid / episodes.mean(best)


def step_numbers(start: Array, last: Array) -> Array:
    """How many steps of its episode were played before each step, i32[T, B].

    Args:
      start: i32[B], before the first.
      last: bool[T, B], after which steps another episode begins.
    """

    def advance(time, last):
        return jnp.where(last, 0, time + 1), time

    return jax.lax.scan(advance, start, last)[1]
