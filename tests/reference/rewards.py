"""Social transforms of rewards, agent by agent."""

import numpy as np


def total(reward):
    """Σ_j r_j for everyone."""
    result = np.zeros(np.shape(reward))
    for index in np.ndindex(*np.shape(reward)[:-1]):
        for i in range(np.shape(reward)[-1]):
            for j in range(np.shape(reward)[-1]):
                result[(*index, i)] += reward[(*index, j)]
    return result


def mixed(reward, weights):
    """Σ_j w_ij r_j."""
    result = np.zeros(np.shape(reward))
    for index in np.ndindex(*np.shape(reward)[:-1]):
        for i in range(np.shape(reward)[-1]):
            for j in range(np.shape(reward)[-1]):
                result[(*index, i)] += weights[i, j] * reward[(*index, j)]
    return result
