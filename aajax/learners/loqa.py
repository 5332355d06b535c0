"""LOQA, learning with opponent Q-learning awareness (https://arxiv.org/abs/2405.01035).

An agent models each co-player's policy as a softmax over its action values,

    π̃_j(b | s) ∝ exp(Q_j(s, b) / temperature),

and differentiates through these values: the return of co-player j after its action b_t
depends on the agent's later actions, hence on its policy. The loss is

    −E[Σ_t A_i,t (log π_i(a_i,t) + Σ_{j≠i} log π̃_j(b_j,t))],

where Q_j(s_t, b_j,t) is replaced by Q̃_j,t = r_j,t + γ R̃_j,t+1, with R̃ from
`ops.dice.loaded_dice_returns`. Q_i is trained by expected SARSA.

Differs from the published code: no gradient flows through the advantages A_i; they and
Q_j come from the target network whose values the trajectory records; and truncated
episodes bootstrap from its value. Without the bootstrap Q̃ would differ from all other
values towards the end of an episode, and π̃ would become nearly deterministic there.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from aajax.errors import InputError
from aajax.learners import advantages
from aajax.learners.base import Learner, Metrics
from aajax.learners.descent import gradient_descent
from aajax.ops import dice, values
from aajax.policies.base import Policy
from aajax.types import Array, PyTree, Trajectory


class LoqaBatch(NamedTuple):
    """Inputs of the loss, for n learning seats and the M = N − 1 co-players of each."""

    observation: Array  # [T, B, n, ...]
    action: Array  # [T, B, n]
    advantage: Array  # [T, B, n]
    target: Array  # [T, B, n], of Q_i at the action taken
    other_action: Array  # [T, B, n, M]
    other_reward: Array  # [T, B, n, M]
    other_return: Array  # [T, B, n, M]
    other_value: Array  # [T, B, n, M]
    other_next_value: Array  # [T, B, n, M]
    other_action_value: Array  # [T, B, n, M, A]
    discount: Array  # [T, B]
    last: Array  # [T, B]
    memory: PyTree  # [B, n, ...]


class LoqaObjective(NamedTuple):
    """Coefficients of the loss, numbers or f32[].

    Attributes:
      gamma: γ in [0, 1].
      dice_lambda: λ of the loaded-DiCE return: decay of an action's influence on the
        co-players' later returns.
      weight: of the co-players' term; 0 gives plain actor-critic.
      temperature: of the co-players' softmax.
      entropy_bonus: weight of the policy's entropy (in nats), subtracted from the loss.
    """

    gamma: Array | float
    dice_lambda: Array | float = 0.9
    weight: Array | float = 1.0
    temperature: Array | float = 1.0
    entropy_bonus: Array | float = 0.0


def loqa(
    policy: Policy,
    objective: LoqaObjective,
    optimizer: optax.GradientTransformation,
    seats: Sequence[int] | None = None,
    *,
    target_rate: Array | float | None = None,
    num_chunks: int = 1,
) -> Learner:
    """A learner that takes one gradient step per trajectory on the loss above.

    Args:
      policy: an `action_value_policy`, which also acted in its seats of the trajectory;
        the other seats' policies must record action values too.
      objective: coefficients of the loss.
      optimizer: of the policy's parameters.
      seats: those that the policy plays; None for all (self-play).
      target_rate: τ of a target network; see `descent.gradient_descent`.
      num_chunks: gradient accumulation over parts of the batch; likewise.

    Raises:
      InputError: for a trajectory without action values.
    """

    def loss(params: PyTree, batch: LoqaBatch) -> tuple[Array, Metrics]:
        evaluation = policy.read_again(
            params, batch.observation, batch.action, batch.last, batch.memory
        )
        if evaluation.action_value is None:
            raise InputError("policy is one without action values: they are needed")
        policy_loss = -jnp.mean(evaluation.log_prob * batch.advantage)
        other_log_prob = opponent_log_prob(
            evaluation.log_prob,
            batch,
            objective.gamma,
            objective.dice_lambda,
            objective.temperature,
        )
        opponent_loss = -jnp.mean(other_log_prob.sum(-1) * batch.advantage)
        action_value = _at(evaluation.action_value, batch.action)
        value_loss = jnp.mean(values.huber(action_value, batch.target))
        entropy = jnp.mean(evaluation.entropy)
        total = policy_loss + objective.weight * opponent_loss
        total = total - objective.entropy_bonus * entropy
        return total + value_loss, {
            "policy_loss": policy_loss,
            "opponent_loss": opponent_loss,
            "value_loss": value_loss,
            "entropy": entropy,
        }

    init, descend = gradient_descent(
        loss, policy, optimizer, target_rate=target_rate, num_chunks=num_chunks
    )

    def update(key, state, trajectory):
        del key
        return descend(state, prepare(objective.gamma, trajectory, seats))

    return Learner(init, update)


def prepare(
    gamma: Array | float, trajectory: Trajectory, seats: Sequence[int] | None
) -> LoqaBatch:
    """The batch of a trajectory: advantages, targets and the co-players' returns."""
    if trajectory.action_value is None:
        raise InputError(
            "trajectory has no action values: action_value_policy in every seat is "
            "needed"
        )
    num_agents = trajectory.action.shape[2]
    own = np.arange(num_agents) if seats is None else np.asarray(seats)
    others = (own[:, None] + np.arange(1, num_agents)) % num_agents  # [n, M]
    advantage, target = advantages.critic(gamma, 0.0)(trajectory)
    _, return_ = advantages.critic(gamma, 1.0)(trajectory)
    return LoqaBatch(
        observation=trajectory.observation[:, :, own],
        action=trajectory.action[:, :, own],
        advantage=advantage[:, :, own],
        target=target[:, :, own],
        other_action=trajectory.action[:, :, others],
        other_reward=trajectory.reward[:, :, others],
        other_return=return_[:, :, others],
        other_value=trajectory.value[:, :, others],
        other_next_value=trajectory.next_value[:, :, others],
        other_action_value=trajectory.action_value[:, :, others],
        discount=trajectory.discount,
        last=trajectory.last,
        memory=trajectory.memory,
    )


