"""The loss of every policy-gradient learner: rewards ∘ credit ∘ surrogate."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.learners.advantages import AdvantageEstimator, Normaliser, whitened
from aajax.learners.attribution import Attribution
from aajax.learners.base import Metrics
from aajax.ops import alignment, values
from aajax.ops import rewards as reward_transforms
from aajax.ops.surrogate import Surrogate, reinforce
from aajax.policies.base import Policy
from aajax.types import Array, PyTree, Trajectory

# (advantage_t[T, N], last_t=bool[T], and advantage_by_t=[T, N, N] where there is an
# attribution) -> [T, N]
Credit = Callable[..., Array]


class Objective(NamedTuple):
    """The functions that make a loss of a trajectory.

    Attributes:
      advantage: trajectory to advantages; see `learners.advantages`.
      rewards: reward transform, f32[..., N] -> f32[..., N]; see `ops.rewards`.
      credit: advantages to credit, which multiplies ∇ log π; see `ops.alignment`.
      surrogate: credit to policy loss; see `ops.surrogate`.
      value_loss: `(value, target) -> loss` per entry; see `ops.values`.
      value_weight: weight of the value loss.
      whiten: whether advantages are whitened before credit is computed, per learner; or
        a function that does so, such as `advantages.jointly_whitened`.
      entropy_bonus: weight of the policy's entropy (in nats), subtracted from the loss.
      attribution: advantages, as whitened, to the parts of them that are owed to each
        agent's action, which `credit` is given as `advantage_by_t`; see
        `learners.attribution`. None for a credit that does not read them.
    """

    advantage: AdvantageEstimator
    rewards: Callable[[Array], Array] = reward_transforms.own
    credit: Credit = alignment.own_credit
    surrogate: Surrogate = reinforce
    value_loss: Callable[[Array, Array], Array] = values.huber
    value_weight: Array | float = 1.0
    whiten: bool | Normaliser = False
    entropy_bonus: Array | float = 0.0
    attribution: Attribution | None = None


class Batch(NamedTuple):
    """Inputs of the loss, for n learning seats: [T, B, n, ...]."""

    observation: Array
    action: Array
    log_prob: Array
    credit: Array
    target: Array | None
    last: Array  # bool[T, B]
    memory: PyTree  # [B, n, ...]


def prepare(
    objective: Objective, trajectory: Trajectory, seats: Sequence[int] | None
) -> Batch:
    """The batch of a trajectory: credit from all seats, data of the learning `seats`.

    `seats` is None if all learn.
    """
    trajectory = trajectory._replace(reward=objective.rewards(trajectory.reward))
    advantage, target = objective.advantage(trajectory)
    if objective.whiten:
        normalise = whitened if objective.whiten is True else objective.whiten
        advantage = normalise(advantage, seats)
    inputs = {"last_t": trajectory.last}
    if objective.attribution is not None:
        inputs["advantage_by_t"] = objective.attribution(advantage, trajectory)
    give_credit = jax.vmap(
        lambda a, more: objective.credit(a, **more), in_axes=1, out_axes=1
    )
    credit = give_credit(advantage, inputs)
    chosen = slice(None) if seats is None else jnp.asarray(seats)
    return Batch(
        observation=trajectory.observation[:, :, chosen],
        action=trajectory.action[:, :, chosen],
        log_prob=trajectory.log_prob[:, :, chosen],
        credit=credit[:, :, chosen],
        target=None if target is None else target[:, :, chosen],
        last=trajectory.last,
        memory=trajectory.memory,
    )


def loss(
    objective: Objective, policy: Policy, params: PyTree, batch: Batch
) -> tuple[Array, Metrics]:
    """Mean loss over steps, games and seats, and its terms as metrics."""
    evaluation = policy.read_again(
        params, batch.observation, batch.action, batch.last, batch.memory
    )
    policy_loss = jnp.mean(
        objective.surrogate(evaluation.log_prob, batch.log_prob, batch.credit)
    )
    entropy = jnp.mean(evaluation.entropy)
    total = policy_loss - objective.entropy_bonus * entropy
    metrics = {"policy_loss": policy_loss, "entropy": entropy}
    if batch.target is not None:
        target = jax.lax.stop_gradient(batch.target)
        value_loss = jnp.mean(objective.value_loss(evaluation.value, target))
        # Actor and critic share no parameters, or are meant to: the sum descends each.
        total = total + objective.value_weight * value_loss
        metrics["value_loss"] = value_loss
    return total, metrics
