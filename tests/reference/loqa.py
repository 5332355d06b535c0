"""LOQA's gradient in closed form, in loops over games, seats and pairs of steps."""

import numpy as np
from reference.dice import episode_of
from reference.returns import gae


def after(t, game, i):
    """Value of where step t led to, by the returns that count on with it."""
    if game["last"][t] or t + 1 == len(game["last"]):
        return game["next_value"][t, i]
    return game["return"][t + 1, i]


def judged(game, gamma, temperature, j):
    """log π̃_j(b_t), f[T]: a softmax of Q_j with the return in b_t's place."""
    result = np.zeros(len(game["last"]))
    for t, action in enumerate(game["action"][:, j]):
        logits = game["action_value"][t, j].copy()
        continuation = gamma * game["discount"][t]
        logits[action] = game["reward"][t, j] + continuation * after(t, game, j)
        logits = logits / temperature
        result[t] = logits[action] - np.log(np.exp(logits).sum())
    return result


def one_game(trajectory, b, gamma):
    """Fields of a game, its advantages A_i,t of one step, and its returns R_i,t."""
    game = {
        name: np.asarray(getattr(trajectory, name)[:, b], float)
        for name in ("reward", "discount", "value", "next_value", "action_value")
    }
    game["last"] = np.asarray(trajectory.last[:, b])
    game["action"] = np.asarray(trajectory.action[:, b])
    for name, lambda_ in (("advantage", 0.0), ("return", 1.0)):
        game[name] = np.zeros_like(game["value"])
        for i in range(game["value"].shape[1]):
            value, final_value = game["value"][:, i], game["next_value"][:, i]
            game[name][:, i] = gae(
                game["reward"][:, i],
                gamma * game["discount"],
                np.append(value, final_value[-1]),
                lambda_,
                game["last"],
                final_value,
            )
    game["return"] += game["value"]
    return game


def shaping(game, gamma, reach, temperature, i):
    """What multiplies ∇ log π_i(a_k) besides A_i,k, f[T]."""
    num_steps, num_agents = game["reward"].shape
    episode, result = episode_of(game["last"]), np.zeros(num_steps)
    for j in range(num_agents):
        if j == i:
            continue
        chance = np.exp(judged(game, gamma, temperature, j))
        for k in range(num_steps):
            for t in range(k):
                if episode[t] != episode[k]:
                    continue
                weight = gamma * (gamma * reach) ** (k - t - 1)
                weight *= (1 - chance[t]) / temperature
                surprise = game["return"][k, j] - game["value"][k, j]
                result[k] += weight * game["advantage"][t, i] * surprise
    return result
