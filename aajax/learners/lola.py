"""LOLA, learning with opponent-learning awareness: exact, and sampled (LOLA-DiCE).

Each of two agents ascends not its value V_i(θ_i, θ_j) but its value after a gradient
step of the co-player,

    V_i(θ_i, θ_j + Δ_j(θ_i)),   Δ_j = α ∇_{θ_j} V_j(θ_i, θ_j),

and differentiates through the co-player's step. See "Learning with
Opponent-Learning Awareness" (https://arxiv.org/abs/1709.04326) and "DiCE"
(https://arxiv.org/abs/1802.05098).
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from aajax.errors import InputError
from aajax.learners.advantages import group_relative
from aajax.learners.lookahead import (
    JointLearner,
    Lookahead,
    Outcome,
    Outcomes,
    Outer,
    Pair,
    Play,
    joint_learner,
)
from aajax.nets.tabular import tabular
from aajax.ops import dice, memory_one
from aajax.policies.base import Evaluation, Network, Policy
from aajax.types import Array, PRNGKey, PyTree, Trajectory

# (what both did under their present parameters, likewise under the reference's) -> f[2]
Divergence = Callable[[Sequence[Evaluation], Callable[[], Sequence[Evaluation]]], Array]


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
    network = memory_one_network(payoff, initial_scale)

    def outcomes(key: PRNGKey, pair: Pair, reference: Pair) -> Outcome:
        del key, reference
        return exact_outcome(payoff, gamma, pair, jnp.zeros(2))

    return joint_learner(
        (network.init, network.init),
        outcomes,
        Lookahead(lookahead_rate, num_lookahead),
        Outer(optimizer),
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
    return joint_learner(
        both_inits(policies),
        sampled_outcomes(policies, play, gamma, lambda_),
        Lookahead(lookahead_rate, num_lookahead),
        Outer(optimizer),
    )


def memory_one_network(payoff: Array, initial_scale: float) -> Network:
    """A table of logits for each state of a two-player matrix game.

    Raises:
      InputError: if the payoff is not f[2, A, A].
    """
    if payoff.ndim != 3 or payoff.shape[0] != 2 or payoff.shape[1] != payoff.shape[2]:
        raise InputError(
            f"payoff has shape {payoff.shape}: [2, A, A] is needed, two players with "
            "equally many actions"
        )
    num_actions = payoff.shape[1]
    return tabular(1 + num_actions**2, num_actions, initial_scale=initial_scale)


def exact_outcome(
    payoff: Array, gamma: Array | float, pair: Pair, divergence: Array
) -> Outcome:
    """Exact values of memory-one players, and (1 − γ) V as their rewards."""
    value = start_values(payoff, (pair[0]["actor"], pair[1]["actor"]), gamma)
    return Outcome(value, divergence.astype(value.dtype), (1 - gamma) * value)


def both_inits(
    policies: Sequence[Policy],
) -> tuple[Callable[[PRNGKey], PyTree], ...]:
    """How either player's parameters are drawn.

    Raises:
      InputError: if there are not two policies.
    """
    if len(policies) != 2:
        raise InputError(f"policies has {len(policies)} entries: 2 are needed")
    return policies[0].init, policies[1].init


def undivided(
    now: Sequence[Evaluation], before: Callable[[], Sequence[Evaluation]]
) -> Array:
    """A `Divergence` of 0: nothing holds the players to where they were."""
    del now, before
    return jnp.zeros(2)


def sampled_outcomes(
    policies: Sequence[Policy],
    play: Play,
    gamma: Array | float,
    lambda_: Array | float,
    divergence: Divergence = undivided,
) -> Outcomes:
    """Loaded-DiCE objectives of games that are played, with a leave-one-out baseline.

    Args:
      policies: the two players'.
      play: as for `lola_dice`.
      gamma: γ in [0, 1].
      lambda_: λ of `ops.dice.dice_objective`.
      divergence: from the reference, of the games just played, how they came about not
        being differentiated.
    """
    estimate = group_relative(gamma)

    def outcomes(key: PRNGKey, pair: Pair, reference: Pair) -> Outcome:
        trajectory = play(key, jax.lax.stop_gradient(pair))
        now = evaluations(policies, pair, trajectory)
        log_prob = jnp.squeeze(now[0].log_prob + now[1].log_prob, axis=2)
        advantage, _ = estimate(trajectory)

        def of_game(log_prob_t, advantage_t, last_t):
            return dice.dice_objective(log_prob_t, advantage_t, gamma, lambda_, last_t)

        of_batch = jax.vmap(of_game, in_axes=(1, 1, 1))
        of_agents = jax.vmap(of_batch, in_axes=(None, 2, None))
        value = jnp.mean(of_agents(log_prob, advantage, trajectory.last), axis=1)
        apart = divergence(now, lambda: evaluations(policies, reference, trajectory))
        return Outcome(value, apart, jnp.mean(trajectory.reward, axis=(0, 1)))

    return outcomes


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


def evaluations(
    policies: Sequence[Policy], pair: Pair, trajectory: Trajectory
) -> list[Evaluation]:
    """Each player's own evaluation of its seat, [T, B, 1], differentiable by `pair`."""
    return [
        policies[seat].read_again(
            pair[seat],
            trajectory.observation[:, :, seat : seat + 1],
            trajectory.action[:, :, seat : seat + 1],
            trajectory.last,
            trajectory.memory[seat],
        )
        for seat in range(2)
    ]
