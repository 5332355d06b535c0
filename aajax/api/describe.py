"""What `aajax list` names: environments, players, algorithms, presets, by name."""

import difflib
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Annotated, Any, NamedTuple, cast

import jax

from aajax import envs, schema
from aajax.api.evaluation import measure_of
from aajax.api.presets import Config, find_preset, presets
from aajax.dialogue import registry
from aajax.dialogue.players.scripted import scripted_names
from aajax.envs.matrix import IteratedMatrixGame
from aajax.envs.matrix import players as matrix
from aajax.errors import InputError
from aajax.policies.seating import seated
from aajax.rollout import play_episodes
from aajax.tournament import outcome_names
from aajax.training.algorithms import ALGORITHMS
from aajax.training.assemble import make_policies
from aajax.training.config import RunConfig


class Option(NamedTuple):
    """What may be set.

    Attributes:
      name: of the option.
      value: that it has, or its default; `inspect.Parameter.empty` for none.
      accepts: in words.
    """

    name: str
    value: Any
    accepts: str


class Description(NamedTuple):
    """What there is under a name.

    Attributes:
      kind: "environment", "scripted player", "game in words", "player in words",
        "learned policy", "algorithm" or "preset".
      name: itself.
      about: in a sentence.
      options: that it accepts.
      players: that come with it.
      measures: of play, beside the reward.
    """

    kind: str
    name: str
    about: str
    options: tuple[Option, ...]
    players: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()


SPEAKERS = {
    "base": "The language model without an adapter.",
    "a folder": "An adapter: a run's, or any PEFT folder.",
    "model:MODEL": "Another language model by itself.",
    "a scripted player": "One of the game's environment, such as always_defect.",
    "api:URL#MODEL": "An endpoint in the manner of OpenAI's.",
    "human": "A person in the terminal.",
}
"""Players of games in words."""
LEARNED = {
    "tabular": "A free probability for each last outcome.",
    "mlp": "Two layers over the last outcome.",
    "gru": "A recurrent network over the whole history.",
    "transformer": "Attention over the whole history.",
}
"""Policies that are trained."""


def scripted() -> dict[str, str]:
    """Scripted players of matrix games, and what each does."""
    about = {name: first_line(make) for name, make in matrix.RESPONSES.items()}
    return {**about, "random": "Every action equally often."}


def first_line(documented: Any) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(documented) or "").partition("\n")[0]


def describe(name: str) -> list[Description]:
    """All that is called so, such as an environment and a preset.

    Raises:
      InputError: if there is nothing.
    """
    found = []
    if name in envs.names() or ":" in name:
        found.append(_environment(name))
    players = _players()
    if name in players:
        games = f"Plays {', '.join(players[name])}."
        about = " ".join(filter(None, (scripted().get(name), games)))
        found.append(Description("scripted player", name, about, ()))
    if name in registry.text_specs():
        found.append(_words(name))
    algorithms = {each.name: each.about for each in ALGORITHMS.values()}
    plain = {
        "player in words": SPEAKERS,
        "learned policy": LEARNED,
        "algorithm": algorithms,
    }
    for kind, abouts in plain.items():
        if name in abouts:
            found.append(Description(kind, name, abouts[name], ()))
    if name in presets():
        found.append(_preset(name))
    if not found:
        every = [*envs.names(), *players, *registry.text_specs(), *presets()]
        every += [one for abouts in plain.values() for one in abouts]
        likely = difflib.get_close_matches(name, dict.fromkeys(every), n=3)
        advice = f"; is {' or '.join(likely)} meant?" if likely else ""
        raise InputError(f"name is {name!r}: one that aajax list has is needed{advice}")
    return found


def _players() -> dict[str, list[str]]:
    """Scripted players, and the environments that each plays in."""
    found: dict[str, list[str]] = {}
    for game in envs.names():
        spec = envs.find_spec(game)
        if spec.players is not None:
            for name in spec.player_names(spec.make()):
                found.setdefault(name, []).append(game)
    return found


def _environment(name: str) -> Description:
    spec = envs.find_spec(name)
    env = spec.make()
    constructors = [spec.make, *([spec.from_payoff] if spec.from_payoff else [])]
    options = _options(spec.options, *constructors)
    players = spec.player_names(env)
    measures = measure_names(name)
    return Description("environment", name, spec.about, options, players, measures)


def measure_names(game: str) -> tuple[str, ...]:
    """Names of what evaluations measure of play in an environment, beside reward."""
    config = RunConfig(game=game, policy="mlp", parameters="separate")
    spec = envs.find_spec(game)
    env = spec.make()
    policies = make_policies(config, env)
    table = seated(policies, [[seat] for seat in range(env.num_agents)])
    measure = measure_of(spec, env)

    def measured(key: jax.Array) -> dict[str, jax.Array]:
        return measure(play_episodes(key, env, table, table.init(key), 1, 2))

    names = [*jax.eval_shape(measured, jax.random.key(0))]
    if spec.from_payoff is not None:
        matrix_game = cast(IteratedMatrixGame, env)
        first = matrix_game.action_names[0]
        names += [f"P({first} | {outcome})" for outcome in outcome_names(matrix_game)]
    return tuple(name for name in names if name != "reward with itself")


def _words(name: str) -> Description:
    spec = registry.find_text_spec(name)
    options = _options(registry.parameters(name), spec.make)
    players = tuple(scripted_names(registry.make(name)))
    return Description("game in words", name, spec.about, options, players)


def _preset(name: str) -> Description:
    about, config = find_preset(name)
    return Description("preset", name, about, settings(config))


def settings(config: Config) -> tuple[Option, ...]:
    """All options of a run, with the values that they have."""
    return tuple(
        Option(name, value, _values(annotation))
        for name, annotation, value in schema.options(type(config), config)
    )


def _values(annotation: Any) -> str:
    """What an option of a run accepts."""
    kind, marks = schema.split(annotation)
    if typing.get_origin(kind) is not tuple:
        return schema.describe(annotation)
    each = typing.get_args(kind)[0]
    return f"values, each {schema.describe(Annotated[each, *marks, None])}"


def _options(
    accepted: Mapping[str, Any], *constructors: Callable[..., Any]
) -> tuple[Option, ...]:
    defaults: dict[str, Any] = {}
    for make in constructors:
        for name, parameter in inspect.signature(make).parameters.items():
            defaults.setdefault(name, parameter.default)
    return tuple(
        Option(name, defaults[name], _accepted(annotation))
        for name, annotation in accepted.items()
    )


def _accepted(annotation: Any) -> str:
    """What an option of a game accepts as name=value.

    An array is left out where a number would do too.
    """
    words = []
    for kind, marks in schema.alternatives(annotation):
        if kind is Sequence:
            words.append("nested lists of numbers, or a .json or .npy file of them")
        elif typing.get_origin(kind) is tuple:
            words.append(f"{describe_tuple(kind)} with commas between them")
        elif kind not in (jax.Array, NoneType):
            words.append(schema.describe(Annotated[kind, *marks, None]))
    return ", or ".join(dict.fromkeys(words))


def describe_tuple(kind: Any) -> str:
    """What a tuple holds: 4 values, each a whole number."""
    each = typing.get_args(kind)
    count = "values" if each[-1] is Ellipsis else f"{len(each)} values"
    return f"{count}, each {schema.describe(each[0])},"
