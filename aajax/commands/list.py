"""`aajax list`: what there is, by name."""

import inspect

import tyro
from rich.console import Console
from rich.table import Table

from aajax.envs.registry import ENVIRONMENTS
from aajax.learners import lola_dice, lola_exact, loqa, presets
from aajax.policies import matrix
from aajax.policies.scripted import players
from aajax.training.presets import PRESETS


def main(arguments: list[str]) -> None:
    """Prints one table; takes no options."""
    tyro.cli(_nothing, args=arguments, prog="aajax list")
    table = Table("kind", "name", "what it is")
    for name, constructor in ENVIRONMENTS.items():
        table.add_row("world", name, _first_line(constructor))
    table.add_section()
    for name, response in matrix.RESPONSES.items():
        table.add_row("scripted player", name, _first_line(response))
    table.add_row("scripted player", "random", "Every action equally often.")
    for game in ("coin", "negotiation", "split", "trust_and_split", "harvest"):
        names = ", ".join(players(ENVIRONMENTS[game]()).names)
        table.add_row("scripted player", f"of {game}", names)
    table.add_section()
    for kind, about in LEARNED.items():
        table.add_row("learned policy", kind, about)
    table.add_section()
    for name in ("naive", "sum_of_rewards", "advantage_alignment"):
        table.add_row("algorithm", name, _first_line(getattr(presets, name)))
    for name, learner in OPPONENT_AWARE.items():
        table.add_row("algorithm", name, _first_line(learner))
    table.add_section()
    for name, (about, _) in PRESETS.items():
        table.add_row("preset", name, about)
    Console().print(table)


OPPONENT_AWARE = {"loqa": loqa, "lola": lola_dice, "lola_exact": lola_exact}
LEARNED = {
    "tabular": "A free probability for each last outcome.",
    "mlp": "Two layers over the last outcome.",
    "gru": "A recurrent network over the whole history.",
}


def _nothing() -> None:
    """Names the worlds, players, algorithms and presets."""


def _first_line(documented) -> str:
    return inspect.getdoc(documented).splitlines()[0]
