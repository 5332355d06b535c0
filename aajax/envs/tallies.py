"""Measures that several text games share.

M matches, T rounds, N seats, I items. A `Tally` is a ratio of sums.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aajax.envs.text import Tally, TextGame


def of_proposals(asked: np.ndarray, values: np.ndarray) -> dict[str, Tally]:
    """Mean proposals [M, T, 2, I] where own value is the higher, and the lower one."""
    if values.shape[2] != 2:
        raise ValueError(f"values has {values.shape[2]} seats: 2 are needed")
    higher, lower = values > values[..., ::-1, :], values < values[..., ::-1, :]
    return {
        f"proposal_where_{name}": Tally(
            (asked * where).sum((1, 3), dtype=float), where.sum((1, 3), dtype=float)
        )
        for name, where in (("higher", higher), ("lower", lower))
    }


def efficiency(reward: np.ndarray, best: np.ndarray) -> dict[str, Tally]:
    """Sum of rewards [M, T, N], over the best possible sums [M, T]."""
    share = reward.sum(-1) / best
    return {
        "split_efficiency": over_rounds(
            np.repeat(share[..., None], reward.shape[-1], -1)
        )
    }


def actions_of(game: TextGame, matches: Sequence[Any]) -> np.ndarray:
    """Actions of all matches, i64[M, T, R, N, ...], with R steps per round."""
    actions = np.array([match.actions for match in matches])
    lead = len(matches), game.num_rounds, len(game.steps)
    return actions.reshape(*lead, *actions.shape[2:])


def facts_of(matches: Sequence[Any], name: str) -> np.ndarray:
    """The fact `name` (see `TextGame.facts`) of all matches, f64[M, T, N, ...]."""
    return np.array([[facts[name] for facts in x.facts] for x in matches], float)


def over_rounds(x: np.ndarray) -> Tally:
    """The mean over rounds of [M, T, N]."""
    return share_of(x, np.ones(x.shape, bool))


def share_of(x: np.ndarray, where: np.ndarray) -> Tally:
    """The mean of x, [M, T, N], over the rounds where `where`, bool[M, T, N]."""
    return Tally((x * where).sum(1, dtype=float), where.sum(1, dtype=float))
