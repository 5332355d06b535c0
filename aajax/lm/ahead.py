"""Programs that were compiled before a run, on another machine, and are used in it.

A program is known by its text: what JAX hands to the compiler, constants and shardings
included. So one is never used in place of another, whatever a run was asked for; of
what is not there it is said that it is compiled.
"""

import contextlib
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax

from aajax.lm.compilation import called

_log = logging.getLogger(__name__)

NARROWEST = 16  # tokens that are read at once; widths are powers of two from here on

Compiled = jax.stages.Compiled


class Sizes(NamedTuple):
    """What programs are given, to which a run pads, so that few are compiled.

    Attributes:
      slots: of the cache of a sequence, from the first token on.
      chunk: tokens of each prompt that are read at once, at most.
      answer: tokens that there is room for in an answer.
      length: tokens of a sequence that is learned from.
      targets: sampled tokens of it.
      play_tensor: devices that share a copy of the weights while the run plays.
    """

    slots: int
    chunk: int
    answer: int
    length: int
    targets: int
    play_tensor: int

    @property
    def widths(self) -> list[int]:
        """Numbers of tokens that are read at once, ascending."""
        widths = [self.chunk]
        while widths[0] > NARROWEST:
            widths.insert(0, 1 << (widths[0] - 1).bit_length() - 1)
        return widths

    def width(self, number: int) -> int:
        """The smallest of `widths` for so many tokens, the largest for more."""
        return next((width for width in self.widths if width >= number), self.chunk)


def fingerprint(lowered: jax.stages.Lowered) -> str:
    """Of a program's text."""
    return hashlib.sha256(lowered.as_text().encode()).hexdigest()


class _Known(NamedTuple):
    """Programs in use.

    Attributes:
      programs: by fingerprint.
      calls: program, or None where there is none, by what a function is called with.
    """

    programs: Mapping[str, Compiled]
    calls: dict[Any, Compiled | None]


_known: list[_Known] = []  # at most one


@contextlib.contextmanager
def used(programs: Mapping[str, Compiled]) -> Iterator[None]:
    """Uses programs in the block where a function of `ready` has one of them.

    Args:
      programs: by fingerprint; without any nothing is done.
    """
    if not programs:
        yield
        return
    _known.append(_Known(programs, {}))
    try:
        yield
    finally:
        _known.pop()


def ready(function: Callable, num_static: int = 0) -> Callable:
    """The compiled function, which takes programs in use where there is one.

    Args:
      function: of `jax.jit`, to be called as it is traced, by position and by name.
      num_static: how many arguments are static, the first ones.
    """
    if not _known:
        return function
    return functools.partial(_call, _known[-1], function, num_static)


def _call(
    known: _Known, function: Any, num_static: int, /, *arguments: Any, **named: Any
) -> Any:
    static, given = arguments[:num_static], arguments[num_static:]
    leaves, tree = jax.tree.flatten((given, named))
    kinds = tuple((jax.typeof(x), getattr(x, "sharding", None)) for x in leaves)
    key = function, static, tree, kinds
    if key not in known.calls:
        found = fingerprint(function.trace(*arguments, **named).lower())
        known.calls[key] = known.programs.get(found)
        if found not in known.programs:
            _log.warning("%s is not among the programs: it is compiled", called())
    program = known.calls[key]
    if program is None:
        return function(*arguments, **named)
    return program(*given, **named)
