"""One gradient step per trajectory: REINFORCE, actor-critic, advantage alignment."""

from collections.abc import Sequence

import optax

from aajax.learners.base import Learner
from aajax.learners.objective import Objective, gradient_descent, prepare
from aajax.policies.base import Policy


def policy_gradient(
    policy: Policy,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    seats: Sequence[int] | None = None,
) -> Learner:
    """Descends `objective` once per trajectory.

    Args:
      policy: that learns, and that acted in its seats.
      objective: rewards ∘ credit ∘ surrogate.
      optimizer: of the policy's parameters.
      seats: those that the policy plays; None for all (self-play).
    """

    init, descend = gradient_descent(objective, policy, optimizer)

    def update(key, state, trajectory):
        del key
        return descend(state, prepare(objective, trajectory, seats))

    return Learner(init, update)
