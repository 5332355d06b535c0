"""Environments by name."""

from typing import Any

from aajax.envs.base import Environment
from aajax.envs.coin.spec import SPEC as COIN
from aajax.envs.harvest.spec import SPEC as HARVEST
from aajax.envs.matrix.spec import SPECS as MATRIX_GAMES
from aajax.envs.negotiation.spec import SPEC as NEGOTIATION
from aajax.envs.spec import EnvSpec
from aajax.envs.split.spec import SPEC as SPLIT
from aajax.envs.trust_and_split.spec import SPEC as TRUST_AND_SPLIT
from aajax.errors import InputError

_SPECS: dict[str, EnvSpec] = {}


def register(spec: EnvSpec) -> EnvSpec:
    """Makes an environment known by its name, to every command and function.

    Raises:
      InputError: if another environment has that name, or its name in words.
    """
    known = _SPECS.get(spec.name)
    if known is not None and known is not spec:
        raise InputError(f"name is {spec.name!r}: one that is not taken is needed")
    _SPECS[spec.name] = spec
    return spec


def names() -> tuple[str, ...]:
    """Of all environments, in the order in which they were registered."""
    return tuple(_SPECS)


def find_spec(name: str) -> EnvSpec:
    """The environment called `name`.

    Raises:
      InputError: if there is none.
    """
    if name not in _SPECS:
        raise InputError(f"game is {name!r}: one of {', '.join(_SPECS)} is needed")
    return _SPECS[name]


def make(name: str, **options: Any) -> Environment:
    """The environment called `name`, built with its constructor's options.

    Raises:
      InputError: if there is no such environment, or it has no such option.
    """
    return find_spec(name).build(**options)


for _spec in (*MATRIX_GAMES, COIN, NEGOTIATION, HARVEST, SPLIT, TRUST_AND_SPLIT):
    register(_spec)
