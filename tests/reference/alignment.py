"""Weights of the past and the alignment credit, straight from the formulas."""

import numpy as np


def episode_start(t, last=None):
    """The first step of the episode that step t belongs to."""
    start = t
    while start > 0 and not (last is not None and last[start - 1]):
        start -= 1
    return start


def discounted_past(a, gamma, last=None):
    """γ Σ_{k<t} γ^(t−k) a_k."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        for k in range(episode_start(t, last), t):
            result[t] += gamma * gamma ** (t - k) * a[k]
    return result


def strict_past(a, gamma, last=None):
    """Σ_{k<t} γ^(t−k) a_k."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        for k in range(episode_start(t, last), t):
            result[t] += gamma ** (t - k) * a[k]
    return result


def inclusive_past(a, gamma, last=None):
    """Σ_{k≤t} γ^(t−k) a_k."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        for k in range(episode_start(t, last), t + 1):
            result[t] += gamma ** (t - k) * a[k]
    return result


def fading_past(a, gamma, last=None):
    """Σ_{k<t} γ^(t−k) a_k + γ^t a_t, t counted from the start of the episode."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        start = episode_start(t, last)
        for k in range(start, t):
            result[t] += gamma ** (t - k) * a[k]
        result[t] += gamma ** (t - start) * a[t]
    return result


def summed_past(a, gamma, last=None):
    """Σ_{k<t} a_k."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        for k in range(episode_start(t, last), t):
            result[t] += a[k]
    return result


def mean_past(a, gamma, last=None):
    """(1/t) Σ_{k<t} a_k, and 0 at t = 0, t counted from the start of the episode."""
    result = np.zeros(np.shape(a))
    for t in range(len(a)):
        start = episode_start(t, last)
        for k in range(start, t):
            result[t] += a[k] / (t - start)
    return result


def alignment_credit(advantage, gamma, beta, past=discounted_past, last=None):
    """c_i,t = A_i,t + β · past(A_i)_t · Σ_{j≠i} A_j,t."""
    num_steps, num_agents = np.shape(advantage)
    credit = np.zeros((num_steps, num_agents))
    for i in range(num_agents):
        weight = past(advantage[:, i], gamma, last)
        for t in range(num_steps):
            credit[t, i] = advantage[t, i]
            for j in range(num_agents):
                if j != i:
                    credit[t, i] += beta * weight[t] * advantage[t, j]
    return credit


def pairwise_credit(advantage, by, gamma, beta, past=discounted_past, last=None):
    """c_i,t = A_i,t + β Σ_{j≠i} past(A_i^j)_t · A_j,t."""
    num_steps, num_agents = np.shape(advantage)
    credit = np.array(advantage, float)
    for i in range(num_agents):
        for j in range(num_agents):
            if j != i:
                weight = past(by[:, i, j], gamma, last)
                for t in range(num_steps):
                    credit[t, i] += beta * weight[t] * advantage[t, j]
    return credit
