"""`aajax bench`: speed on this machine, as a table and a JSON file."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import tyro
from rich.console import Console
from rich.table import Table

from aajax import envs
from aajax.training import Knobs, RunConfig
from aajax.training.assemble import make_trainer
from aajax.training.metrics import write_text
from aajax.training.self_play import continued
from aajax.types import TimeStep

Name = Literal["ipd-env", "ipd-train", "ipd-job"]

# Peers, measured on 2 cores of a like machine: Pax's iterated matrix game under a
# random policy, LOQA's tabular ipd.py at its own sizes, and the paper's A100.
PEERS = {
    "ipd-env": ("env-steps/s", 33.3e6, "Pax"),
    "ipd-train": ("env-steps/s", 670e3, "LOQA"),
    "ipd-job": ("s", 50 * 60.0, "paper, on an A100"),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures speed; quotes medians over repeats."""

    only: tuple[Name, ...] = ("ipd-env", "ipd-train", "ipd-job")  # what to measure
    repeats: int = 5  # of each measurement
    out: Path = Path("runs/bench.json")  # JSON file to write


def main(arguments: list[str]) -> None:
    """Measures and reports; raises ValueError for fewer than one repeat."""
    options = tyro.cli(Options, args=arguments, prog="aajax bench")
    if options.repeats < 1:
        raise ValueError(f"repeats is {options.repeats}: at least 1 is needed")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    console = Console()
    results = {}
    for name in options.only:
        with console.status(f"measuring {name}"):
            results[name] = MEASUREMENTS[name](options.repeats)
    record = {"machine": _machine(), "results": results}
    write_text(options.out, json.dumps(record, indent=1) + "\n")
    console.print(_table(results))
    console.print(f"wrote {options.out}")


def measure_environment(repeats: int, num_games: int = 4096, num_steps: int = 1000):
    """IPD worlds under random play: all rewards and observations are summed up.

    Episodes of 100 steps start again by auto-reset. Games are the last axis, along
    which a CPU computes several at once, and one random bit is drawn per action.
    """
    env = envs.AutoReset(envs.make("ipd", num_steps=100))
    axes = TimeStep(-1, -1, -1, -1, -1)
    reset = jax.vmap(env.reset, 0, (0, axes))
    step = jax.vmap(env.step, (0, 0, -1), (0, axes))

    def draw_actions(key):
        words = jax.random.bits(key, (1, num_games // 16), jnp.uint32)
        bits = words >> jnp.arange(32, dtype=jnp.uint32)[:, None]
        return (bits & 1).astype(jnp.int32).reshape(2, num_games)

    @jax.jit
    def play(key):
        reset_key, key = jax.random.split(key)
        state, first = reset(jax.random.split(reset_key, num_games))

        def body(carry, key):
            state, *totals = carry
            action_key, step_key = jax.random.split(key)
            action = draw_actions(action_key)
            keys = jax.random.split(step_key, num_games)
            state, timestep = step(keys, state, action)
            seen = timestep.reward, timestep.observation
            return (state, *jax.tree.map(jnp.add, totals, list(seen))), None

        start = state, first.reward, first.observation
        return jax.lax.scan(body, start, jax.random.split(key, num_steps))[0]

    return _rate(lambda i: play(jax.random.key(i)), repeats, num_games * num_steps)


def measure_training(repeats: int, num_games: int = 2048, num_steps: int = 50):
    """Whole iterations (rollout and update) of tabular Advantage Alignment."""
    iterations = 20
    config = RunConfig(
        num_games=num_games, num_steps=num_steps, seeds=1, knobs=Knobs(exploration=0.2)
    )
    trainer = make_trainer(config)({})
    state = trainer.init(jax.random.key(0))

    advance = jax.jit(lambda state: continued(trainer, state, iterations))
    steps = iterations * num_games * num_steps
    return _rate(lambda i: advance(state), repeats, steps)


def measure_job(repeats: int) -> dict:
    """The main job in a new process: start, compilation, 10 seeds, league, figure."""

    def job(i: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            subprocess.run(
                [sys.executable, "-m", "aajax", "train", "ipd", "--out", str(out)],
                check=True,
                capture_output=True,
            )

    seconds = [_seconds(job, i) for i in range(repeats)]
    return {"unit": "s", "median": statistics.median(seconds), "all": seconds}


MEASUREMENTS: dict[str, Callable[[int], dict]] = {
    "ipd-env": measure_environment,
    "ipd-train": measure_training,
    "ipd-job": measure_job,
}


def _rate(run: Callable[[int], object], repeats: int, steps: int) -> dict:
    """Env-steps per second, after one run that compiles."""
    compile_seconds = _seconds(run, 0)
    rates = [steps / _seconds(run, i + 1) for i in range(repeats)]
    return {
        "unit": "env-steps/s",
        "median": statistics.median(rates),
        "all": rates,
        "first_run_seconds": compile_seconds,
    }


def _seconds(run: Callable[[int], object], i: int) -> float:
    began = time.perf_counter()
    jax.block_until_ready(run(i))
    return time.perf_counter() - began


def _machine() -> dict:
    packages = ("aajax", "jax", "jaxlib", "flax", "optax", "numpy")
    return {
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_at_end": os.getloadavg()[0],
        "devices": [str(device) for device in jax.devices()],
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()


def _table(results: dict) -> Table:
    table = Table("what", "median", "range", "peer", "ratio")
    for name, result in results.items():
        unit, peer, who = PEERS[name]
        median = result["median"]
        ratio = peer / median if unit == "s" else median / peer
        low, high = min(result["all"]), max(result["all"])
        table.add_row(
            name,
            f"{median:.3g} {unit}",
            f"{low:.3g} to {high:.3g}",
            f"{peer:.3g} ({who})",
            f"{ratio:.2g}x",
        )
    return table
