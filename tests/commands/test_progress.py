"""What commands tell of their work."""

import io

import jax
import jax.numpy as jnp
from rich.console import Console

from aajax.api.progress import shown_progress
from aajax.commands.progress import tell_path
from aajax.lm import compilation
from aajax.training.lm_config import LmConfig


def test_paths_are_told_whole():
    line = "everything is in runs/[bold]/a-folder-whose-name-is-longer-than-a-line/"
    out = io.StringIO()
    tell_path(Console(file=out, width=20), line)
    assert out.getvalue() == f"{line}\n"


def test_a_run_tells_what_it_compiles(monkeypatch):
    monkeypatch.setattr(compilation, "PATIENCE", -1.0)
    out, numbers = io.StringIO(), jnp.ones(3)
    console = Console(file=out, width=20)
    with (
        shown_progress(LmConfig(game="chicken"), console=console),
        compilation.compiles("reading 2 x 16 tokens"),
    ):
        jax.jit(lambda x: x - 17)(numbers)
    assert "chicken: compiled in 0 s: reading 2 x 16 tokens" in out.getvalue()
