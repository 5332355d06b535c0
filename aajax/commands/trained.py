"""What `aajax train` says of a run: when it is interrupted, and when it is over."""

import importlib.util
from typing import Annotated

import jax

from aajax.api.runs import Run
from aajax.api.sinks import Log
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.lm.mesh.sharding import start_distributed
from aajax.schema import Items

Logs = Annotated[tuple[Log, ...], Items(distinct=True)]
# What continues an interrupted run, after which "goes on" follows.
GO_ON = "the same command with --resume"


def started(console: Console) -> Console:
    """Joins the other processes, if there are any; process 0 speaks for all.

    Where the surroundings say that there are several, this is one of them, see
    `lm.sharding.start_distributed`.

    Returns:
      The console, or one that is silent.
    """
    start_distributed()
    if jax.process_index() == 0:
        return console
    return Console(quiet=True, markup=False, emoji=False)


def tell_finished(console: Console, run: Run) -> None:
    """Prints how long a run took, and where it is."""
    if not importlib.util.find_spec("matplotlib"):
        console.print("no figure: install matplotlib, as in pip install 'aajax[plot]'")
    seconds = run.summary["wall_seconds"]
    tell_path(console, f"{seconds:.1f} s; everything is in {run.folder}/")
