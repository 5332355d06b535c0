"""`aajax check GAME`: whether an environment keeps the contract."""

import dataclasses
from typing import Annotated

import tyro

from aajax.commands.arguments import parse
from aajax.commands.spelling import Console
from aajax.envs import find_spec
from aajax.envs.check import NUM_STEPS, check_environment
from aajax.errors import InputError
from aajax.report.tables import counted
from aajax.schema import Count
from aajax.training.options import read_options

Game = Annotated[str, tyro.conf.arg(metavar="GAME")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Checks an environment, and all that its record offers, as the tests do.

    Prints one line for each violation, and exits with 2 if there is any.
    """

    game: tyro.conf.Positional[Game]  # a name, package.module:NAME or file.py:NAME
    options: tuple[str, ...] = ()  # of the environment: name=value name=value ...
    steps: Count = NUM_STEPS  # after which episodes are cut off


def main(arguments: list[str]) -> None:
    """Checks; raises InputError if anything is violated."""
    options = parse(Options, arguments, "aajax check")
    spec = find_spec(options.game)
    accepted = {k: v for k, v in spec.options.items() if k != "num_steps"}
    given = read_options("options", options.options, options.game, accepted)
    found = check_environment(spec, options.steps, **given)
    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    for line in found:
        console.print(line)
    if found:
        count = counted(len(found), "violation")
        raise InputError(
            f"game is {options.game!r}: {count} of the contract, see above"
        )
    console.print(f"{spec.name} keeps the contract of environments")
