"""Categorical distributions, by sums over the actions."""

import math

import numpy as np


def probabilities(logits):
    """exp(l_a) / Σ_b exp(l_b), over the last axis."""
    result = np.zeros(np.shape(logits))
    for index in np.ndindex(*np.shape(logits)[:-1]):
        # The greatest logit is taken off first: the quotient does not change.
        greatest = max(logits[index])
        weights = [math.exp(logit - greatest) for logit in logits[index]]
        result[index] = [weight / sum(weights) for weight in weights]
    return result


def log_prob(logits, action):
    """log π(action), −∞ for an action that is never taken."""
    chance = probabilities(logits)
    result = np.zeros(np.shape(action))
    for index in np.ndindex(*result.shape):
        chosen = chance[index][action[index]]
        result[index] = math.log(chosen) if chosen > 0 else -math.inf
    return result


def entropy(logits):
    """−Σ_a π(a) log π(a) over the actions that are taken at all."""
    chance = probabilities(logits)
    result = np.zeros(np.shape(logits)[:-1])
    for index in np.ndindex(*result.shape):
        for p in chance[index]:
            if p > 0:
                result[index] -= p * math.log(p)
    return result


def mixture(logits, epsilon):
    """Probabilities (1 − ε) π(a) + ε / A."""
    return (1 - epsilon) * probabilities(logits) + epsilon / np.shape(logits)[-1]
