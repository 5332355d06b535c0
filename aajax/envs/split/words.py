"""Split as text: both propose simultaneously what they keep of ten of each item."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np

from aajax.envs import split as split_env
from aajax.envs.base import check_whole
from aajax.envs.spec import Players
from aajax.envs.split import STOCK, Round, Split, SplitState
from aajax.envs.split.players import players
from aajax.envs.split.values import SAMPLERS
from aajax.envs.tallies import (
    actions_of,
    efficiency,
    facts_of,
    of_proposals,
)
from aajax.envs.text import Ask, Parsed, Table, Tally, TextGame, trimmed
from aajax.envs.wording import (
    Placeholders,
    Wording,
    joined,
    load_wording,
    number,
)
from aajax.schema import Choice

ITEMS = ("hats", "books", "balls", "pens")
# What AdAlign for language models calls players, https://arxiv.org/abs/2511.19405.
PAPER_NAMES = {"welfare": "always_cooperate", "greedy": "always_defect"}

_WORDINGS = Path(__file__).parent / "wordings"
_FILES = {
    "opening": Placeholders((("form",),), ("stock", "values", "most")),
    "round": Placeholders(
        (
            ("own_values", "own_numbers", "compared"),
            ("other_values", "other_numbers", "compared"),
        ),
        ("stock", "form"),
    ),
    "last_round": Placeholders(
        (("other_proposal", "other_asked", "other_took"),),
        (
            *("own_proposal", "own_asked", "own_points", "other_points"),
            *("own_values", "own_numbers", "other_values", "other_numbers"),
            "compared",
        ),
    ),
}
_VALUES = {
    "ties": "1 or 10",
    "exclusive": "1 or 10",
    "one_to_twenty": "a whole number from 1 to 20",
}


@dataclasses.dataclass(frozen=True, eq=False)
class SplitWords(TextGame[Split]):
    """Build it with `split_words`, which checks its arguments."""

    env: Split
    num_rounds: int
    wording: Wording

    name = "split"
    invalid_rule = "it asks for nothing"

    @property
    def steps(self) -> tuple[bool, ...]:
        return (True,)

    @property
    def items(self) -> tuple[str, ...]:
        return ITEMS[: self.env.num_items]

    @property
    def patterns(self) -> dict[str, str]:
        return {"proposal": proposal_pattern(self.items, STOCK)}

    @property
    def silent(self) -> np.ndarray:
        return np.zeros(self.env.num_items, np.int32)

    def ask(self, table: Table, seat: int) -> Ask:
        state, other, items = table.state, 1 - seat, self.items
        parts = []
        stock = listed([STOCK] * len(items), items)
        form = proposal_form(items)
        if table.step == 0:
            values = _VALUES[self.env.values]
            parts.append(
                self.wording.write(
                    "opening", form=form, stock=stock, values=values, most=STOCK
                )
            )
        else:
            previous = state.previous
            own_asked, other_asked = previous.proposals[[seat, other]]
            parts.append(
                self.wording.write(
                    "last_round",
                    own_proposal=listed(own_asked, items),
                    other_proposal=listed(other_asked, items),
                    own_asked=plain(own_asked),
                    other_asked=plain(other_asked),
                    other_took=_took(previous, seat),
                    own_points=number(previous.points[seat]),
                    other_points=number(previous.points[other]),
                    **_valued(previous.values, seat, items),
                )
            )
        parts.append(
            self.wording.write(
                "round", stock=stock, form=form, **_valued(state.values, seat, items)
            )
        )
        return Ask(joined(*parts), "proposal")

    def facts(self, state: SplitState) -> dict[str, list]:
        return {"values": np.asarray(state.values).tolist()}

    def parse(self, kind: str, text: str) -> Parsed:
        return parse_proposal(self.patterns[kind], text, self.items)

    def say(self, kind: str, action: np.ndarray) -> str:
        del kind
        return write_proposal(action, self.items)

    def templates(self) -> Mapping[str, str]:
        return self.wording.templates

    def scripted(self) -> Players:
        return players(self.env)

    def aliases(self) -> Mapping[str, str]:
        return PAPER_NAMES

    def tallies(self, matches, reward: np.ndarray) -> dict[str, Tally]:
        values = facts_of(matches, "values")  # [M, T, N, I]
        asked = actions_of(self, matches)[:, :, -1]
        best = STOCK * values.max(-2).sum(-1) / float(self.env.unit)
        return of_proposals(asked, values) | efficiency(reward, best)


def split_words(
    *,
    values: Annotated[str, Choice(tuple(SAMPLERS))] = "ties",
    num_items: int = 3,
    num_rounds: int = 10,
    wording: str | Path = "full",
) -> SplitWords:
    """Split as text: players answer `Proposal: x hats, y books, z balls`.

    Both are told all values. Items may be in any order and case; an item that is not
    named counts as 0, and of one named twice the last number counts. Any other answer
    asks for nothing. Rewards are points.

    Args:
      values: how values are drawn, as in `envs.split.split`.
      num_items: kinds of item, 2 to 4.
      num_rounds: rounds after which an episode is truncated.
      wording: one of WORDINGS or a folder; see `load_wording`.

    Raises:
      InputError: for an invalid argument, or an unsupported combination of them.
    """
    check_whole("num_rounds", num_rounds)
    env = split_env.split(values=values, num_items=num_items, num_steps=num_rounds)
    return SplitWords(env, num_rounds, load_wording(wording, _WORDINGS, _FILES))


def proposal_form(items: tuple[str, ...]) -> str:
    """The form of a proposal, with letters as placeholders for numbers."""
    return "Proposal: " + listed("xyzw"[: len(items)], items)


@functools.cache
def proposal_pattern(items: tuple[str, ...], most: int) -> str:
    """Regular expression of proposals with numbers from 0 to `most`, 9 or 10."""
    digits = "10|[0-9]" if most == 10 else f"[0-{most}]"
    gap = r"[ \t\r\n]*"
    names = "|".join(f"{item.removesuffix('s')}s?" for item in items)
    # Every text is read in one way, or to refuse some would take forever.
    item = f"{gap}(?:{digits}){gap}(?:{names})(?:{gap},)?"
    return f"(?i:Proposal:(?:{item})+{gap})"


def parse_proposal(pattern: str, text: str, items: tuple[str, ...]) -> Parsed:
    """Parses i32[num_items]; zeros if the trimmed text does not match it."""
    asked = np.zeros(len(items), np.int32)
    text = trimmed(text)
    valid = re.fullmatch(pattern, text) is not None
    if valid:
        # Folded, as the pattern takes the long s and the Kelvin sign for letters.
        for count, item in re.findall(r"(\d+)\s*([a-z]+)", text.casefold()):
            asked[items.index(item.removesuffix("s") + "s")] = int(count)
    return Parsed(asked, valid)


def write_proposal(action: np.ndarray, items: tuple[str, ...]) -> str:
    """A proposal that `parse_proposal` reads as `action`, i32[num_items]."""
    return "Proposal: " + listed(action, items)


def listed(counts, items: tuple[str, ...]) -> str:
    """As in "10 hats, 5 books"."""
    return ", ".join(
        f"{count} {item}" for count, item in zip(counts, items, strict=True)
    )


def valued(values, items: tuple[str, ...]) -> str:
    """As in "hats=10, books=1"."""
    return ", ".join(
        f"{item}={int(value)}" for value, item in zip(values, items, strict=True)
    )


def plain(counts) -> str:
    """As in "10 5 0"."""
    return " ".join(str(int(count)) for count in counts)


def _took(round_: Round, seat: int) -> str:
    """Whether the other asked for most of what `seat` valued more: "took" or "left"."""
    own, other = round_.values[[seat, 1 - seat]]
    asked = round_.proposals[1 - seat][own > other]
    return took(float(asked.mean()) if asked.size else 0)


def took(asked: float) -> str:
    """ "took" if the other asked for more than half of such an item, else "left"."""
    return "took" if asked > STOCK / 2 else "left"


def _valued(values: np.ndarray, seat: int, items: tuple[str, ...]) -> dict[str, str]:
    own, other = values[[seat, 1 - seat]]
    return {
        "own_values": valued(own, items),
        "other_values": valued(other, items),
        "own_numbers": plain(own),
        "other_numbers": plain(other),
        "compared": compared(own, other, items),
    }


def compared(own: Sequence[int], other: Sequence[int], items: Sequence[str]) -> str:
    """As in "10 > 1 hats, 1 < 10 books": own values first."""
    return ", ".join(
        f"{a} {sign(a, b)} {b} {item}"
        for a, b, item in zip(own, other, items, strict=True)
    )


def sign(own: int, other: int) -> str:
    """Comparison sign of two values: ">", "<" or "="."""
    return ">" if own > other else "<" if own < other else "="
