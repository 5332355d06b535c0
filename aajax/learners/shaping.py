"""Advantages over all episodes of meta-games, in which a co-player learns."""

import jax
import jax.numpy as jnp

from aajax.learners.advantages import AdvantageEstimator
from aajax.ops import shaping
from aajax.types import Array, Trajectory


def across_episodes(
    rule: shaping.Rule,
    *,
    num_meta_games: int,
    num_episodes: int,
    gamma: Array | float,
    lambda_: Array | float,
) -> AdvantageEstimator:
    """A rule of `ops.shaping` on temporal-difference errors δ = r + γ V' − V.

    Values predict a game's own return over all episodes, and are trained on λ-returns
    of it.

    Args:
      rule: `coala`, `mfos` or `batch_unaware` of `ops.shaping`.
      num_meta_games: K; the games are those of each meta-game in turn, [K · B].
      num_episodes: M; the steps are those of each episode in turn, [M · T].
      gamma: γ in [0, 1].
      lambda_: λ in [0, 1].
    """

    def estimate(trajectory: Trajectory) -> tuple[Array, Array]:
        shape = trajectory.reward.shape  # [M·T, K·B, n]
        goes_on = gamma * trajectory.discount[..., None]
        delta = trajectory.reward + goes_on * trajectory.next_value - trajectory.value
        grouped = delta.reshape(shape[0], num_meta_games, -1, shape[2])

        def of(one: shaping.Rule) -> Array:
            def apply(x_t: Array) -> Array:
                return one(x_t, num_episodes, gamma * lambda_)

            over_seats = jax.vmap(apply, 2, 2)
            return jax.vmap(over_seats, 1, 1)(grouped).reshape(shape)

        target = trajectory.value + of(shaping.batch_unaware)
        return of(rule), jax.lax.stop_gradient(jnp.asarray(target))

    return estimate
