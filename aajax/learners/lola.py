"""LOLA, learning with opponent-learning awareness: exact, and sampled (LOLA-DiCE).

Each of two agents ascends not its value V_i(θ_i, θ_j) but its value after a gradient
step of the co-player,

    V_i(θ_i, θ_j + Δ_j(θ_i)),   Δ_j = α ∇_{θ_j} V_j(θ_i, θ_j),

and differentiates through the co-player's step. See "Learning with
Opponent-Learning Awareness" (https://arxiv.org/abs/1709.04326) and "DiCE"
(https://arxiv.org/abs/1802.05098).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from aajax.errors import InputError
from aajax.learners.advantages import group_relative
from aajax.learners.base import LearnerState, Metrics
from aajax.nets.tabular import tabular
from aajax.ops import dice, memory_one
from aajax.policies.base import Policy
from aajax.types import Array, PRNGKey, PyTree, Trajectory

Pair = tuple[PyTree, PyTree]  # parameters of both players
Play = Callable[[PRNGKey, Pair], Trajectory]
# (key, pair) -> f[2] to be climbed, f[2] rewards per step; differentiable throughout
Objectives = Callable[[PRNGKey, Pair], tuple[Array, Array]]


class JointLearner(NamedTuple):
    """A learning algorithm that updates all agents at once and plays the games itself.

    Attributes:
      init: `key -> states`, one LearnerState per agent.
      update: `(key, states) -> (states, metrics)`, metrics being scalars by name.
    """

    init: Callable[[PRNGKey], tuple[LearnerState, ...]]
    update: Callable[
        [PRNGKey, tuple[LearnerState, ...]], tuple[tuple[LearnerState, ...], Metrics]
    ]


def lola_exact(
    payoff: Array,
    gamma: Array | float,
    optimizer: optax.GradientTransformation,
    *,
    lookahead_rate: Array | float,
    num_lookahead: int = 1,
    initial_scale: float = 0.1,
) -> JointLearner:
    """LOLA with exact values, for memory-one players of a two-player matrix game.

    Parameters are those of `nets.tabular`; the critic's are not trained. The metric
    `reward` is (1 − γ) V, the discounted mean reward of the infinite game.

    Args:
      payoff: f32[2, A, A].
      gamma: γ in [0, 1); for a game that terminates at random, γ times the continuation
        probability.
      optimizer: of each player's parameters, with a state each.
      lookahead_rate: α, step size of the co-player's simulated gradient steps on V (not
        on the mean reward); 0 for naive learning.
      num_lookahead: number of simulated steps.
      initial_scale: standard deviation of the initial logits.

    Raises:
      InputError: if the payoff is not f[2, A, A], or num_lookahead is negative.
    """
    payoff = jnp.asarray(payoff)
    if payoff.ndim != 3 or payoff.shape[0] != 2 or payoff.shape[1] != payoff.shape[2]:
        raise InputError(
            f"payoff has shape {payoff.shape}: [2, A, A] is needed, two players with "
            "equally many actions"
        )
    num_actions = payoff.shape[1]
    network = tabular(1 + num_actions**2, num_actions, initial_scale=initial_scale)

    def objectives(key: PRNGKey, pair: Pair) -> tuple[Array, Array]:
        del key
        value = start_values(payoff, (pair[0]["actor"], pair[1]["actor"]), gamma)
        return value, (1 - gamma) * value

    return _joint_learner(
        (network.init, network.init),
        objectives,
        optimizer,
        lookahead_rate,
        num_lookahead,
    )


def lola_dice(
    policies: Sequence[Policy],
    play: Play,
    optimizer: optax.GradientTransformation,
    *,
    gamma: Array | float,
    lookahead_rate: Array | float,
    num_lookahead: int = 1,
    lambda_: Array | float = 1.0,
) -> JointLearner:
    """LOLA-DiCE: LOLA from sampled games, for policies of any kind.

    In every update each agent samples one batch of games per simulated gradient step of
    its co-player, and a last batch with the updated co-player. Values are replaced by
    loaded-DiCE objectives with a leave-one-out baseline: the mean return of the batch's
    other games at each time step. The metric `reward` is that of the first batches,
    which the current policies play.

    Args:
      policies: the two players'.
      play: `(key, (params_0, params_1)) -> trajectory`, from the start of an episode,
        with memory (memory_0, memory_1) as `policies.seated` makes it.
      optimizer: of each player's parameters, with a state each.
      gamma: γ in [0, 1].
      lookahead_rate: α, step size of the co-player's simulated gradient steps on its
        discounted return; 0 for naive learning.
      num_lookahead: number of simulated steps.
      lambda_: λ of `ops.dice.dice_objective`; 1 is unbiased.

    Raises:
      InputError: if there are not two policies, or num_lookahead is negative.
    """
    if len(policies) != 2:
        raise InputError(f"policies has {len(policies)} entries: 2 are needed")
    estimate = group_relative(gamma)

    def objectives(key: PRNGKey, pair: Pair) -> tuple[Array, Array]:
        trajectory = play(key, jax.lax.stop_gradient(pair))
        log_prob = joint_log_prob(policies, pair, trajectory)
        advantage, _ = estimate(trajectory)

        def of_game(log_prob_t, advantage_t, last_t):
            return dice.dice_objective(log_prob_t, advantage_t, gamma, lambda_, last_t)

        of_batch = jax.vmap(of_game, in_axes=(1, 1, 1))
        of_agents = jax.vmap(of_batch, in_axes=(None, 2, None))
        value = jnp.mean(of_agents(log_prob, advantage, trajectory.last), axis=1)
        return value, jnp.mean(trajectory.reward, axis=(0, 1))

    inits = (policies[0].init, policies[1].init)
    return _joint_learner(inits, objectives, optimizer, lookahead_rate, num_lookahead)


def start_values(
    payoff: Array, logits: tuple[Array, Array], gamma: Array | float
) -> Array:
    """Both players' values at the start of the infinite game, f[2].

    Args:
      payoff: f[2, A, A].
      logits: f[S, A] of each, S = 1 + A²: after START and after each joint action,
        numbered with the player's own action first.
      gamma: γ in [0, 1).
    """
    num_actions = payoff.shape[1]
    # The second player's rows in the order of (a_1, a_2) instead of (a_2, a_1).
    rows = jnp.arange(1, 1 + num_actions**2).reshape(num_actions, num_actions).T
    rows = jnp.append(0, rows.reshape(-1))
    policies = jax.nn.softmax(jnp.stack([logits[0], logits[1][rows]]))
    return memory_one.memory_one_values(payoff, policies, gamma)[0]


def joint_log_prob(
    policies: Sequence[Policy], pair: Pair, trajectory: Trajectory
) -> Array:
    """log π_1(a_1,t) + log π_2(a_2,t), f32[T, B], differentiable by both parameters."""
    parts = [
        policies[seat]
        .read_again(
            pair[seat],
            trajectory.observation[:, :, seat : seat + 1],
            trajectory.action[:, :, seat : seat + 1],
            trajectory.last,
            trajectory.memory[seat],
        )
        .log_prob
        for seat in range(2)
    ]
    return jnp.squeeze(parts[0] + parts[1], axis=2)


def _joint_learner(
    inits: Sequence[Callable[[PRNGKey], PyTree]],
    objectives: Objectives,
    optimizer: optax.GradientTransformation,
    lookahead_rate: Array | float,
    num_lookahead: int,
) -> JointLearner:
    if num_lookahead < 0:
        raise InputError(f"num_lookahead is {num_lookahead}: at least 0 is needed")

    def after_learning(own: PyTree, agent: int, pair: Pair, key: PRNGKey):
        """The agent's objective after the co-player's simulated steps, and rewards."""
        other, rewards = pair[1 - agent], []
        keys = jax.random.split(key, num_lookahead + 1)

        def of(whose: int, other: PyTree, key: PRNGKey) -> tuple[Array, Array]:
            seats = (own, other) if agent == 0 else (other, own)
            objective, reward = objectives(key, seats)
            return objective[whose], reward

        for step in range(num_lookahead):
            slope, reward = jax.grad(of, argnums=1, has_aux=True)(
                1 - agent, other, keys[step]
            )
            rewards.append(reward)
            other = jax.tree.map(lambda x, dx: x + lookahead_rate * dx, other, slope)
        objective, reward = of(agent, other, keys[-1])
        return objective, (*rewards, reward)[0]

    def climb(state: LearnerState, agent: int, pair: Pair, key: PRNGKey):
        gradient, reward = jax.grad(after_learning, has_aux=True)(
            state.params, agent, pair, key
        )
        # Optimisers descend.
        descent = jax.tree.map(jnp.negative, gradient)
        updates, opt_state = optimizer.update(descent, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(gradient)
        return LearnerState(params, opt_state), reward, norm

    def init(key: PRNGKey) -> tuple[LearnerState, ...]:
        keys = jax.random.split(key, 2)
        params = [draw(k) for draw, k in zip(inits, keys, strict=True)]
        return tuple(LearnerState(p, optimizer.init(p)) for p in params)

    def update(key: PRNGKey, states: tuple[LearnerState, ...]):
        pair = (states[0].params, states[1].params)
        keys = jax.random.split(key, 2)
        learned, rewards, norms = zip(
            *(climb(states[i], i, pair, keys[i]) for i in range(2)), strict=True
        )
        reward = (rewards[0] + rewards[1]) / 2
        metrics = {"reward": jnp.mean(reward)}
        for i in range(2):
            metrics[f"learner_{i}/reward"] = reward[i]
            metrics[f"learner_{i}/gradient_norm"] = norms[i]
        return learned, metrics

    return JointLearner(init, update)
