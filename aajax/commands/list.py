"""`aajax list`: what there is, by name."""

import dataclasses
import inspect
from typing import Annotated, Any

import tyro
from rich import box
from rich.table import Table

from aajax import envs
from aajax.api.describe import LEARNED, SPEAKERS, Description, describe, scripted
from aajax.commands.arguments import parse
from aajax.commands.spelling import Console
from aajax.dialogue.registry import text_specs
from aajax.training.algorithms import ALGORITHMS
from aajax.training.lm_presets import MODELS, PUBLISHED, SMALL, VARIANTS
from aajax.training.presets import PRESETS

Name = Annotated[str | None, tyro.conf.arg(metavar="[NAME]")]


@dataclasses.dataclass(frozen=True)
class Options:
    """Names the environments, players, algorithms and presets.

    With the name of one it tells what that is, accepts and offers: an environment's
    options, players and measures, a preset's settings.
    """

    name: tyro.conf.Positional[Name] = None  # of one of them; None: names all


def main(arguments: list[str]) -> None:
    """Prints what there is, or what there is of one name."""
    options = parse(Options, arguments, "aajax list")
    if options.name is None:
        _print_all()
        return
    console = Console(markup=False, emoji=False, highlight=False)
    for number, found in enumerate(describe(options.name)):
        console.print("\n" * (number > 0) + f"{found.kind} {found.name}: {found.about}")
        if found.options:
            console.print(_options_table(found))
        for kind in ("players", "measures"):
            names = getattr(found, kind)
            if names:
                console.print(f"{kind}: {', '.join(names)}")


def _options_table(found: Description) -> Table:
    value = "value" if found.kind == "preset" else "default"
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("option", value, "accepts"):
        table.add_column(heading, overflow="fold")
    for option in found.options:
        table.add_row(option.name, _shown(option.value), option.accepts)
    return table


def _shown(value: Any) -> str:
    """A value as the command line has it; nothing where there is no default."""
    if value is inspect.Parameter.empty or value is dataclasses.MISSING:
        return ""
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "()"
    return str(value)


def _print_all() -> None:
    table = Table("kind", "name", "what it is")
    specs = [envs.find_spec(name) for name in envs.names()]
    for spec in specs:
        table.add_row("environment", spec.name, spec.about)
    table.add_section()
    for name, about in scripted().items():
        table.add_row("scripted player", name, about)
    for spec in specs:
        if spec.players is not None and spec.from_payoff is None:
            names = ", ".join(spec.player_names(spec.make()))
            table.add_row("scripted player", f"of {spec.name}", names)
    table.add_section()
    for game, spec in text_specs().items():
        table.add_row("game in words", game, spec.about)
    for player, about in SPEAKERS.items():
        table.add_row("its player", player, about)
    table.add_section()
    for kind, about in LEARNED.items():
        table.add_row("learned policy", kind, about)
    table.add_section()
    for name, algorithm in ALGORITHMS.items():
        table.add_row("algorithm", name, algorithm.about)
    table.add_section()
    for name, (about, _) in PRESETS.items():
        table.add_row("preset", name, about)
    games = ", ".join(PUBLISHED)
    table.add_row("preset", "lm-GAME", f"A pocket model in a game of words: {games}.")
    for name, (about, _) in VARIANTS.items():
        table.add_row("preset", f"lm-GAME-{name}", f"... {about}.")
    for name, (model, _) in SMALL.items():
        about = f"... of {model}, with settings for small chat models."
        table.add_row("preset", f"lm-GAME-VARIANT --size {name}", about)
    for name, (folder, _) in MODELS.items():
        about = f"... of {folder} (--model), with the published settings."
        table.add_row("preset", f"lm-GAME-VARIANT --size {name}", about)
    Console(markup=False, emoji=False).print(table)
