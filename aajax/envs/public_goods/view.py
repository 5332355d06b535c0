"""Public goods with amounts in the terminal, for people."""

import numpy as np

from aajax.envs.public_goods.env import PublicGoods, PublicGoodsState, others_of
from aajax.envs.view import View, number, numbers, read_numbers
from aajax.types import PyTree


def view(env: PublicGoods) -> View:
    """What everybody gave in the last step, the viewer first."""
    space, coins = env.action_spaces[0], float(env.coins(np.array(1)))
    seats = tuple(map(str, range(env.num_agents)))

    def given(level: PyTree) -> str:
        return number(coins * float(level))

    def show(state: PublicGoodsState) -> str:
        if not state.time:
            return "the start"
        gifts = (f"{given(x)} from {i}" for i, x in enumerate(state.levels))
        return f"last time {', '.join(gifts)}"

    def show_to(seat: int, state: PublicGoodsState, observation: np.ndarray) -> str:
        del observation
        if not state.time:
            return "the start"
        others = (
            f"{given(state.levels[other])} from {other}"
            for other in others_of(env.num_agents)[seat]
        )
        own = f"{given(state.levels[seat])} from you"
        earned = f"you earned {number(float(state.points[seat]))}"
        return f"last time {own}, {', '.join(others)}; {earned}"

    def question(seat: int, state: PublicGoodsState) -> str:
        del seat, state
        return (
            f"{numbers(space)}, {number(coins)} of {number(float(env.endowment))} each"
        )

    return View(
        seats,
        show,
        show_to,
        say=lambda seat, state, action: given(action),
        question=question if coins != 1 else lambda seat, state: numbers(space),
        read=lambda seat, state, answer: read_numbers(space, answer),
    )
