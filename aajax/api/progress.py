"""How far long work is, on a terminal."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from aajax.lm.compilation import heard
from aajax.report.tables import OTHERS, played
from aajax.training.config import RunConfig
from aajax.training.lm_config import LmConfig

OnChunk = Callable[[int, dict], None]


def progress_bar(console: Console, unit: str, hidden: bool = False) -> Progress:
    """A bar that goes away when all is done.

    Args:
      console: where it is drawn.
      unit: what is counted, in the plural.
      hidden: whether to draw nothing.
    """
    columns = (
        TextColumn("{task.description:32}", markup=False),
        BarColumn(),
        TextColumn(f"{{task.completed:.0f}}/{{task.total:.0f}} {unit}"),
        TimeElapsedColumn(),
    )
    # Where it cannot be drawn anew, rich would leave an empty line of it.
    hidden = hidden or not console.is_interactive
    return Progress(*columns, console=console, transient=True, disable=hidden)


@contextlib.contextmanager
def shown_progress(
    config: RunConfig | LmConfig, shown: bool = True, console: Console | None = None
) -> Iterator[OnChunk]:
    """A function that shows how far a run is: a bar, or lines where that cannot be.

    Args:
      config: of the run.
      shown: whether to show anything.
      console: where; stderr if not given.
    """
    if not shown:
        yield lambda done, row: None
        return
    console = (
        Console(stderr=True, markup=False, emoji=False) if console is None else console
    )
    is_lm = isinstance(config, LmConfig)
    tell, one = (_told_lm, "iteration") if is_lm else (_told, "update")
    first = "reading the model" if is_lm else "compiling"
    game = played(dataclasses.asdict(config))
    last_line = time.monotonic()
    with progress_bar(console, config.unit) as progress:
        task, said = progress.add_task(f"{game}: {first}", total=config.length), first

        def on_chunk(done: int, row: dict) -> None:
            """Moves the bar; where it is no terminal, prints a line instead."""
            nonlocal last_line, said
            is_over = done == config.length
            text = "playing with others" if is_over else tell(row)
            if "evaluated" in row:
                text = f"match {row['evaluated']}/{row['matches']} with others"
            said = text
            progress.update(task, completed=done, description=f"{game}: {text}")
            # Chunks of small policies are few; iterations are many.
            is_last = is_over and "evaluated" not in row
            late = not is_lm or is_last or time.monotonic() - last_line > 10
            if not console.is_terminal and late:
                last_line = time.monotonic()
                line = f"{game}: {one} {done}/{config.length}  {tell(row)}"
                if "evaluated" in row:
                    line = f"{game}: {text}"
                console.print(line, soft_wrap=True, markup=False)

        def on_compile(program: str, seconds: float | None) -> None:
            """Says what is compiled; when it is, the bar says again what it said."""
            text = compiling(program, seconds)
            description = f"{game}: {text if seconds is None else said}"
            progress.update(task, description=description)
            if not console.is_terminal:
                console.print(f"{game}: {text}", soft_wrap=True, markup=False)

        with heard(on_compile):
            yield on_chunk


def compiling(program: str, seconds: float | None) -> str:
    """What is compiled, or was; see `lm.compilation.Listener`."""
    if seconds is None:
        return f"compiling {program}"
    return f"compiled in {seconds:.0f} s: {program}"


def _told(row: Mapping[str, float]) -> str:
    """The reward of an update, and the mean entropy of its learners."""
    text = f"reward {row['reward']:.3f}"
    entropies = [x for name, x in row.items() if name.endswith("entropy")]
    if entropies:
        text += f"  entropy {sum(entropies) / len(entropies):.3f}"
    return text


def _told_lm(row: Mapping[str, float | None]) -> str:
    """The rewards of an iteration: with itself, and with others where there are any."""
    labels = {"reward": "reward", f"reward{OTHERS}": "against others"}
    found = {label: row.get(name) for name, label in labels.items()}
    return ", ".join(f"{label} {x:.3f}" for label, x in found.items() if x is not None)
