"""Several epochs of minibatches per trajectory: proximal policy optimisation.

With an alignment credit it is Proximal Advantage Alignment. Minibatches are whole
games, so that recurrent policies see whole histories.
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
      target_rate: of a target critic; see `descent.gradient_descent`.
      num_chunks: parts of a minibatch, to save memory; likewise.

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
