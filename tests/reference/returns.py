"""Returns and advantages of one agent, each entry summed from its own start."""

import numpy as np


def discounted_returns(reward, discount, bootstrap_value=0.0):
    """G_t = Σ_{k≥t} (Π_{t≤j<k} discount_j) r_k, then the discounted bootstrap."""
    num_steps = len(reward)
    result = np.zeros(num_steps)
    for t in range(num_steps):
        weight = 1.0
        for k in range(t, num_steps):
            result[t] += weight * reward[k]
            weight *= discount[k]
        result[t] += weight * bootstrap_value
    return result


def gae(reward, discount, value, lambda_, last=None, final_value=None):
    """A_t = Σ_{k≥t} (Π_{t≤j<k} λ discount_j) δ_k, up to the end of the episode."""
    num_steps = len(reward)
    result = np.zeros(num_steps)
    for t in range(num_steps):
        weight = 1.0
        for k in range(t, num_steps):
            ends = last is not None and last[k]
            next_value = value[k + 1]
            if ends and final_value is not None:
                next_value = final_value[k]
            result[t] += weight * (reward[k] + discount[k] * next_value - value[k])
            if ends:
                break
            weight *= discount[k] * lambda_
    return result


def lambda_returns(reward, discount, value, lambda_, last=None, final_value=None):
    """(1 − λ) Σ_{n<H} λ^(n−1) G^(n)_t + λ^(H−1) G^(H)_t.

    G^(n)_t is the return of n steps and then the value; H counts the steps from t to
    the end of the episode.
    """
    num_steps = len(reward)
    result = np.zeros(num_steps)
    for t in range(num_steps):
        horizon = 1
        while t + horizon < num_steps and not (
            last is not None and last[t + horizon - 1]
        ):
            horizon += 1
        for n in range(1, horizon + 1):
            n_step_return, weight = 0.0, 1.0
            for k in range(t, t + n):
                n_step_return += weight * reward[k]
                weight *= discount[k]
            end = t + n - 1
            if last is not None and last[end] and final_value is not None:
                n_step_return += weight * final_value[end]
            else:
                n_step_return += weight * value[end + 1]
            share = 1.0 if n == horizon else 1.0 - lambda_
            result[t] += share * lambda_ ** (n - 1) * n_step_return
    return result
