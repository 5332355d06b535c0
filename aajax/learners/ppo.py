"""Proximal policy optimisation (PPO): epochs of minibatches per trajectory.

With an alignment credit it is Proximal Advantage Alignment. Minibatches divide games,
not time steps, so that recurrent policies are trained on whole sequences.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax

from aajax.learners.base import Learner
from aajax.learners.descent import gradient_descent, split_games
from aajax.learners.objective import Objective, loss, prepare
from aajax.policies.base import Policy
from aajax.types import Array


def ppo(
    policy: Policy,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seats: Sequence[int] | None = None,
    *,
    num_epochs: int = 4,
    num_minibatches: int = 4,
    target_rate: Array | float | None = None,
    num_chunks: int = 1,
) -> Learner:
    """A learner that takes num_epochs · num_minibatches gradient steps per trajectory.

    Advantages and credit are computed once, before the first step. See
    https://arxiv.org/abs/1707.06347.

    Args:
      policy: that is trained, and that acted in its seats of the trajectory.
      objective: rewards ∘ credit ∘ surrogate, such as `surrogate.clipped(0.2)`.
      optimizer: of the policy's parameters.
      seats: those that the policy plays; None for all (self-play).
      num_epochs: passes over the trajectory.
      num_minibatches: minibatches per epoch; must divide the number of games.
      target_rate: τ of a target network; see `descent.gradient_descent`.
      num_chunks: gradient accumulation over parts of a minibatch; likewise.

    Raises:
      InputError: if num_minibatches does not divide the number of games.
    """

    init, descend = gradient_descent(
        partial(loss, objective, policy),
        policy,
        optimizer,
        target_rate=target_rate,
        num_chunks=num_chunks,
    )

    def update(key, state, trajectory):
        num_games = trajectory.last.shape[1]
        batch = prepare(objective, trajectory, seats)

        def epoch(state, key):
            order = jax.random.permutation(key, num_games)
            minibatches = split_games(batch, order, num_minibatches, "num_minibatches")
            return jax.lax.scan(descend, state, minibatches)

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, num_epochs))
        return state, jax.tree.map(jnp.mean, metrics)

    return Learner(init, update)
