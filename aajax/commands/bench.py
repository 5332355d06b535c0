"""`aajax bench`: speed on this machine, as a table and a JSON file."""

import dataclasses
import functools
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from rich.table import Column, Table

from aajax.bench import environments, training
from aajax.bench.timing import in_new_process, machine
from aajax.commands import bench_lm
from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.extras import check_installed
from aajax.files import write_json
from aajax.schema import Count, Items

Name = Literal[
    "ipd-env",
    "coin-env",
    "negotiation-env",
    "harvest-env",
    "ipd-train",
    "coin-train",
    "coin-train-pool",
    "negotiation-train",
    "negotiation-discrete",
    "harvest-train",
    "ipd-job",
]
Names = Annotated[tuple[Name, ...], Items(1, distinct=True)]
COLUMNS = ("median", "range", "peer", "ratio", "peak memory")
# They take minutes, and are measured only when asked for.
SLOW: tuple[Name, ...] = ("negotiation-discrete", "harvest-train")

# Peers, measured on 2 cores of a like machine: Pax's environments under a random
# policy, the published code of LOQA and of Advantage Alignment at their own sizes, and
# the paper's A100. The code of Advantage Alignment cannot train the large networks at
# the batch that is measured here, for want of memory; its rate is that of an eighth.
# SocialJax's map of apples has other rules, and the same window; Melting Pot's engine
# plays one game, about 1450 steps a second with its pictures. Nobody's training there
# was timed.
PEERS: dict[Name, tuple[str, float | None, str | None]] = {
    "ipd-env": ("env-steps/s", 110e6, "Pax"),
    "coin-env": ("env-steps/s", 2.25e6, "Pax"),
    "negotiation-env": ("env-steps/s", 5.56e6, "Advantage Alignment"),
    "harvest-env": ("env-steps/s", 5860.0, "SocialJax"),
    "ipd-train": ("env-steps/s", 670e3, "LOQA"),
    "coin-train": ("env-steps/s", 35.2e3, "LOQA"),
    "coin-train-pool": ("env-steps/s", 9.36e3, "LOQA"),
    "negotiation-train": ("agent-steps/s", 42.6e3, "Advantage Alignment"),
    "negotiation-discrete": ("agent-steps/s", 3.48e3, "Advantage Alignment"),
    "harvest-train": ("env-steps/s", None, ""),
    "ipd-job": ("s", 50 * 60.0, "paper, on an A100"),
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures speed; quotes medians over repeats.

    For language models see `aajax bench lm --help`, `aajax bench lm-iteration --help`
    and `aajax bench lm-population --help`.
    """

    only: Names = tuple(n for n in PEERS if n not in SLOW)  # what to measure
    repeats: Count = 5  # repeats of each measurement
    out: Path = Path("runs/bench.json")  # JSON file to write


def _of_words(command: str, arguments: list[str]) -> None:
    """Measures what plays and learns in words, which needs an extra."""
    check_installed("lm", "transformers", "safetensors")
    importlib.import_module(f"aajax.commands.{command}").main(arguments)


def main(arguments: list[str]) -> None:
    """Measures and reports; raises InputError for bad input."""
    if arguments[:1] and arguments[0] in OF_MODELS:
        OF_MODELS[arguments[0]](arguments[1:])
        return
    options = parse(Options, arguments, "aajax bench")
    check_file("out", options.out)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    console = Console(markup=False, emoji=False)
    results = {}
    for name in options.only:
        with console.status(f"measuring {name}"):
            results[name] = in_new_process(MEASUREMENTS[name], options.repeats)
    record = {"machine": machine(), "results": results}
    write_json(options.out, record)
    console.print(_table(results))
    for name, result in results.items():
        if "note" in result:
            console.print(f"{name}: {result['note']}", soft_wrap=True)
    tell_path(console, f"wrote {options.out}")


OF_MODELS: dict[str, Callable[[list[str]], None]] = {
    "lm": bench_lm.main,
    "lm-iteration": functools.partial(_of_words, "bench_lm_iteration"),
    "lm-population": functools.partial(_of_words, "bench_lm_population"),
}
MEASUREMENTS: dict[Name, Callable[[int], dict]] = {
    "ipd-env": environments.measure_ipd,
    "coin-env": environments.measure_coin,
    "negotiation-env": environments.measure_negotiation,
    "harvest-env": environments.measure_harvest,
    "ipd-train": training.measure_ipd,
    "coin-train": training.measure_coin,
    "coin-train-pool": training.measure_coin_pool,
    "negotiation-train": training.measure_negotiation,
    "negotiation-discrete": training.measure_discrete,
    "harvest-train": training.measure_harvest,
    "ipd-job": training.measure_job,
}


def _table(results: dict) -> Table:
    whole = [Column(name, no_wrap=True) for name in ("what", "unit")]
    table = Table(*whole, *(Column(name, overflow="fold") for name in COLUMNS))
    for name, result in results.items():
        unit, peer, who = PEERS[name]
        median = result["median"]
        against, ratio = "", ""
        if peer is not None:
            against = f"{peer:.3g} ({who})"
            ratio = f"{peer / median if unit == 's' else median / peer:.2g}x"
        peak = result["peak_bytes"]
        low, high = min(result["all"]), max(result["all"])
        table.add_row(
            name,
            unit,
            f"{median:.3g}",
            f"{low:.3g} to {high:.3g}",
            against,
            ratio,
            f"{peak / 1e9:.2g} GB" if peak else "",
        )
    return table
