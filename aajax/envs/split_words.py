"""Tables of Split and Trust-and-Split in words, for people."""

from collections.abc import Iterable

from aajax.envs.split import NUM_AGENTS, STOCK, Split, SplitState
from aajax.envs.trust_and_split import (
    HANDS,
    SILENT,
    TrustAndSplit,
    TrustAndSplitState,
    wins,
)


def describe_split(env: Split, state: SplitState) -> str:
    """One table of Split; everyone may know all of it."""
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


def describe_trust_and_split(env: TrustAndSplit, state: TrustAndSplitState) -> str:
    """One table of Trust-and-Split, hidden hands and all."""
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
    """What one seat at a table of Trust-and-Split may know."""
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
    """What people call the symbols: hands, as scripted players take them, and more."""
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


def _row(title: str, numbers: Iterable) -> str:
    return f"{title:<15}" + "".join(f"{int(number):>6}" for number in numbers)
