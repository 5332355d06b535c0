"""Several epochs of minibatches per trajectory: proximal policy optimisation.

With an alignment credit it is Proximal Advantage Alignment. Minibatches are whole
games, so that recurrent policies see whole histories.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax

from aajax.learners.base import Learner
from aajax.learners.objective import Batch, Objective, gradient_descent, prepare
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
) -> Learner:
    """Descends `objective`, with its surrogate clipped, several times per trajectory.

    Advantages and credit are those of the policy that acted, computed once. See
    https://arxiv.org/abs/1707.06347.

    Args:
      policy: that learns, and that acted in its seats.
      objective: rewards ∘ credit ∘ surrogate, such as `surrogate.clipped(0.2)`.
      optimizer: of the policy's parameters.
      seats: those that the policy plays; None for all (self-play).
      num_epochs: passes over the trajectory.
      num_minibatches: parts of a pass; must divide the number of games.

    Raises:
      ValueError: if num_minibatches does not divide the number of games.
    """

    init, descend = gradient_descent(objective, policy, optimizer)

    def update(key, state, trajectory):
        num_games = trajectory.last.shape[1]
        if num_games % num_minibatches:
            raise ValueError(
                f"num_minibatches is {num_minibatches}: a divisor of the {num_games} "
                "games is needed"
            )
        batch = prepare(objective, trajectory, seats)

        def epoch(state, key):
            order = jax.random.permutation(key, num_games)
            minibatches = _split_games(batch, order, num_minibatches)
            return jax.lax.scan(descend, state, minibatches)

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, num_epochs))
        return state, jax.tree.map(jnp.mean, metrics)

    return Learner(init, update)


def _split_games(batch: Batch, order: Array, num_parts: int) -> Batch:
    """Shuffles the games of a batch and adds a leading axis of parts."""

    def split(axis):
        def split_leaf(x):
            x = jnp.take(x, order, axis)
            shape = (*x.shape[:axis], num_parts, -1, *x.shape[axis + 1 :])
            return jnp.moveaxis(x.reshape(shape), axis, 0)

        return split_leaf

    # Memory is [B, n, ...]; everything else is [T, B, ...].
    parts = jax.tree.map(split(1), batch._replace(memory=()))
    return parts._replace(memory=jax.tree.map(split(0), batch.memory))
