"""Environments by name: those of this package, those that are registered, and files.

A name is one that `register` has seen, at once or through the entry-point group
`aajax.environments`, says where a record is, `my_package.my_game:SPEC` or
`my_game.py:SPEC`, or is another library's: `jaxmarl:coin_game`, `gymnax:CartPole-v1`.
"""

import functools
import importlib
import importlib.metadata
import logging
from typing import Any

from aajax import references
from aajax.envs.base import Environment
from aajax.envs.coin.spec import SPEC as COIN
from aajax.envs.harvest.spec import SPEC as HARVEST
from aajax.envs.matrix.spec import SPECS as MATRIX_GAMES
from aajax.envs.meta_matrix.spec import SPEC as META_IPD
from aajax.envs.negotiation.spec import SPEC as NEGOTIATION
from aajax.envs.public_goods.spec import SPEC as PUBLIC_GOODS
from aajax.envs.spec import EnvSpec
from aajax.envs.split.spec import SPEC as SPLIT
from aajax.envs.trust_and_split.spec import SPEC as TRUST_AND_SPLIT
from aajax.errors import InputError

_log = logging.getLogger(__name__)

GROUP = "aajax.environments"  # of entry points
LIBRARIES = ("jaxmarl", "gymnax")  # whose environments have names here too
_OWN = {
    spec.name: spec
    for spec in (
        *(*MATRIX_GAMES, META_IPD, COIN, NEGOTIATION, HARVEST),
        *(SPLIT, TRUST_AND_SPLIT, PUBLIC_GOODS),
    )
}
_SPECS: dict[str, EnvSpec] = dict(_OWN)


def register(spec: EnvSpec) -> EnvSpec:
    """Registers an environment under `spec.name`, for all commands and functions.

    Registering a name again replaces the earlier record, as when a notebook cell is run
    twice; the names of this package's environments cannot be replaced.

    Returns:
      `spec`.

    Raises:
      InputError: if `spec` is not an `EnvSpec`, or its name is one of this package's.
    """
    if not _is_spec(spec):
        raise InputError(f"spec is {spec!r}: an EnvSpec is needed")
    if _OWN.get(spec.name, spec) is not spec:
        raise InputError(
            f"name is {spec.name!r}: one that aajax has not given away is needed"
        )
    _SPECS[spec.name] = spec
    return spec


def names() -> tuple[str, ...]:
    """Names of all registered environments, those of this package first."""
    _register_installed()
    return tuple(_SPECS)


def find_spec(name: str) -> EnvSpec:
    """The environment called `name`.

    Args:
      name: a registered one, `package.module:NAME`, `file.py:NAME`, or one of another
        library, `jaxmarl:NAME` or `gymnax:NAME`.

    Raises:
      InputError: if there is none, or what is named cannot be imported.
    """
    if name not in _SPECS:
        _register_installed()
    if name in _SPECS:
        return _SPECS[name]
    library, colon, attribute = name.partition(":")
    if colon and library in LIBRARIES:
        # Needs the library, and so is imported only here.
        adapter = importlib.import_module(f"aajax.envs.adapters.{library}")
        return adapter.spec(attribute)
    if not references.is_reference(name):
        known = ", ".join(_SPECS)
        raise InputError(
            f"game is {name!r}: one of {known}, or {references.FORMS} of an EnvSpec, "
            "is needed"
        )
    return references.load(name, "game", "an EnvSpec", _is_spec)


def make(name: str, **options: Any) -> Environment:
    """Builds the environment called `name` with its constructor's options.

    Raises:
      InputError: if there is no such environment, or it has no such option.
    """
    return find_spec(name).build(**options)


@functools.cache
def _register_installed() -> None:
    """Registers the entry points of installed packages.

    One that cannot be loaded is skipped, so that the others remain usable.
    """
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            register(entry.load())
        except Exception as error:  # of somebody else's code
            _log.warning(
                "entry point %s = %r of %s is left out: %s",
                *(entry.name, entry.value, GROUP, references.reason(error)),
            )


def _is_spec(x: object) -> bool:
    return isinstance(x, EnvSpec)
