"""Matrix games in the terminal, for people."""

import numpy as np

from aajax.envs.matrix.env import IteratedMatrixGame, MatrixState
from aajax.envs.view import View, either, read_name


def view(env: IteratedMatrixGame) -> View:
    """The last joint action, the viewer's own first."""
    names, num_agents = env.action_names, env.num_agents

    def last_actions(state: MatrixState) -> list[str]:
        joint = np.unravel_index(int(state.joint) - 1, env.action_counts)
        return [names[action] for action in joint]

    def show(state: MatrixState) -> str:
        if not state.joint:
            return "the start"
        return "last time " + " ".join(last_actions(state))

    def show_to(seat: int, state: MatrixState, observation: np.ndarray) -> str:
        if not state.joint:
            return "the start"
        actions = last_actions(state)
        own = f"last time {actions[seat]} from you, "
        others = [
            f"{actions[other]} from {other}"
            for other in ((seat + i) % num_agents for i in range(1, num_agents))
        ]
        return own + ", ".join(others)

    def own_names(seat: int) -> tuple[str, ...]:
        return names[: env.action_counts[seat]]

    return View(
        tuple(map(str, range(num_agents))),
        show,
        show_to,
        say=lambda seat, state, action: names[int(action)],
        question=lambda seat, state: either(own_names(seat)),
        read=lambda seat, state, answer: read_name(own_names(seat), answer),
    )
