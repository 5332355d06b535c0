"""`aajax list`: what there is, by name."""

import dataclasses
import inspect

from rich.console import Console
from rich.table import Table

from aajax import envs
from aajax.commands.arguments import parse
from aajax.dialogue.registry import text_specs
from aajax.envs.matrix import players as matrix
from aajax.training.algorithms import ALGORITHMS
from aajax.training.lm_presets import MODELS, PUBLISHED, VARIANTS
from aajax.training.presets import PRESETS


@dataclasses.dataclass(frozen=True)
class Options:
    """Names the environments, players, algorithms and presets."""


def main(arguments: list[str]) -> None:
    """Prints one table; takes no options."""
    parse(Options, arguments, "aajax list")
    table = Table("kind", "name", "what it is")
    specs = [envs.find_spec(name) for name in envs.names()]
    for spec in specs:
        table.add_row("environment", spec.name, spec.about)
    table.add_section()
    for name, response in matrix.RESPONSES.items():
        table.add_row("scripted player", name, _first_line(response))
    table.add_row("scripted player", "random", "Every action equally often.")
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
    for name, (folder, _) in MODELS.items():
        about = f"... of {folder} (--model), with the published settings."
        table.add_row("preset", f"lm-GAME-VARIANT --size {name}", about)
    Console(markup=False).print(table)


SPEAKERS = {
    "base": "The language model without an adapter.",
    "a folder": "An adapter: a run's, or any PEFT folder.",
    "a scripted player": "One of the game's environment, such as always_defect.",
    "api:URL#MODEL": "An endpoint in the manner of OpenAI's.",
    "human": "A person in the terminal.",
}
LEARNED = {
    "tabular": "A free probability for each last outcome.",
    "mlp": "Two layers over the last outcome.",
    "gru": "A recurrent network over the whole history.",
}


def _first_line(documented) -> str:
    return inspect.getdoc(documented).splitlines()[0]
