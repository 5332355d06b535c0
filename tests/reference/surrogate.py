"""Policy losses, one number at a time."""

import math

import numpy as np


def _per_entry(function, *arrays):
    """`function` of the numbers at every index."""
    result = np.zeros(np.shape(arrays[0]))
    for index in np.ndindex(*result.shape):
        result[index] = function(*(float(array[index]) for array in arrays))
    return result


def reinforce(log_prob, behaviour_log_prob, credit):
    """−c log π(a)."""
    return _per_entry(
        lambda new, old, c: -c * new, log_prob, behaviour_log_prob, credit
    )


def clipped(log_prob, behaviour_log_prob, credit, clip):
    """−min(ρ c, clip(ρ, 1 − ε, 1 + ε) c)."""

    def loss(new, old, c):
        ratio = math.exp(new) / math.exp(old)
        bounded = min(max(ratio, 1 - clip), 1 + clip)
        return -min(ratio * c, bounded * c)

    return _per_entry(loss, log_prob, behaviour_log_prob, credit)


def clipped_slope(log_prob, behaviour_log_prob, credit, clip):
    """d/d log π of `clipped`: −ρ c, or 0 where the bound is what counts."""

    def slope(new, old, c):
        ratio = math.exp(new) / math.exp(old)
        if c > 0 and ratio > 1 + clip:
            return 0.0
        if c < 0 and ratio < 1 - clip:
            return 0.0
        return -ratio * c

    return _per_entry(slope, log_prob, behaviour_log_prob, credit)


def truncated_importance(log_prob, behaviour_log_prob, credit, cap):
    """−min(ρ, cap) c log π(a)."""

    def loss(new, old, c):
        return -min(math.exp(new) / math.exp(old), cap) * c * new

    return _per_entry(loss, log_prob, behaviour_log_prob, credit)


def truncated_importance_slope(log_prob, behaviour_log_prob, credit, cap):
    """−min(ρ, cap) c: the ratio weighs the gradient and has none itself."""

    def slope(new, old, c):
        return -min(math.exp(new) / math.exp(old), cap) * c

    return _per_entry(slope, log_prob, behaviour_log_prob, credit)


def kl_k3(log_prob, reference_log_prob):
    """π_ref / π − 1 − log(π_ref / π)."""

    def estimate(new, reference):
        ratio = math.exp(reference) / math.exp(new)
        return ratio - 1 - math.log(ratio)

    return _per_entry(estimate, log_prob, reference_log_prob)
