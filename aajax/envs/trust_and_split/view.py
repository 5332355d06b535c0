"""Trust-and-Split in the terminal, for people."""

import numpy as np

from aajax.envs.base import MultiDiscrete
from aajax.envs.split import NUM_AGENTS, STOCK
from aajax.envs.trust_and_split.env import (
    HANDS,
    SILENT,
    TrustAndSplit,
    TrustAndSplitState,
    wins,
)
from aajax.envs.view import View, either, numbers, read_name, read_numbers


def view(env: TrustAndSplit) -> View:
    """The whole state for spectators; a seat does not see the other's hand."""
    symbols = symbol_names(env.num_symbols)
    coins = MultiDiscrete(1, 1 + STOCK)

    def listens(seat: int, state: TrustAndSplitState) -> bool:
        return not env.splits(state) and seat != int(env.speaker(state))

    def say(seat: int, state: TrustAndSplitState, action: np.ndarray) -> str:
        if env.splits(state):
            return str(int(action) % coins.num_actions)
        return "" if listens(seat, state) else symbols[int(action) % len(symbols)]

    def question(seat: int, state: TrustAndSplitState) -> str | None:
        if env.splits(state):
            return numbers(coins)
        return None if listens(seat, state) else either(symbols)

    def read(seat: int, state: TrustAndSplitState, answer: str) -> np.ndarray:
        if env.splits(state):
            return read_numbers(coins, answer)[0]
        return read_name(symbols, answer)

    return View(
        tuple(map(str, range(env.num_agents))),
        show=lambda state: describe(env, state),
        show_to=lambda seat, state, observation: describe_to(env, state, seat),
        say=say,
        question=question,
        read=read,
    )


def describe(env: TrustAndSplit, state: TrustAndSplitState) -> str:
    """A state as text, hidden hands included."""
    lines = [_progress(env, state)]
    values, previous = env.values(state.hands), state.previous
    for seat in range(NUM_AGENTS):
        lines.append(
            f"{seat} has {HANDS[int(state.hands[seat])]}, a coin is worth "
            f"{float(values[seat]):g}, said {_said(env, state, seat)}"
        )
    if int(state.time) >= env.num_turns:
        for seat in range(NUM_AGENTS):
            lines.append(
                f"{seat} last had {HANDS[int(previous.hands[seat])]}, asked "
                f"{int(previous.proposals[seat])} and earned "
                f"{float(previous.points[seat]):.1f}"
            )
    return "\n".join(lines)


def describe_to(env: TrustAndSplit, state: TrustAndSplitState, seat: int) -> str:
    """A state as text, as far as one seat may know it."""
    other, previous = 1 - seat, state.previous
    lines = [
        _progress(env, state),
        f"your hand is {HANDS[int(state.hands[seat])]}",
        f"you said {_said(env, state, seat)}",
        f"the other said {_said(env, state, other)}",
    ]
    if int(state.time) >= env.num_turns:
        upper = "you" if wins(previous.hands)[seat] else "the other"
        lines.append(f"last round coins were worth more to {upper}")
        for name, place in (("you", seat), ("the other", other)):
            lines.append(
                f"{name} asked {int(previous.proposals[place])} and earned "
                f"{float(previous.points[place]):.1f}"
            )
    return "\n".join(lines)


def symbol_names(num_symbols: int) -> tuple[str, ...]:
    """Names of the symbols: the hands, as scripted players use them, then numbers."""
    more = (f"word{number}" for number in range(len(HANDS), num_symbols))
    return (*HANDS[:num_symbols], *more)


def _progress(env: TrustAndSplit, state: TrustAndSplitState) -> str:
    return (
        f"step {int(state.turn) + 1} of {env.num_turns} in this round, "
        f"{int(state.time)} of {env.num_steps} steps played"
    )


def _said(env: TrustAndSplit, state: TrustAndSplitState, seat: int) -> str:
    names = symbol_names(env.num_symbols)
    said = [names[symbol] for symbol in state.said[seat].tolist() if symbol != SILENT]
    return ", then ".join(said) or "nothing yet"
