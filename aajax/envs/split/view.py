"""Split in the terminal, for people."""

from collections.abc import Iterable

from aajax.envs.split.env import NUM_AGENTS, STOCK, Split, SplitState
from aajax.envs.view import View, proposals_view


def view(env: Split) -> View:
    """The whole state for spectators; for a seat its observation, part by part."""
    return proposals_view(env, describe)


def describe(env: Split, state: SplitState) -> str:
    """A state as text; nothing in it is hidden from either player."""
    lines = [
        f"{int(state.time)} of {env.num_steps} rounds played",
        _row("item", range(1, 1 + env.num_items)),
        _row("there are", [STOCK] * env.num_items),
    ]
    for seat in range(NUM_AGENTS):
        lines.append(_row(f"worth to {seat}", state.values[seat]))
    if state.time > 0:
        previous = state.previous
        for seat in range(NUM_AGENTS):
            lines.append(_row(f"last worth to {seat}", previous.values[seat]))
        for seat in range(NUM_AGENTS):
            asked = _row(f"{seat} last asked", previous.proposals[seat])
            lines.append(f"{asked}  and earned {float(previous.points[seat]):.1f}")
    return "\n".join(lines)


def _row(title: str, numbers: Iterable) -> str:
    return f"{title:<15}" + "".join(f"{int(number):>6}" for number in numbers)
