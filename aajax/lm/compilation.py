"""Compiled programs: what is compiled is told, and kept for later processes.

A large model's program takes seconds to minutes to compile. Whoever calls one says what
it does (`compiles`); whoever waits is told what is being compiled (`heard`). JAX's
persistent compilation cache keeps programs on disk (`kept`).
"""

import contextlib
import dataclasses
import hashlib
import os
import platform
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from aajax.files import PARTIAL

PATIENCE = 3.0  # seconds of compiling after which it is told
LONGEST = 30 * 24 * 3600  # seconds without a new program after which a process is over
MOST_BYTES = 4e9  # of all programs of a folder
LEAST_SECONDS = 0.1  # that a program took to compile, to be kept
_USED, _FOLDER = "jax_enable_compilation_cache", "jax_compilation_cache_dir"
_LOWERED = "/jax/core/compile/jaxpr_to_mlir_module_duration"  # about to be compiled
_COMPILED = "/jax/core/compile/backend_compile_duration"

# What is compiled, and the seconds that it took; None when it has just begun.
Listener = Callable[[str, float | None], None]

_calling = threading.local()  # `call`: the `_Call` that the thread is in


@dataclasses.dataclass(frozen=True, eq=False)
class _Call:
    """A call of a program, and timers of what is being compiled for it."""

    program: str
    timers: dict[Listener, tuple[threading.Timer, float]]


@contextlib.contextmanager
def compiles(program: str) -> Iterator[None]:
    """Says what the program does that is called in the block.

    Args:
      program: in words that complete "compiling ...", with the sizes of which each is
        compiled separately.
    """
    before, call = getattr(_calling, "call", None), _Call(program, {})
    _calling.call = call
    try:
        yield
    finally:
        _calling.call = before
        for timer, _ in call.timers.values():  # of what was not compiled
            timer.cancel()


def called() -> str:
    """What is being called, as `compiles` says; "a program" where nothing is said."""
    call: _Call | None = getattr(_calling, "call", None)
    return "a program" if call is None else call.program


@contextlib.contextmanager
def heard(listener: Listener) -> Iterator[None]:
    """Tells `listener` of programs that take longer than a few seconds to compile.

    It is called while a program of `compiles` is compiled, from another thread, and
    once more when it is. Programs that JAX finds in its cache are read in less.
    """

    def on_event(event: str, duration_secs: float, **about: str | int) -> None:
        del duration_secs, about
        call: _Call | None = getattr(_calling, "call", None)
        if call is None:
            return
        if event == _LOWERED:
            timer = threading.Timer(PATIENCE, listener, (call.program, None))
            timer.daemon = True
            call.timers[listener] = timer, time.monotonic()
            timer.start()
        elif event == _COMPILED and listener in call.timers:
            timer, since = call.timers.pop(listener)
            timer.cancel()
            timer.join()  # so that it has been told before
            seconds = time.monotonic() - since
            if seconds > PATIENCE:
                listener(call.program, seconds)

    jax.monitoring.register_event_duration_secs_listener(on_event)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(on_event)


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[None]:
    """Keeps programs that are compiled in the block, and uses those that are there.

    JAX writes into a folder of this process alone, out of which whole files are linked
    into `folder`, since it would write them in place, where another process may read a
    half of them. Nothing is done where JAX has a cache already
    (JAX_COMPILATION_CACHE_DIR), or is told to have none
    (JAX_ENABLE_COMPILATION_CACHE=0), and where `folder` cannot be written.

    Args:
      folder: of programs; each kind of processor has a folder of its own in it.
    """
    if not _option(_USED) or _option(_FOLDER) is not None:
        yield
        return
    shared = folder / _processor()
    try:
        shared.mkdir(parents=True, exist_ok=True)
        own = tempfile.TemporaryDirectory(
            prefix=PARTIAL, dir=shared, ignore_cleanup_errors=True
        )
        _clean(shared)
        _link(shared, Path(own.name))
    except OSError:
        yield
        return

    def publish(event: str, duration_secs: float, **about: str | int) -> None:
        del duration_secs, about
        # Those before the next have been written.
        if event == _LOWERED:
            with contextlib.suppress(OSError):
                _link(Path(own.name), shared)

    with own, _cache(own.name):
        jax.monitoring.register_event_duration_secs_listener(publish)
        try:
            yield
        finally:
            jax.monitoring.unregister_event_duration_listener(publish)
            publish(_LOWERED, 0.0)


@contextlib.contextmanager
def _cache(folder: str) -> Iterator[None]:
    """JAX's persistent compilation cache in the folder."""
    options = {
        _FOLDER: folder,
        "jax_persistent_cache_min_compile_time_secs": LEAST_SECONDS,
        # Theirs would be in the folder too, and its name in the programs' keys.
        "jax_persistent_cache_enable_xla_caches": "none",
    }
    before = {name: _option(name) for name in options}
    for name, value in options.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()  # JAX asks once whether there is one
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def _option(name: str) -> Any:
    return getattr(jax.config, name)


def _link(source: Path, target: Path) -> None:
    """Makes the files of one folder appear in another, each at once."""
    there = {entry.name for entry in os.scandir(target)}
    for entry in os.scandir(source):
        if entry.name in there or not entry.is_file():
            continue
        if entry.name.startswith(PARTIAL):  # another process writes it
            continue
        partial = target / f"{PARTIAL}{secrets.token_hex(4)}"
        try:
            os.link(entry.path, partial)
        except FileNotFoundError:  # removed by another process
            continue
        except OSError:  # of a file system without links
            shutil.copyfile(entry.path, partial)
        partial.replace(target / entry.name)


def _clean(shared: Path) -> None:
    """Removes what processes that were killed have left, and the oldest programs."""
    now, programs = time.time(), []
    for entry in os.scandir(shared):
        with contextlib.suppress(FileNotFoundError):
            found = entry.stat()
            if not entry.name.startswith(PARTIAL):
                programs.append((found.st_mtime, found.st_size, entry.path))
            elif now - found.st_mtime > LONGEST:
                if entry.is_dir():
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    os.unlink(entry.path)
    size = 0
    for _, own, path in sorted(programs, reverse=True):
        size += own
        if size > MOST_BYTES:
            Path(path).unlink(missing_ok=True)


def _processor() -> str:
    """Name of a folder for processors with the same instructions."""
    text = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((x for x in lines if x.startswith(("flags", "Features"))), "")
    return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
