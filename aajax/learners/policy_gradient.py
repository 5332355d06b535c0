"""One gradient step per trajectory: REINFORCE, actor-critic, advantage alignment."""

from collections.abc import Sequence
from functools import partial

import optax

from aajax.learners.base import Learner
from aajax.learners.descent import gradient_descent
from aajax.learners.objective import Objective, loss, prepare
from aajax.policies.base import Policy
from aajax.types import Array


def policy_gradient(
    policy: Policy,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seats: Sequence[int] | None = None,
    *,
    target_rate: Array | float | None = None,
    num_chunks: int = 1,
) -> Learner:
    """A learner that takes one gradient step on `objective` per trajectory.

    Args:
      policy: that is trained, and that acted in its seats of the trajectory.
      objective: rewards ∘ credit ∘ surrogate.
      optimizer: of the policy's parameters.
      seats: those that the policy plays; None for all (self-play).
      target_rate: τ of a target network; see `descent.gradient_descent`.
      num_chunks: gradient accumulation over parts of the batch; likewise.
    """

    init, descend = gradient_descent(
        partial(loss, objective, policy),
        policy,
        optimizer,
        target_rate=target_rate,
        num_chunks=num_chunks,
    )

    def update(key, state, trajectory):
        del key
        return descend(state, prepare(objective, trajectory, seats))

    return Learner(init, update)
