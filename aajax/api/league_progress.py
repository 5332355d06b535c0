"""What a league in words tells of how far it is."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.console import Console

from aajax.api.progress import compiling, progress_bar
from aajax.dialogue.play.matches import Match
from aajax.lm.compilation import heard
from aajax.tournament.text_league import Pair

SECONDS = 10.0  # between two lines, where there is no terminal


class LeagueProgress:
    """Which pair plays which step, and how many matches are played.

    On a terminal it is a bar, elsewhere a line every ten seconds. What takes longer
    than a few seconds to compile is told too.

    Attributes:
      num_pairs: that are played.
    """

    def __init__(self, console: Console, pairs: Sequence[Pair], hidden: bool):
        """
        Args:
          console: of standard error.
          pairs: that are to be played.
          hidden: whether nothing is told, as beside a person who plays.
        """
        self.num_pairs = 0
        self._console, self._hidden = console, hidden
        self._num_matches, self._total = 0, sum(len(pair.matchups) for pair in pairs)
        self._said, self._told = "", time.monotonic()
        self._listening = contextlib.ExitStack()
        self._bar = progress_bar(console, "matches", hidden or not console.is_terminal)
        self._task = self._bar.add_task("", total=self._total)

    def __enter__(self) -> None:
        self._bar.start()
        self._listening.enter_context(heard(self.on_compile))

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        self._bar.stop()

    def on_step(self, pair: Pair, done: int, step: int, num_steps: int) -> None:
        """Told before each step of a pair how far it is; see `play_pairs`."""
        text = f"{' - '.join(pair.names)}: step {step + 1}/{num_steps}"
        self._said = text
        over = self._num_matches + done
        self._bar.update(self._task, completed=over, description=text)
        late = time.monotonic() - self._told > SECONDS
        if late:
            self._told = time.monotonic()
            self._print(f"{over}/{self._total} matches  {text}")

    def on_compile(self, program: str, seconds: float | None) -> None:
        """Told what is compiled, and when it is; see `lm.compilation.heard`."""
        text = compiling(program, seconds)
        shown = text if seconds is None else self._said
        self._bar.update(self._task, description=shown)
        self._print(text)

    def _print(self, line: str) -> None:
        if not (self._hidden or self._console.is_terminal):
            self._console.print(line, soft_wrap=True, markup=False)

    def counted(
        self, played: Iterable[tuple[Pair, list[Match]]]
    ) -> Iterator[tuple[Pair, list[Match]]]:
        """Pairs and their matches, counted as they pass."""
        for pair, matches in played:
            self.num_pairs += 1
            self._num_matches += len(matches)
            self._bar.update(self._task, completed=self._num_matches)
            yield pair, matches
