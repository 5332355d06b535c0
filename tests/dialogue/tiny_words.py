"""A game in words for tests: seat 0 says a word, then both choose, again and again."""

import dataclasses

import numpy as np

from aajax.envs.base import Environment
from aajax.envs.matrix import prisoners_dilemma_points
from aajax.envs.matrix.players import players
from aajax.envs.text import Ask, Parsed, TextGame

CHOICE, WORD = "<A>|<B>", "<m>[a-z]{0,5}</m>"


@dataclasses.dataclass(frozen=True, eq=False)
class TinyWords(TextGame):
    """Rounds of two steps, of which the second alone is the environment's."""

    num_rounds: int = 2
    env: Environment = dataclasses.field(default_factory=prisoners_dilemma_points)

    name = "tiny"
    steps = (False, True)
    patterns = {"word": WORD, "choice": CHOICE}
    invalid_rule = "it counts as <B>"
    silent = np.zeros((), np.int32)

    def ask(self, table, seat):
        if table.step % 2 == 0:
            return Ask(f"word {table.step}", "word" if seat == 0 else None)
        return Ask(f"choice {table.step}", "choice")

    def facts(self, state):
        return {}

    def parse(self, kind, text):
        options = ("<A>", "<B>") if kind == "choice" else (text,)
        valid = text in options
        return Parsed(np.int32(options.index(text) if valid else 1), valid)

    def scripted(self):
        return players(self.env)

    def say(self, kind, action):
        return "<m>hello</m>" if kind == "word" else ("<A>", "<B>")[int(action)]
