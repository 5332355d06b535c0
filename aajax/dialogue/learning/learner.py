"""The policy-gradient loss of text games: REINFORCE on sampled tokens, by credit.

    L = Σ_tokens [ −ρ c log π(v) + κ ρ D − η H(π) ] / number of tokens

with ρ = min(π(v) / μ(v), cap) the truncated importance ratio (without gradient), μ the
distribution that the token was sampled from, c the credit of its round, H the entropy,
and D an estimate of the KL divergence from the base model without adapters,
`ops.surrogate.kl_k3` as published.
π is restricted to the tokens that the grammar allowed, as it was in sampling.

Source: https://arxiv.org/abs/2511.19405.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.dialogue.learning.batch import SpeechBatch
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters, forward, forward_after
from aajax.lm.sampling.grammar import Grammar, allowed_tokens
from aajax.lm.training import scoring
from aajax.lm.training.fit import Loss, Sums
from aajax.ops.surrogate import kl_k3, truncated_importance
from aajax.types import Array, PyTree

_FAR = 40.0  # nats, beyond which the reference is cut


@dataclasses.dataclass(frozen=True)
class SpeechLoss:
    """Weights of the loss's terms.

    Attributes:
      ratio_cap: upper bound of the importance ratio ρ.
      kl: κ, weight of the KL penalty; 0 for none.
      entropy: η, weight of the entropy bonus.
      temperature: of sampling.
      divergence: `(log_prob, reference_log_prob) -> f32`, `ops.surrogate.kl_k3` or
        `kl_k3_reverse`: equal in value, but the gradient of one is that of
        KL(π_ref ‖ π), and of the other that of KL(π ‖ π_ref).
    """

    ratio_cap: float = 2.0
    kl: float = 0.0
    entropy: float = 0.0
    temperature: float = 1.0
    divergence: Callable[[Array, Array], Array] = kl_k3


class Restriction(NamedTuple):
    """Which tokens may be sampled.

    Attributes:
      grammar: that answers are sampled under.
      stop: bool[V], tokens that end an answer.
    """

    grammar: Grammar
    stop: Array

    def allowed(self, place: tuple[Array, Array]) -> Array:
        """bool[S, c, V] at places with a grammar state and a budget, i32[S, c] each."""
        state, remaining = place
        return allowed_tokens(self.grammar, state, self.stop, remaining)


def speech_loss(weights: SpeechLoss, grammar: Grammar, stop: Array) -> Loss:
    """The loss of a `SpeechBatch`, for `lm.fit.make_step`.

    Args:
      weights: of its terms.
      grammar: that the tokens were sampled under.
      stop: bool[V], tokens that end an answer.

    Returns:
      A loss whose weight is the number of sampled tokens, with means over them as
      metrics: log_prob, entropy, ratio, clipped (share of ratios above the cap), kl,
      policy_loss.
    """
    surrogate = truncated_importance(weights.ratio_cap)
    restriction = Restriction(grammar, stop)

    def loss(config, params, batch, adapters, *, dtype, remat):
        scores = score_speech(
            config, params, batch, adapters, restriction,
            temperature=weights.temperature, dtype=dtype, remat=remat,
        )  # fmt: skip
        real = batch.targets >= 0
        log_prob = scores.log_prob
        ratio = jax.lax.stop_gradient(jnp.exp(log_prob - batch.log_prob))
        policy = surrogate(log_prob, batch.log_prob, batch.credit)
        entropy_weight = weights.entropy * batch.entropy_scale[:, None]
        total = policy - entropy_weight * scores.entropy
        divergence = jnp.zeros_like(policy)
        if weights.kl:
            base = score_speech(
                config, jax.lax.stop_gradient(params), batch, None, restriction,
                temperature=weights.temperature, dtype=dtype, remat=remat,
            )  # fmt: skip
            held = jax.lax.stop_gradient(log_prob)
            reference = jnp.clip(base.log_prob, held - _FAR, held + _FAR)
            divergence = weights.divergence(log_prob, reference)
            capped = jnp.minimum(ratio, weights.ratio_cap)
            kl_weight = weights.kl * batch.kl_scale[:, None]
            total = total + kl_weight * capped * divergence

        def summed(x: Array) -> Array:
            return jnp.sum(jnp.where(real, x, 0.0))

        return Sums(
            total=summed(total),
            weight=summed(jnp.ones_like(total)),
            metrics={
                name: jax.lax.stop_gradient(summed(x))
                for name, x in {
                    "log_prob": log_prob,
                    "entropy": scores.entropy,
                    "ratio": ratio,
                    "clipped": (ratio > weights.ratio_cap).astype(jnp.float32),
                    "kl": divergence,
                    "policy_loss": policy,
                }.items()
            },
        )

    return loss


def score_speech(
    config: DecoderConfig,
    params: PyTree,
    batch: SpeechBatch,
    adapters: Adapters | None,
    restriction: Restriction,
    *,
    temperature: float = 1.0,
    dtype: jnp.dtype = jnp.float32,
    remat: bool = False,
) -> scoring.Scores:
    """Log-probability and entropy of every sampled token, f32[S, K]."""
    hidden = read_batch(config, params, batch, adapters, dtype=dtype, remat=remat)
    hidden = jnp.take_along_axis(hidden, batch.places[:, :, None], axis=1)

    return scoring.score(
        config, params, hidden, batch.targets, temperature=temperature,
        allowed=restriction.allowed, state=(batch.state, batch.remaining),
    )  # fmt: skip


def read_batch(
    config: DecoderConfig,
    params: PyTree,
    batch: SpeechBatch,
    adapters: Adapters | None,
    *,
    dtype: jnp.dtype,
    remat: bool,
) -> Array:
    """Last hidden states of a batch, [S, L, D].

    Raises:
      InputError: if a batch with an opening is read with more than one adapter.
    """
    if batch.opening.shape[1] > 0:
        return forward_after(
            config, params, batch.opening[0], batch.tokens, batch.positions, adapters,
            dtype=dtype, remat=remat,
        )  # fmt: skip
    adapter_id = None if adapters is None else batch.adapter_id
    return forward(
        config, params, batch.tokens, batch.positions, None, adapters, adapter_id,
        dtype=dtype, remat=remat,
    )[0]  # fmt: skip
