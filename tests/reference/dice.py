"""Loaded DiCE by its definition, in loops: what the derivatives have to be."""

import numpy as np


def episode_of(last_t):
    """Number of the episode that each step belongs to."""
    return np.concatenate([[0], np.cumsum(last_t[:-1])])


def loaded_slopes(return_t, value_t, gamma, lambda_, last_t):
    """∂R̃_t / ∂ log π_k, f[T, T]."""
    episode, size = episode_of(last_t), len(return_t)
    slopes = np.zeros((size, size))
    for t in range(size):
        for k in range(t, size):
            if episode[k] == episode[t]:
                weight = (gamma * lambda_) ** (k - t)
                slopes[t, k] = weight * (return_t[k] - value_t[k])
    return slopes


def objective_slopes(advantage_t, gamma, last_t):
    """∂L / ∂ log π_t, f[T]: γ to the steps into the episode, times A_t."""
    episode = episode_of(last_t)
    steps = [t - np.argmax(episode == episode[t]) for t in range(len(advantage_t))]
    return gamma ** np.array(steps) * advantage_t


def objective_curvature(advantage_t, gamma, lambda_, last_t):
    """∂²L / ∂ log π_k ∂ log π_t, f[T, T]: A_t counts for t itself, and for every
    pair of t with an earlier k, by λ^(t−k)."""
    episode, slopes = episode_of(last_t), objective_slopes(advantage_t, gamma, last_t)
    curvature = np.diag(slopes)
    for t in range(len(advantage_t)):
        for k in range(t):
            if episode[k] == episode[t]:
                curvature[k, t] = curvature[t, k] = lambda_ ** (t - k) * slopes[t]
    return curvature
