"""The record of an environment, as in gymnasium: constructor and optional parts."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aajax import references, schema
from aajax.envs.base import Environment
from aajax.envs.text import TextGame
from aajax.envs.view import View
from aajax.errors import InputError
from aajax.policies.base import Policy
from aajax.types import Array, Episodes, PyTree, Tables, Trajectory


class Players(NamedTuple):
    """Scripted players: one policy, whose parameters choose the player.

    Attributes:
      policy: shared by all of them.
      names: of the players.
      params: `name -> params`; raises InputError for an unknown name.
    """

    policy: Policy
    names: tuple[str, ...]
    params: Callable[[str], PyTree]


class TextSpec(NamedTuple):
    """The text game of an environment.

    Attributes:
      name: on the command line.
      about: one sentence that describes it.
      make: its constructor, whose keyword `wording` is the name of one, such as "full"
        or "short", or a folder of templates; see `wording.load_wording`.
    """

    name: str
    about: str
    make: Callable[..., TextGame]


# measure(before, trajectory) of [T, B, N, ...] → numbers by name.
Measure = Callable[[Tables, Trajectory], dict[str, Array]]
# draw(.gif or .png, env, states [1 + T], names of players, reward f32[1 + T, N])
Draw = Callable[[Path, Any, PyTree, Sequence[str], np.ndarray], None]


_OPTIONAL = (
    *("from_payoff", "planes", "players", "measures", "training_measures"),
    *("view", "draw"),
)


@dataclasses.dataclass(frozen=True)
class EnvSpec:
    """The record of an environment: its name, constructor and optional parts.

    Parts that are None are not offered: without `players` there are no scripted
    opponents, without `measures` only rewards are reported, without `view` observations
    are printed as numbers, without `draw` there are no figures of games, and without
    `words` language models cannot play.

    Attributes:
      name: on the command line, without a colon.
      about: one sentence that describes the environment.
      make: the constructor; its keyword arguments are the environment's options,
        `num_steps` among them, after which an episode is truncated. A value on the
        command line is parsed by the option's annotation or, without one, by the type
        of its default.
      from_payoff: for iterated matrix games, a constructor whose first argument is the
        payoff tensor.
      planes: `env -> (C, H, W)`, the shape of the image in an observation
        f32[C · H · W], for convolutions.
      players: `env -> Players`, the scripted players.
      opponents: names of those that trained runs are evaluated against; None for all.
      measures: `(env, episodes) -> {name: f32[]}`, reported beside rewards when
        policies are evaluated.
      training_measures: `env -> Measure`, reported beside rewards while training.
      view: `env -> View`, how people see the game and enter actions in a terminal.
      draw: writes a figure of one game.
      words: the text game, for language models.
    """

    name: str
    about: str
    make: Callable[..., Environment]
    from_payoff: Callable[..., Environment] | None = None
    planes: Callable[[Any], tuple[int, int, int]] | None = None
    players: Callable[[Any], Players] | None = None
    opponents: tuple[str, ...] | None = None
    measures: Callable[[Any, Episodes], dict[str, Array]] | None = None
    training_measures: Callable[[Any], Measure] | None = None
    view: Callable[[Any], View] | None = None
    draw: Draw | None = None
    words: TextSpec | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or ":" in self.name:
            raise InputError(f"name is {self.name!r}: a name without a colon is needed")
        if not isinstance(self.about, str):
            raise InputError(f"about is {self.about!r}: a sentence is needed")
        for name in ("make", *_OPTIONAL):
            value = getattr(self, name)
            if not callable(value) and (name == "make" or value is not None):
                raise InputError(f"{name} is {value!r}: a function is needed")
        if self.words is not None and not isinstance(self.words, TextSpec):
            raise InputError(f"words is {self.words!r}: a TextSpec is needed")

    @property
    def options(self) -> dict[str, Any]:
        """The constructor's options, name → annotation."""
        own = schema.parameters(self.make)
        return own if self.from_payoff is None else {**own, **self.payoff_options}

    @property
    def payoff_options(self) -> dict[str, Any]:
        """Options of `from_payoff` other than `payoff` and `action_names`."""
        if self.from_payoff is None:
            return {}
        accepted = schema.parameters(self.from_payoff)
        left_out = "payoff", "action_names"
        return {name: x for name, x in accepted.items() if name not in left_out}

    def build(self, **options: Any) -> Environment:
        """Constructs the environment.

        Raises:
          InputError: for an unknown option, a required one that is missing, or a value
            that is not accepted.
        """
        schema.check_names(options, self.options, f"game {self.name!r}")
        for name in schema.required(self.make):
            if name not in options:
                accepted = schema.describe(self.options[name])
                raise InputError(
                    f"{name} is missing: {accepted} is needed in game {self.name!r}"
                )
        for constructor in (self.make, self.from_payoff):
            if constructor is not None:
                schema.check_arguments(constructor, options)
        return self.make(**options)

    def player_names(self, env: Environment) -> tuple[str, ...]:
        """Names of all scripted players."""
        return () if self.players is None else self._players(env).names

    def player(self, env: Environment, name: str) -> tuple[Policy, PyTree]:
        """The policy and the parameters of a scripted player.

        Args:
          env: that it plays.
          name: of `player_names`, `package.module:NAME` or `file.py:NAME` of a function
            env → Policy, whose parameters are ().

        Raises:
          InputError: if there is no such player, or its code fails.
        """
        if references.is_reference(name):
            return own_player(env, name), ()
        if self.players is None or not self.player_names(env):
            raise InputError(
                f"player is {name!r}: game {self.name!r} has no scripted players"
            )
        there = self._players(env)
        try:
            return there.policy, there.params(name)
        except InputError:
            raise
        except Exception as error:  # of somebody else's code
            raise InputError(
                f"player is {name!r}: params of the players of game {self.name!r} "
                f"fail ({references.reason(error)})"
            ) from error

    def _players(self, env: Environment) -> Players:
        assert self.players is not None
        try:
            return self.players(env)
        except InputError:
            raise
        except Exception as error:  # of somebody else's code
            raise InputError(
                f"players of game {self.name!r} fail ({references.reason(error)})"
            ) from error

    def opponent_names(self, env: Environment) -> tuple[str, ...]:
        """Names of the scripted players that runs are evaluated against."""
        names = self.player_names(env)
        if self.opponents is None:
            return names
        return tuple(name for name in self.opponents if name in names)


def own_player(env: Environment, name: str) -> Policy:
    """The policy that a function env → Policy makes, found by reference.

    Raises:
      InputError: if there is no such function.
    """
    kind = "a function env -> Policy"
    make = references.load(name, "player", kind)
    try:
        policy = make(env)
    except Exception as error:  # of somebody else's code
        raise InputError(
            f"player is {name!r}: {kind} is needed ({references.reason(error)})"
        ) from error
    if not isinstance(policy, Policy):
        raise InputError(
            f"player is {name!r}: {kind} is needed, and it returns "
            f"{type(policy).__name__}"
        )
    return policy
