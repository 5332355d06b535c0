"""Speed beside other people's environments, in turns, in one sitting on this machine.

Give the folders of checkouts, and where they need packages of their own the Python that
has them. Each repeat measures theirs and then ours; the ratio is that of the medians,
and its range that of the repeats. Use a machine that does nothing else.
"""

import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from aajax import cli
from aajax.bench import environments
from aajax.bench.timing import in_new_process
from aajax.errors import InputError
from aajax.schema import Count

PROGRAMS = Path(__file__).parent / "peer_programs.py"


class Duel(NamedTuple):
    """Two programs that play the same game.

    Attributes:
      what: they do.
      program: of the peer, in peer_programs.py.
      ours: measures as `aajax bench` does.
    """

    what: str
    program: str
    ours: Callable[[int], dict]


class Peer(NamedTuple):
    """Somebody's checkout: a file that it is told by, and what is measured of it."""

    name: str
    file: str
    duels: tuple[Duel, ...]


PAX = Peer(
    "Pax",
    "pax/envs/iterated_matrix_game.py",
    (
        Duel("IPD, 4096 games × 1000 steps", "pax-ipd", environments.measure_ipd),
        Duel("Coin Game, 4096 × 1000", "pax-coin", environments.measure_coin),
    ),
)
SOCIALJAX = Peer(
    "SocialJax",
    "socialjax/environments/common_harvest/harvest_open.py",
    (
        Duel(
            "Commons Harvest, 7 agents, 64 × 200",
            "socialjax-harvest",
            environments.measure_harvest,
        ),
    ),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured."""

    pax: Path | None = None  # checkout of Pax
    socialjax: Path | None = None  # checkout of SocialJax
    python: Path = Path(sys.executable)  # that has the packages that they need
    repeats: Count = 5


@contextlib.contextmanager
def measured(program: str, folder: Path, python: Path) -> Iterator[Callable[[], float]]:
    """A function that measures the peer's program once, in env-steps per second.

    Raises:
      InputError: if the program ends, with its last line.
    """
    with (
        tempfile.TemporaryFile("w+") as errors,  # a pipe would fill up
        subprocess.Popen(
            [python, PROGRAMS, program, folder.resolve()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):

        def said() -> float | str:
            """The program's next line."""
            assert process.stdout is not None
            line = process.stdout.readline()
            if line:
                return json.loads(line)
            errors.seek(0)
            reason = (errors.read().strip() or "it said nothing").splitlines()[-1]
            raise InputError(f"{program} does not run in {str(folder)!r}: {reason}")

        def measure() -> float:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # `said` tells
                process.stdin.write("\n")
                process.stdin.flush()
            return float(said())

        said()  # that it is ready
        yield measure


def commit(folder: Path) -> str:
    """Of a checkout."""
    found = subprocess.run(
        ["git", "-C", folder, "rev-parse", "--short=7", "HEAD"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or "unknown"


def row(peer: Peer, duel: Duel, folder: Path, config: Config) -> str:
    """Medians of both, and ratios."""
    theirs, ours = [], []
    with measured(duel.program, folder, config.python) as measure:
        for _ in range(config.repeats):
            theirs.append(measure())
            ours.append(in_new_process(duel.ours, 1)["median"])
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    middle = statistics.median(ours) / statistics.median(theirs)
    cells = [
        duel.what,
        f"{statistics.median(ours):.3g}",
        f"{statistics.median(theirs):.3g} ({peer.name} `{commit(folder)}`)",
        f"{middle:.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})",
    ]
    return f"| {' | '.join(cells)} |"


def main(config: Config) -> None:
    """Prints the table; raises InputError at the end if a peer could not be run."""
    given = {PAX: config.pax, SOCIALJAX: config.socialjax}
    found = {peer: folder for peer, folder in given.items() if folder is not None}
    if not found:
        raise InputError("pax and socialjax are not given: at least one is needed")
    if not config.python.is_file():
        raise InputError(f"python is {str(config.python)!r}: a program is needed")
    heads = "what", "ours, env-steps/s", "theirs", "ratio (its range)"
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|", flush=True)
    failed = False
    for peer, folder in found.items():
        try:
            if not (folder / peer.file).is_file():
                raise InputError(
                    f"{peer.name.lower()} is {str(folder)!r}: a checkout with "
                    f"{peer.file} is needed"
                )
            for duel in peer.duels:
                print(row(peer, duel, folder, config), flush=True)
        except InputError as error:
            failed = True
            console = Console(stderr=True, soft_wrap=True, markup=False, emoji=False)
            console.print(f"{Path(sys.argv[0]).name}: {error}")
    if failed:
        raise SystemExit(2)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
