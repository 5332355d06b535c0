"""Credit over several episodes, between which a co-player learns from all games.

A meta-game is B games in lockstep, M episodes of T steps each, against a learner that
updates after every episode from its B games. What an action brings has two parts: what
its own game brings until the end of the episode, and what all games bring in later
episodes, as the learner has learned from the average of the B games.

See "Multi-agent cooperation through learning-aware policy gradients", COALA-PG
(https://arxiv.org/abs/2410.18636), and M-FOS (https://arxiv.org/abs/2205.01447).
"""

from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp

from aajax.ops import returns
from aajax.types import Array

# (x_t[M·T, B], num_episodes, discount) -> [M·T, B]
Rule = Callable[[Array, int, Array | float], Array]


def coala(x_t: Array, num_episodes: int, discount: Array | float = 1.0) -> Array:
    """COALA-PG: (1/B) own episode + mean over games of later episodes.

        c_b,l = (1/B) Σ_{l' ≥ l in the episode} x_b,l' + (1/B) Σ_b' Σ_later x_b'

    The sum over games of ∇ log π times this credit, of rewards, is in expectation the
    gradient of a game's mean return over all episodes, through the learner too.

    Args:
      x_t: f[M·T, B], rewards or temporal-difference errors.
      num_episodes: M.
      discount: of one step; γ, or γλ for temporal-difference errors.

    Returns:
      f[M·T, B].
    """
    own_t, later_t = own_and_later(x_t, num_episodes, discount)
    return own_t / x_t.shape[1] + jnp.mean(later_t, axis=1, keepdims=True)


def mfos(x_t: Array, num_episodes: int, discount: Array | float = 1.0) -> Array:
    """M-FOS: own episode + mean over games of later episodes.

    Later episodes count B times too little beside the own one; arguments as for
    `coala`.
    """
    own_t, later_t = own_and_later(x_t, num_episodes, discount)
    return own_t + jnp.mean(later_t, axis=1, keepdims=True)


def batch_unaware(
    x_t: Array, num_episodes: int, discount: Array | float = 1.0
) -> Array:
    """A game's own return over all episodes, as though it were alone.

    In expectation that of `mfos`; arguments as for `coala`. It is what a game's value
    predicts.
    """
    own_t, later_t = own_and_later(x_t, num_episodes, discount)
    return own_t + later_t


def own_and_later(
    x_t: Array, num_episodes: int, discount: Array | float
) -> tuple[Array, Array]:
    """Discounted sums from each step on: until its episode ends, and after it.

    Both f[M·T, B], game by game; arguments as for `coala`.
    """
    chex.assert_rank(x_t, 2)
    chex.assert_type(x_t, float)
    num_games = x_t.shape[1]
    by_episode = x_t.reshape(num_episodes, -1, num_games)
    slope = jnp.full(by_episode.shape[1], discount, x_t.dtype)

    def of_game(x):
        return returns.discounted_returns(x, slope)

    own = jax.vmap(jax.vmap(of_game, 1, 1))(by_episode)

    def before(later, start):
        """What follows an episode, from what follows the next and its own start."""
        return start + jnp.prod(slope) * later, later

    _, after = jax.lax.scan(
        before, jnp.zeros(num_games, x_t.dtype), own[:, 0], reverse=True
    )
    # A step of those that are left in the episode, itself included.
    left = jnp.cumprod(slope)[::-1]
    later = left[None, :, None] * after[:, None]
    return own.reshape(x_t.shape), later.reshape(x_t.shape)
