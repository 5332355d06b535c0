"""How a measurement is taken: repeats, seconds, memory; and where."""

import contextlib
import importlib.metadata
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import jax


def in_new_process(measure: Callable[[int], dict], repeats: int) -> dict:
    """What `measure(repeats)` returns, and the most memory that it held.

    Args:
      measure: a function of a module.
      repeats: of the measurement.

    Returns:
      Its result, with "peak_bytes": resident memory of a process that does nothing
      else; None where the system does not tell.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_with_peak, measure, repeats).result()


def rate(
    run: Callable[[int], object], repeats: int, steps: int, unit: str = "env-steps/s"
) -> dict:
    """Steps per second of `run(i)`, after one run that compiles."""
    compile_seconds = seconds(run, 0)
    each = [seconds(run, i + 1) for i in range(repeats)]
    return rates(each, steps, unit, compile_seconds)


def rates(each: list[float], steps: float, unit: str, first: float) -> dict:
    """The record of repeats that took `each` seconds for so many steps.

    Args:
      each: seconds per repeat.
      steps: of a repeat.
      unit: what is counted, per second.
      first: seconds before the first repeat: compilation, or a run that compiles.
    """
    all_rates = [steps / x for x in each]
    return {
        "unit": unit,
        "median": statistics.median(all_rates),
        "all": all_rates,
        "first_run_seconds": first,
    }


def seconds(run: Callable[[int], object], i: int) -> float:
    """Wall-clock time of `run(i)`, its arrays computed."""
    began = time.perf_counter()
    jax.block_until_ready(run(i))
    return time.perf_counter() - began


def machine() -> dict:
    """Processor, devices, load and versions, as values for JSON."""
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


def _with_peak(measure: Callable[[int], dict], repeats: int) -> dict:
    result = measure(repeats)
    return {**result, "peak_bytes": peak_bytes()}


def peak_bytes() -> int | None:
    """Most resident memory of this process, since `reset_peak`; None if unknown."""
    # Not by getrusage: its maximum is inherited from the parent process.
    return _status("VmHWM:")


def resident_bytes() -> int | None:
    """Resident memory of this process; None if the system does not tell."""
    return _status("VmRSS:")


def reset_peak() -> None:
    """Has `peak_bytes` begin anew, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = [line.split()[1] for line in lines if line.startswith(name)]
    return int(found[0]) * 1024 if found else None
