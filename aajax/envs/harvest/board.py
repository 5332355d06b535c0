"""The map of Commons Harvest as text."""

import string

import numpy as np

from aajax.envs.harvest.env import CommonsHarvest, HarvestState
from aajax.errors import InputError

HEADINGS = "^>v<"


def board(env: CommonsHarvest, state: HarvestState) -> str:
    """A state as text, two characters a cell.

    Agents are A, B, ... followed by their heading (^>v<); o is an apple, "," a site
    where one may grow back, "_" a depleted one, # a wall, * a beam of the last step,
    and "." a free cell.

    Raises:
      InputError: if there are more agents than letters.
    """
    if env.num_agents > len(string.ascii_uppercase):
        raise InputError(
            f"num_agents is {env.num_agents}: at most {len(string.ascii_uppercase)} "
            "can be drawn"
        )
    layout = env.layout
    cells = np.where(layout.wall, "# ", ". ").astype("<U2")
    sites = np.where(state.apple, "o ", np.where(state.grass, ", ", "_ "))
    cells[layout.site] = sites
    beam = np.asarray(state.beam)
    cells[beam[beam >= 0]] = "* "
    where = zip(np.asarray(state.position), np.asarray(state.heading), strict=True)
    for seat, (cell, heading) in enumerate(where):
        if cell >= 0:
            cells[cell] = string.ascii_uppercase[seat] + HEADINGS[heading]
    rows = cells.reshape(layout.height, layout.width)
    return "\n".join("".join(row).rstrip() for row in rows)
