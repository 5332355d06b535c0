"""What is compiled is told, and kept for later processes."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import jax
import jax.numpy as jnp
import pytest

from aajax.lm import compilation
from aajax.lm.compilation import compiles, heard, kept


@pytest.fixture
def told():
    found = []
    with heard(lambda *about: found.append(about)):
        yield found


def slowly(monkeypatch, told, patience=0.01):
    """A program whose compiler is waited for until it has been told."""
    monkeypatch.setattr(compilation, "PATIENCE", patience)

    def waits(event, duration, **about):
        if event == compilation._LOWERED:
            deadline = time.monotonic() + 20
            while not told and time.monotonic() < deadline:
                time.sleep(0.001)

    return waits


def test_what_takes_long_is_told_before_and_after(told, monkeypatch):
    waits = slowly(monkeypatch, told)
    program, numbers = jax.jit(lambda x: jnp.sort(x) + 1), jnp.ones(8)
    jax.monitoring.register_event_duration_secs_listener(waits)
    try:
        with compiles("sorting 8 numbers"):
            program(numbers)
    finally:
        jax.monitoring.unregister_event_duration_listener(waits)
    assert [name for name, _ in told] == ["sorting 8 numbers"] * 2
    assert told[0][1] is None and told[1][1] > 0.01
    with compiles("sorting 8 numbers"):
        program(numbers)
    assert len(told) == 2  # it is compiled


def test_nothing_is_told_of_what_is_quick_or_has_no_name(told, monkeypatch):
    with compiles("quick"):
        jax.jit(lambda x: x * 3)(jnp.ones(3))
    monkeypatch.setattr(compilation, "PATIENCE", 0.0)
    jax.jit(lambda x: x * 4)(jnp.ones(3))
    assert told == []
    with compiles("outer"):
        with compiles("inner"):
            pass
        assert compilation._calling.call.program == "outer"
    assert compilation._calling.call is None


def test_a_compiler_that_fails_is_not_waited_for(told, monkeypatch):
    monkeypatch.setattr(compilation, "PATIENCE", 60.0)
    with compiles("a failure"):
        jax.monitoring.record_event_duration_secs(compilation._LOWERED, 0.1)
        ((timer, _),) = compilation._calling.call.timers.values()
        assert timer.is_alive()
    timer.join(20)
    assert not timer.is_alive() and told == []


PROGRAM = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp
from aajax.lm import compilation
compilation.LEAST_SECONDS = 0
hits = []
jax.monitoring.register_event_listener(
    lambda event, **about: hits.append(event) if event.endswith("cache_hits") else None
)
jax.jit(lambda x: x - 1)(1.0)  # before there is a cache
with compilation.kept(Path(sys.argv[1])):
    found = jax.jit(lambda x: jnp.sin(x) * 2)(jnp.arange(3.0))
print(len(hits), found.tolist(), jax.config.jax_compilation_cache_dir)
"""


def process(folder):
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    own.pop("JAX_COMPILATION_CACHE_DIR", None)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", PROGRAM, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=own,
    )


def test_programs_are_kept_for_later_processes(tmp_path):
    """Two at once, then one that finds what they left."""
    two = [process(tmp_path), process(tmp_path)]
    said = [one.communicate() for one in two]
    assert [err for _, err in said] == ["", ""]
    out, err = process(tmp_path).communicate()
    assert err == "" and int(out.split()[0]) > 0
    assert out.split(maxsplit=1)[1] == said[0][0].split(maxsplit=1)[1]
    assert out.endswith("None\n")
    (shared,) = tmp_path.iterdir()
    names = [entry.name for entry in shared.iterdir()]
    assert names and all(name.startswith("jit_") for name in names)


def test_a_cache_of_somebody_elses_stays(tmp_path):
    before = jax.config.jax_compilation_cache_dir
    assert before is not None  # of the tests
    with kept(tmp_path):
        assert jax.config.jax_compilation_cache_dir == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("used", [True, False])
def test_whoever_wants_none_has_none(used, tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(compilation, "_option", {compilation._USED: used}.get)
    monkeypatch.setattr(
        compilation,
        "_cache",
        lambda folder: found.append(folder) or contextlib.nullcontext(),
    )
    with kept(tmp_path):
        assert len(found) == used
    assert len(list(tmp_path.iterdir())) == used


def test_what_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(
        compilation, "_option", lambda name: name.startswith("jax_en") or None
    )
    (tmp_path / "file").write_text("")
    ran = False
    with kept(tmp_path / "file" / "programs"):
        ran = True
    assert ran and jax.config.jax_compilation_cache_dir is not None


def test_old_programs_and_what_was_left_are_removed(tmp_path, monkeypatch):
    left = tmp_path / f"{compilation.PARTIAL}1"
    left.mkdir()
    alive = tmp_path / f"{compilation.PARTIAL}2"
    alive.mkdir()
    os.utime(left, (0, 0))
    for age, name in enumerate(["new", "middle", "old"]):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    monkeypatch.setattr(compilation, "MOST_BYTES", 25)
    compilation._clean(tmp_path)
    names = {entry.name for entry in tmp_path.iterdir()}
    assert names == {"new", "middle", alive.name}


@pytest.mark.parametrize("linked", [True, False])
def test_files_appear_at_once(tmp_path, linked, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir(), target.mkdir()
    (source / "a").write_text("a")
    (source / "b").write_text("theirs")
    (target / "b").write_text("ours")
    (source / f"{compilation.PARTIAL}c").write_text("half")
    if not linked:

        def refuse(*paths):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(compilation.os, "link", refuse)
    compilation._link(source, target)
    found = {entry.name: entry.read_text() for entry in target.iterdir()}
    assert found == {"a": "a", "b": "ours"}


def test_threads_have_programs_of_their_own():
    seen = []
    with compiles("here"):
        other = threading.Thread(
            target=lambda: seen.append(getattr(compilation._calling, "call", None))
        )
        other.start()
        other.join()
    assert seen == [None]
