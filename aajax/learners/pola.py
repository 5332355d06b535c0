"""POLA, proximal learning with opponent-learning awareness: exact, and sampled.

LOLA depends on how policies are parametrised. POLA takes its steps in the space of
policies: each agent maximises its value after the co-player's steps, less a divergence
from its policy before the update,

    θ_i' = argmax_θ V_i(θ, ψ_K(θ)) − b_out D(π_{θ_i} ‖ π_θ),
    ψ_{k+1} = ψ_k + α ∇_ψ [V_j(θ, ψ_k) − b_in D(π_{θ_j} ‖ π_ψ)],   ψ_0 = θ_j,

with many steps of an optimizer in place of the argmax (`learners.lookahead`). D is the
mean over states of KL(before ‖ now). See "Proximal Learning With Opponent-Learning
Awareness" (https://arxiv.org/abs/2210.10125).

Differs from the published code: a leave-one-out baseline in place of a critic.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.learners.lola import (
    both_inits,
    exact_outcome,
    memory_one_network,
    sampled_outcomes,
)
from aajax.learners.lookahead import (
    JointLearner,
    Lookahead,
    Outcome,
    Outer,
    Pair,
    Play,
    joint_learner,
)
from aajax.ops import categorical
from aajax.policies.base import Evaluation, Policy
from aajax.types import Array, PRNGKey


def pola_exact(
    payoff: Array,
    gamma: Array | float,
    lookahead: Lookahead,
    outer: Outer,
    *,
    initial_scale: float = 0.1,
) -> JointLearner:
    """POLA with exact values, for memory-one players of a two-player matrix game.

    The divergence is the mean over START and all joint actions, however often they
    occur. Parameters, metrics and the payoff are those of `lola_exact`.

    Args:
      payoff: f32[2, A, A].
      gamma: γ in [0, 1).
      lookahead: the co-player's imagined steps, on V.
      outer: the agent's own steps.
      initial_scale: standard deviation of the initial logits.

    Raises:
      InputError: if the payoff is not f[2, A, A], or a number of steps out of range.
    """
    payoff = jnp.asarray(payoff)
    network = memory_one_network(payoff, initial_scale)

    def outcomes(key: PRNGKey, pair: Pair, reference: Pair) -> Outcome:
        del key
        before, now = (
            jax.nn.log_softmax(jnp.stack([params["actor"] for params in both]))
            for both in (reference, pair)
        )
        divergence = jnp.mean(categorical.divergence(before, now), axis=1)
        return exact_outcome(payoff, gamma, pair, divergence)

    inits = (network.init, network.init)
    return joint_learner(inits, outcomes, lookahead, outer)


def pola_dice(
    policies: Sequence[Policy],
    play: Play,
    lookahead: Lookahead,
    outer: Outer,
    *,
    gamma: Array | float,
    lambda_: Array | float = 1.0,
) -> JointLearner:
    """POLA-DiCE: POLA from sampled games, for policies of numbered actions.

    Every step, imagined or not, plays a batch of games; see `lola_dice` for their
    objectives. The divergence is exact over actions, and its mean over the steps of the
    games just played, which are not differentiated; with memory, both policies read the
    same history.

    Args:
      policies: the two players'.
      play: as for `lola_dice`.
      lookahead: the co-player's imagined steps, on its discounted return.
      outer: the agent's own steps.
      gamma: γ in [0, 1].
      lambda_: λ of `ops.dice.dice_objective`; 1 is unbiased.

    Raises:
      InputError: if there are not two policies of numbered actions, or a number of
        steps is out of range.
    """
    outcomes = sampled_outcomes(policies, play, gamma, lambda_, visited_divergence)
    return joint_learner(both_inits(policies), outcomes, lookahead, outer)


def visited_divergence(
    now: Sequence[Evaluation], before: Callable[[], Sequence[Evaluation]]
) -> Array:
    """KL(before ‖ now) of either player, f[2], mean over the steps that were played."""

    def of_player(now: Evaluation, before: Evaluation) -> Array:
        if now.log_probs is None or before.log_probs is None:
            raise InputError(
                "policies has one of real numbers: actions that are numbered are needed"
            )
        return jnp.mean(categorical.divergence(before.log_probs, now.log_probs))

    return jnp.stack([of_player(*both) for both in zip(now, before(), strict=True)])
