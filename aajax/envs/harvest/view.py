"""Commons Harvest in the terminal, for people."""

import string

import numpy as np

from aajax.envs.harvest.board import board
from aajax.envs.harvest.env import CommonsHarvest, HarvestState
from aajax.envs.view import View, named_actions_view, seat_colour

STYLES = (  # of what agents do not move, as `board` draws it
    ("#", "bright_black"),
    ("o", "red"),
    (",", "green"),
    ("_", "yellow"),
    (r"\*", "bold yellow"),
)


def view(env: CommonsHarvest) -> View:
    """The map as text, with a letter for each seat."""
    letters = string.ascii_uppercase[: env.num_agents]

    def show(state: HarvestState) -> str:
        return board(env, state)

    def show_to(seat: int, state: HarvestState, observation: np.ndarray) -> str:
        return f"{show(state)}\nyou are {letters[seat]}"

    words = named_actions_view(letters, env.action_names, show, show_to)
    agents = (
        (rf"{letter}[\^>v<]", f"bold {seat_colour(seat)}")
        for seat, letter in enumerate(letters)
    )
    return words._replace(is_map=True, styles=(*STYLES, *agents))
