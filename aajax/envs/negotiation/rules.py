"""Rules that divide a pool given both agents' proposals.

A rule is `(stakes, proposal) -> f32[N]`, each agent's utility of its share.
"""

import functools

import jax.numpy as jnp

from aajax.envs.negotiation.utilities import MOST, Stakes
from aajax.types import Array


def divide_when_above(stakes: Stakes, proposal: Array) -> Array:
    """Σ_j pool_j u_ij p_ij / max(Σ_k p_kj, 5); items that nobody asks for are lost.

    Args:
      stakes: pool f32[3] and utility f32[N, 3].
      proposal: f32[N, 3].

    Returns:
      f32[N].
    """
    share = proposal / jnp.maximum(_total(proposal), float(MOST))[None]
    return _total((stakes.pool[None] * stakes.utility * share).T)


def proportion(stakes: Stakes, proposal: Array) -> Array:
    """Σ_j pool_j u_ij p_ij / (Σ_k p_kj + 10⁻⁸), of shapes as above."""
    share = proposal / (_total(proposal) + 1e-8)[None]
    return _total((stakes.pool[None] * stakes.utility * share).T)


def exact_split(stakes: Stakes, proposal: Array) -> Array:
    """Σ_j u_ij p_ij if Σ_k p_kj ≤ pool_j for every item j, else 0 for everyone."""
    fits = functools.reduce(jnp.logical_and, _total(proposal) <= stakes.pool)
    return jnp.where(fits, _total((stakes.utility * proposal).T), 0.0)


def exact_match(stakes: Stakes, proposal: Array) -> Array:
    """Σ_j u_ij p_ij if Σ_k p_kj = pool_j for every item j, else 0 for everyone."""
    agree = functools.reduce(jnp.logical_and, _total(proposal) == stakes.pool)
    return jnp.where(agree, _total((stakes.utility * proposal).T), 0.0)


RULES = {
    "divide_when_above": divide_when_above,
    "proportion": proportion,
    "exact_split": exact_split,
    "exact_match": exact_match,
}

# In which a proposal is a number of items, and not a share of 5.
COUNTED = ("exact_split", "exact_match")


def _total(x: Array) -> Array:
    """Σ over the first axis, written out.

    A CPU reduces a short axis of each game by itself, and takes twenty times as long
    as it does to add one slice of all games to another.
    """
    return functools.reduce(jnp.add, x)
