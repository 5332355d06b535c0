"""The meta-game in the terminal, for people."""

import numpy as np

from aajax.envs.meta_matrix.env import NUM_STATES, MetaMatrixGame, MetaState
from aajax.envs.view import View, number, numbers, read_numbers


def view(env: MetaMatrixGame) -> View:
    """What both have just played: P(cooperate) after START, CC, CD, DC, DD."""
    (space,) = env.action_spaces

    def told(chances: np.ndarray) -> str:
        each = [f"{x:.2f}" for x in np.ravel(chances)]
        own, other = each[:NUM_STATES], each[NUM_STATES:]
        return (
            "P(cooperate) at the start and after CC, CD, DC, DD: the agent "
            f"{' '.join(own)}, the learner {' '.join(other)}"
        )

    def show(state: MetaState) -> str:
        return f"{told(np.asarray(state.chances))}; it earned {float(state.reward):.2f}"

    return View(
        ("0",),
        show,
        show_to=lambda seat, state, observation: told(observation[seat]),
        say=lambda seat, state, action: " ".join(map(number, np.ravel(action))),
        question=lambda seat, state: f"logits of cooperation, {numbers(space)}",
        read=lambda seat, state, answer: read_numbers(space, answer),
    )
