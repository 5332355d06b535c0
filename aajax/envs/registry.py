"""Environments by name: those of this package, those that are registered, and files.

A name is one that `register` has seen, at once or through the entry-point group
`aajax.environments`, or says where a record is: `my_package.my_game:SPEC` or
`my_game.py:SPEC`.
"""

import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
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

GROUP = "aajax.environments"  # of entry points
_OWN = {
    spec.name: spec
    for spec in (*MATRIX_GAMES, COIN, NEGOTIATION, HARVEST, SPLIT, TRUST_AND_SPLIT)
}
_SPECS: dict[str, EnvSpec] = dict(_OWN)


def register(spec: EnvSpec) -> EnvSpec:
    """Makes an environment known by its name, to every command and function.

    Registered again under the same name it takes the place of its former self, as
    notebooks need it; the environments of this package keep their names.

    Raises:
      InputError: for what is no `EnvSpec`, or a name that this package has, that is
        empty, or that has a colon in it.
    """
    if not isinstance(spec, EnvSpec):
        raise InputError(f"spec is {spec!r}: an EnvSpec is needed")
    if not spec.name or ":" in spec.name:
        raise InputError(f"name is {spec.name!r}: a name without a colon is needed")
    if _OWN.get(spec.name, spec) is not spec:
        raise InputError(
            f"name is {spec.name!r}: one that aajax has not given away is needed"
        )
    _SPECS[spec.name] = spec
    return spec


def names() -> tuple[str, ...]:
    """Of all registered environments, those of this package first."""
    _register_installed()
    return tuple(_SPECS)


def find_spec(name: str) -> EnvSpec:
    """The environment called `name`.

    Args:
      name: a registered one, `package.module:NAME` or `file.py:NAME`.

    Raises:
      InputError: if there is none.
    """
    if name not in _SPECS:
        _register_installed()
    if name in _SPECS:
        return _SPECS[name]
    place, colon, attribute = name.rpartition(":")
    if not colon:
        raise InputError(f"game is {name!r}: one of {', '.join(_SPECS)} is needed")
    spec = getattr(_module(name, place), attribute, None)
    if not isinstance(spec, EnvSpec):
        raise InputError(
            f"game is {name!r}: an EnvSpec called {attribute!r} is needed in {place}"
        )
    return spec


def make(name: str, **options: Any) -> Environment:
    """The environment called `name`, built with its constructor's options.

    Raises:
      InputError: if there is no such environment, or it has no such option.
    """
    return find_spec(name).build(**options)


@functools.cache
def _register_installed() -> None:
    """Environments of other packages that are installed."""
    for entry in importlib.metadata.entry_points(group=GROUP):
        try:
            register(entry.load())
        except Exception as error:  # of somebody else's code
            raise InputError(
                f"entry point is {entry.name} = {entry.value!r} of {GROUP}: "
                f"{_reason(error)}"
            ) from error


def _module(name: str, place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _load_file(str(Path(place).resolve()))
        # As with `python -m`: what lies in the present folder can be imported.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        return importlib.import_module(place)
    except Exception as error:  # of somebody else's code
        raise InputError(
            f"game is {name!r}: {place} cannot be imported ({_reason(error)})"
        ) from error


@functools.cache
def _load_file(path: str) -> ModuleType:
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    name = f"{Path(path).stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # of files in .py there are
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses look for annotations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _reason(error: Exception) -> str:
    said = str(error).splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
