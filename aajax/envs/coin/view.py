"""The Coin Game in the terminal, for people."""

import string

import numpy as np

from aajax.envs.coin.board import board
from aajax.envs.coin.env import CoinGame, CoinState
from aajax.envs.view import View, named_actions_view, seat_colour


def view(env: CoinGame) -> View:
    """The board as text, with a letter for each seat and its coins."""
    letters = string.ascii_uppercase[: env.num_agents]

    def show(state: CoinState) -> str:
        return board(env, state)

    def show_to(seat: int, state: CoinState, observation: np.ndarray) -> str:
        letter = letters[seat]
        return f"{show(state)}\nyou are {letter}, your coins {letter.lower()}"

    words = named_actions_view(letters, env.action_names, show, show_to)
    styles = (
        (f"[{letter}{letter.lower()}]", f"bold {seat_colour(seat)}")
        for seat, letter in enumerate(letters)
    )
    return words._replace(styles=tuple(styles))