def opponent_log_prob(
    log_prob: Array,
    batch: LoqaBatch,
    gamma: Array | float,
    dice_lambda: Array | float,
    temperature: Array | float = 1.0,
) -> Array:
    """log π̃_j(b_j,t), f32[T, B, n, M], differentiable with respect to `log_prob`.

    Args:
      log_prob: f32[T, B, n], of the agents' own actions.
      batch: the co-players' actions, rewards and values.
      gamma: γ.
      dice_lambda: λ of the loaded-DiCE return.
      temperature: of the softmax.
    """

    def shaped_return(log_prob_t, return_t, value_t, last_t):
        return dice.loaded_dice_returns(
            log_prob_t, return_t, value_t, gamma, dice_lambda, last_t
        )

    over_others = jax.vmap(shaped_return, (None, 1, 1, None), 1)
    over_seats = jax.vmap(over_others, (1, 1, 1, None), 1)
    over_games = jax.vmap(over_seats, (1, 1, 1, 1), 1)
    return_ = over_games(log_prob, batch.other_return, batch.other_value, batch.last)
    following = jnp.concatenate([return_[1:], batch.other_next_value[-1:]])
    last = batch.last[..., None, None]
    following = jnp.where(last, batch.other_next_value, following)
    discount = gamma * batch.discount[..., None, None]
    taken = batch.other_reward + discount * following
    num_actions = batch.other_action_value.shape[-1]
    chosen = jax.nn.one_hot(batch.other_action, num_actions, dtype=bool)
    action_value = jnp.where(chosen, taken[..., None], batch.other_action_value)
    log_probs = jax.nn.log_softmax(action_value / temperature)
    return _at(log_probs, batch.other_action)


def _at(x: Array, action: Array) -> Array:
    return jnp.take_along_axis(x, action[..., None], axis=-1)[..., 0]
