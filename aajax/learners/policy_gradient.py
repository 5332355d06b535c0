"""One gradient step per trajectory: REINFORCE, actor-critic, advantage alignment."""

from collections.abc import Sequence

import jax
import optax

from aajax.learners.base import Learner, LearnerState
from aajax.learners.objective import Objective, loss, prepare
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

    def init(key):
        params = policy.init(key)
        return LearnerState(params, optimizer.init(params))

    def update(key, state, trajectory):
        del key
        batch = prepare(objective, trajectory, seats)
        gradient, metrics = jax.grad(
            lambda params: loss(objective, policy, params, batch), has_aux=True
        )(state.params)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        metrics["gradient_norm"] = optax.tree.norm(gradient)
        params = optax.apply_updates(state.params, updates)
        return LearnerState(params, opt_state), metrics

    return Learner(init, update)
