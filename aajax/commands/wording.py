"""`aajax wording copy GAME FOLDER`: templates of a text game, to be changed."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from aajax import files
from aajax.commands.arguments import choose, parse
from aajax.commands.progress import print_help, tell_path
from aajax.commands.spelling import Console
from aajax.dialogue import registry
from aajax.envs.wording import WORDINGS
from aajax.errors import InputError
from aajax.report.tables import counted
from aajax.schema import Choice

Game = Annotated[str, tyro.conf.arg(metavar="GAME")]
Folder = Annotated[Path, tyro.conf.arg(metavar="FOLDER")]


@dataclasses.dataclass(frozen=True)
class Copy:
    """Copies what a text game says to a folder, a template in a file each.

    Change the files, and give the folder as `--prompts FOLDER` to `aajax train lm-...`
    or `aajax league --text`. Names in braces are filled in while playing.
    """

    game: tyro.conf.Positional[Game]  # text game; `aajax list` names them
    folder: tyro.conf.Positional[Folder]  # new or empty
    # which of the game's wordings: full, brief, or short
    wording: Annotated[str, Choice(WORDINGS)] = "full"


def main(arguments: list[str]) -> None:
    """Runs a subcommand; raises InputError for bad input."""
    if not arguments or arguments[0] in ("-h", "--help"):
        about = {name: about for name, (about, *_) in COMMANDS.items()}
        print_help("aajax wording", about)
        return
    _, options, run = choose("command", arguments, COMMANDS)
    run(parse(options, arguments[1:], f"aajax wording {arguments[0]}"))


def _copy(options: Copy) -> None:
    templates = registry.make(options.game, options.wording).templates()
    if not templates:
        raise InputError(f"game is {options.game!r}: one with templates is needed")
    files.check_empty(f"folder is {str(options.folder)!r}", options.folder)
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, template in templates.items():
        files.write_text(options.folder / f"{name}.txt", f"{template}\n")
    count = counted(len(templates), "template")
    tell_path(
        Console(markup=False, emoji=False),
        f"wrote {count} to {options.folder}/; use them by --prompts {options.folder}",
    )


COMMANDS = {"copy": ("write the templates of a text game to a folder", Copy, _copy)}
