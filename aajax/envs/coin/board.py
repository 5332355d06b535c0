"""The board of a coin game, drawn as text."""

import string

import numpy as np

from aajax.envs.coin.env import CoinGame, CoinState
from aajax.errors import InputError


def board(env: CoinGame, state: CoinState) -> str:
    """A state as text: agents A, B, ..., their coins a, b, ..., and "." for free cells.

    Raises:
      InputError: if there are more agents than letters.
    """
    if env.num_agents > len(string.ascii_uppercase):
        raise InputError(
            f"num_agents is {env.num_agents}: at most {len(string.ascii_uppercase)} "
            "can be drawn"
        )
    cells = [""] * env.num_cells
    for agent, cell in enumerate(np.asarray(state.position)):
        cells[cell] += string.ascii_uppercase[agent]
    owners, coins = np.asarray(state.owner), np.asarray(state.coin)
    for owner, cell in zip(owners, coins, strict=True):
        cells[cell] += string.ascii_lowercase[owner]
    size = env.num_agents + len(coins)  # the widest that a cell can get
    rows = np.reshape([(cell or ".").ljust(size) for cell in cells], (env.height, -1))
    return "\n".join(" ".join(row).rstrip() for row in rows)
