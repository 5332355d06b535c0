"""The Negotiation Game in the terminal, for people."""

from aajax.envs.negotiation.env import NegotiationGame, NegotiationState
from aajax.envs.negotiation.utilities import NUM_AGENTS, NUM_ITEMS
from aajax.envs.view import View, proposals_view


def view(env: NegotiationGame) -> View:
    """The whole state for spectators; for a seat its observation, part by part."""
    return proposals_view(env, describe)


def describe(env: NegotiationGame, state: NegotiationState) -> str:
    """A state as text."""
    lines = [
        f"turn {int(state.turn) + 1} of {int(state.num_turns)} in this round, "
        f"{int(state.time)} of {env.num_steps} turns played",
        _row("item", range(1, 1 + NUM_ITEMS)),
        _row("there are", state.stakes.pool),
    ]
    for seat in range(NUM_AGENTS):
        lines.append(_row(f"worth to {seat}", state.stakes.utility[seat]))
    if state.time > 0:
        for seat in range(NUM_AGENTS):
            asked = _row(f"{seat} last asked", state.previous.proposal[seat])
            lines.append(
                f"{asked}  and earned {float(state.previous.reward[seat]):.3f}"
            )
    return "\n".join(lines)


def _row(title: str, numbers) -> str:
    return f"{title:<13}" + "".join(f"{float(number):>6.3g}" for number in numbers)
