"""Strict JAX for every test: no silent promotion of dtypes or ranks.

Tests run thousands of small programs once or twice each, so that compiling is what
takes long: it is done plainly, and once for programs that are alike. Tests marked
`optimised` compile as users do; JAX_DISABLE_MOST_OPTIMIZATIONS=0 XLA_FLAGS= pytest does
so with all.
"""

import atexit
import gc
import os
import shutil
import signal
import tempfile
from importlib.metadata import version
from pathlib import Path

# Before JAX reads them, and for processes that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# A program is known by itself, and not by the folder in which it is kept.
os.environ.setdefault("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
if version("jaxlib").startswith(("0.10.", "0.11.")):  # others may not know the flags
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
    )

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Tracing makes many objects that last, which need not be gone through so often.
gc.set_threshold(50_000, 20, 50)

# Workers are told a width, which tables and help would obey.
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# Of this process alone: a program that is half written would break its reader.
_programs = tempfile.mkdtemp()
atexit.register(shutil.rmtree, _programs, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", _programs)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


MAPS = Path("/proc/self/maps")
MANY = 4_000


@pytest.fixture(scope="session", autouse=True)
def heard_interrupts():
    """A suite that a shell has put into the background is started without them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Lets go of all programs before a process has more of them than it may have.

    A program takes three memory maps and 1.4 MB or more. Linux allows a process 65530
    maps by default, beyond which XLA's compiler ends with a segmentation fault; and the
    more programs are alive, the longer it takes to lower one.
    """
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > MANY:
        jax.clear_caches()


@pytest.fixture(autouse=True)
def programs_of_users(request):
    """Tests marked `optimised` run programs as users do: learning, resuming, sampling.

    Set apart from others that were compiled plainly, before and after.
    """
    if request.node.get_closest_marker("optimised") is None:
        yield
        return
    plain = jax.config.read("jax_disable_most_optimizations")
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", plain)
    jax.clear_caches()


@pytest.fixture(params=[False, True], ids=["plain", "jit"])
def maybe_jit(request):
    """The function as it is, and compiled."""
    return jax.jit if request.param else lambda function: function
