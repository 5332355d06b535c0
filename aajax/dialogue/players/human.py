"""A player that is a person in a terminal."""

import dataclasses
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from aajax.dialogue.players.base import Reply, Request, Row
from aajax.dialogue.players.forms import complete, in_words
from aajax.lm.sampling.grammar import matches
from aajax.types import PRNGKey

_HELP = "/help shows this, /quit leaves the game. Anything else is your answer:"


@dataclasses.dataclass(frozen=True, eq=False)
class HumanPlayer:
    """A `Player` that asks the person at the console.

    Prompts that need no answer are shown first. Tags around an answer may be left out.

    Attributes:
      console: where the person reads and writes.
      name: that questions begin with.
    """

    console: Console
    name: str = "you"

    def start(self, rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(rows)

    def reply(
        self, memory: tuple[Row, ...], requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[tuple[Row, ...], list[Reply | None]]:
        """As in `Player`; keys are not used.

        Raises:
          KeyboardInterrupt: if the person leaves, or the input ends.
          InputError: for a pattern that is not a regular expression.
        """
        replies: list[Reply | None] = [None] * len(memory)
        listening_first = sorted(
            range(len(memory)), key=lambda i: requests[i].kind is not None
        )
        for i in listening_first:
            if len(memory) > 1:
                self._show(f"match {memory[i].match}, seat {memory[i].seat}", "bold")
            self._show(requests[i].text)
            if requests[i].kind is not None:
                replies[i] = self._ask(requests[i].answers)
        return memory, replies

    def _ask(self, pattern: str) -> Reply:
        def accepts(text: str) -> bool:
            return matches(pattern, text.encode())

        accepts("")  # a pattern that is none is found before the person types
        form = in_words(pattern)
        self._show(f"Answer with {form}", "dim")
        tries = 0
        while True:
            line = self._line()
            match line.strip():
                case "/quit":
                    raise KeyboardInterrupt("The person left.")
                case "/help":
                    self._show(f"{_HELP}\n{form}", "dim")
                    continue
            tries += 1
            answer = complete(pattern, line, accepts)
            if answer is not None:
                return Reply(answer, tries)
            self._show(f"That is no answer; needed is {form}", "dim")

    def _line(self) -> str:
        try:
            line = self.console.input(f"{self.name}> ", markup=False)
        except EOFError:
            raise KeyboardInterrupt("The input ended.") from None
        line = line.encode(errors="replace").decode()
        if not sys.stdin.isatty():
            self._show(line)
        return line

    def _show(self, text: str, style: str = "") -> None:
        # What others say may hold anything, codes that steer terminals as well.
        shown = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
        self.console.print(Text(shown, style))
