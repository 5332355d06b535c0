"""Objects by reference: `package.module:NAME`, as in entry points, or `file.py:NAME`.

A file is imported once, whatever path leads to it, and may import modules that lie
beside it, as with `python file.py`.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from aajax.errors import InputError

FORMS = "package.module:NAME or file.py:NAME"

_FILES: dict[str, ModuleType] = {}  # what was imported, by its path


def is_reference(text: object) -> bool:
    """Whether a text has one of the two forms; what it refers to may not be there."""
    if not isinstance(text, str):
        return False
    place, _, name = text.rpartition(":")
    return bool(place) and name.isidentifier()


def absolute(text: Any) -> Any:
    """A reference into a file, by the file's absolute path; anything else as it is.

    So it is found from other working directories.
    """
    if not is_reference(text):
        return text
    place, _, name = text.rpartition(":")
    return f"{Path(place).resolve()}:{name}" if place.endswith(".py") else text


def load(
    reference: str, argument: str, kind: str, fits: Callable[[Any], bool] = callable
) -> Any:
    """The object that a reference names.

    Args:
      reference: of one of the two forms.
      argument: what gave it, for errors.
      kind: what is needed, in words, with its article: "an EnvSpec".
      fits: whether an object is of that kind.

    Raises:
      InputError: in one line, if the file or module is not there, cannot be imported,
        or has no object of that name and kind.
    """
    place, _, name = reference.rpartition(":")
    module = _module(f"{argument} is {reference!r}", place)
    found = getattr(module, name, None)
    if hasattr(module, name) and fits(found):
        return found
    if hasattr(module, name):
        remark = f", and it is of type {type(found).__name__}"
    else:
        there = [own for own, x in vars(module).items() if _is_own(own, x) and fits(x)]
        more = ", ..." if there[5:] else ""
        remark = f", which has {', '.join(there[:5])}{more}" if there else ""
    raise InputError(
        f"{argument} is {reference!r}: {kind} called {name!r} is needed in {place}"
        f"{remark}"
    )


def reason(error: BaseException, place: str | None = None) -> str:
    """What went wrong in somebody else's code, in one line.

    Args:
      error: as it was raised.
      place: the file whose line is named, if the error arose from one of its.
    """
    said = [line for line in str(error).splitlines() if line.strip()]
    text = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    if place is None or isinstance(error, SyntaxError):
        return text
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == place]
    return f"{text}, in line {own[-1]}" if own else text


def _is_own(name: str, value: Any) -> bool:
    return not name.startswith("_") and not isinstance(value, ModuleType)


def _module(label: str, place: str) -> ModuleType:
    is_file = place.endswith(".py")
    path = str(Path(place).resolve()) if is_file else place
    if is_file and not Path(path).is_file():
        raise InputError(f"{label}: there is no file {place}")
    try:
        if is_file:
            return _load_file(path)
        # As with `python -m`: what lies in the present folder can be imported.
        if "" not in sys.path and str(Path.cwd()) not in sys.path:
            sys.path.append(str(Path.cwd()))
        module = importlib.import_module(place)
        return _FILES.setdefault(str(getattr(module, "__file__", place)), module)
    except (Exception, SystemExit) as error:  # of somebody else's code
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name == place.split(".")[0]:
            hint = f"; it is neither installed nor in {Path.cwd()}"
        raise InputError(
            f"{label}: {place} cannot be imported ({reason(error, path)}{hint})"
        ) from error


def _load_file(path: str) -> ModuleType:
    """The module of a file, the same that an import by name gives."""
    if path in _FILES:
        return _FILES[path]
    for module in [*sys.modules.values()]:
        if getattr(module, "__file__", None) == path:
            return module
    digest = hashlib.sha256(path.encode()).hexdigest()[:8]
    name = f"{Path(path).stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # as of every name in .py
    module = importlib.util.module_from_spec(spec)
    folder = str(Path(path).parent)
    if folder not in sys.path:
        sys.path.append(folder)
    sys.modules[name] = module  # where dataclasses look for annotations
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return _FILES.setdefault(path, module)
