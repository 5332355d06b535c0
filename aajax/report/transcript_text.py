"""One match as plain text for a terminal: what each seat read, said and earned."""

import textwrap
from collections.abc import Iterator, Mapping

from aajax.errors import InputError
from aajax.report.transcript import rounds_of, summary_of

LEAST = 20  # columns of a quotation, however narrow the terminal is


def match_text(match: Mapping, width: int) -> str:
    """A match, in lines of at most so many columns where there is room.

    What a seat read and said is quoted, each line after a bar; characters that would
    steer a terminal are shown as "\\ufffd".

    Args:
      match: a record, as `transcript.page` has them.
      width: columns of the terminal.

    Raises:
      InputError: if it is no match.
    """
    try:
        return "\n".join(_lines(match, width))
    except InputError:
        raise
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        raise InputError(f"match is {type(match).__name__}: {error!r}") from error


def _lines(match: Mapping, width: int) -> Iterator[str]:
    summary, rounds = summary_of(match), rounds_of(match, None, {})
    where = f"{summary['game']}, match {summary['number']}"
    if summary["iteration"] is not None:
        where += f" of iteration {summary['iteration']}"
    if summary["member"] is not None:
        where += f" of {summary['member']}"
    yield f"{where}, environment seed {summary['seed']}"
    keys = "players", "adapters", "trained"
    seats = zip(*(summary[key] for key in keys), strict=True)
    for seat, (player, adapter, trained) in enumerate(seats):
        more = f", adapter {adapter}" if adapter >= 0 else ""
        more += ", learns" if trained else ""
        total = _amount(summary["totals"][seat])
        yield _plain(f"seat {seat}: {player}{more}; earns {total} in all")
    for number, of_round in enumerate(rounds, start=1):
        yield f"\nround {number}"
        for name, dealt in of_round["facts"].items():
            yield _plain(f"  {name.replace('_', ' ')}: {dealt}")
        for cells in of_round["steps"]:
            for seat, cell in enumerate(cells):
                yield from _said(seat, cell, width)
        rewards = (
            f"seat {seat} {_amount(x)}" for seat, x in enumerate(of_round["reward"])
        )
        yield f"  earned: {', '.join(rewards)}"


def _said(seat: int, cell: Mapping, width: int) -> Iterator[str]:
    """What a seat read at a step, and what it answered."""
    if cell["told"]:
        yield f"  seat {seat} reads"
        yield from _quoted(cell["told"], width)
    if "answer" not in cell:
        return
    notes = [f"try {cell['tries']}"] * (cell["tries"] > 1)
    notes += ["not in the form that was asked for"] * (not cell["valid"])
    yield f"  seat {seat} says" + (f" ({', '.join(notes)})" if notes else "")
    yield from _quoted(cell["answer"], width)


def _quoted(text: str, width: int) -> Iterator[str]:
    bar = "    | "
    room = max(width - len(bar), LEAST)
    for line in _plain(text).split("\n"):
        pieces = textwrap.wrap(line, room, break_on_hyphens=False) or [""]
        yield from (f"{bar}{piece}".rstrip() for piece in pieces)


def _plain(text: str) -> str:
    """Without codes that steer terminals: other players' words may hold anything."""
    text = text.expandtabs(4)
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def _amount(points: float | str | None) -> str:
    return f"{points:+g}" if isinstance(points, int | float) else str(points)
