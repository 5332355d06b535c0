"""`aajax bench lm`: speed of language models, beside torch or on an accelerator."""

import dataclasses
import importlib.util
import tempfile
from pathlib import Path
from typing import Annotated, Literal

from rich.console import Console
from rich.table import Table

from aajax.bench.lm import OURS, SMALL, Name, checkpoint, measure
from aajax.bench.lm_work import Work
from aajax.bench.timing import machine
from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.errors import InputError
from aajax.files import write_json
from aajax.lm.planning.shapes import find_shape
from aajax.schema import Count, Items

Names = Annotated[tuple[Name, ...], Items(1, distinct=True)]
COLUMNS = ("what", "by", "tokens/s", "range", "ours / it", "of bound", "peak memory")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures the speed of a language model with random weights; medians over repeats.

    Without --model, a model of 39 million parameters is also run by transformers and
    torch, for comparison. With --model it is measured alone.
    """

    # published size, for accelerators, without torch; None: 39 million parameters
    model: str | None = None
    only: Names = tuple(OURS)  # what to measure
    batch: Count = 16  # dialogues in parallel
    rounds: Count = 10  # rounds of a dialogue
    repeats: Count = 3  # repeats of each measurement
    dtype: Literal["float32", "bfloat16"] = "float32"  # of weights and arithmetic
    out: Path = Path("runs/bench-lm.json")  # JSON file to write


def main(arguments: list[str]) -> None:
    """Measures and reports; raises InputError for bad input, and without torch."""
    options = parse(Options, arguments, "aajax bench lm")
    check_file("out", options.out)
    config = SMALL if options.model is None else find_shape(options.model)
    work = Work(config, dtype=options.dtype, batch=options.batch, rounds=options.rounds)
    length = 2 * work.rounds * work.turn
    if length > config.max_length:
        raise InputError(
            f"rounds is {options.rounds}: at most "
            f"{config.max_length // (2 * work.turn)} is needed for this model"
        )
    for name in ("torch", "transformers", "safetensors"):
        if options.model is None and importlib.util.find_spec(name) is None:
            raise InputError(
                f"{name} is not installed: pip install 'aajax[test]', or --model"
            )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    console = Console(markup=False, emoji=False)
    with console.status("measuring"), tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            work = dataclasses.replace(work, folder=checkpoint(config, folder))
        record = measure(work, options.only, options.repeats)
    record = {"machine": machine(), **record}
    write_json(options.out, record)
    device = record["device"]
    console.print(
        f"{device['bandwidth'] / 1e9:.3g} GB/s, {device['flops'] / 1e9:.4g} GFLOP/s "
        f"measured; load at end {record['machine']['load_at_end']:.1f}"
    )
    console.print(table(record))
    tell_path(console, f"wrote {options.out}")


def table(record: dict) -> Table:
    """Medians, ranges, how many times faster we are, and shares of bounds."""
    rows = Table(*COLUMNS)
    for what, each in record["results"].items():
        ours, bound = each["aajax"]["median"], record["bounds"].get(what)
        for who, rate in each.items():
            median, peak = rate["median"], rate["peak_bytes"]
            rows.add_row(
                what,
                who,
                f"{median:.4g}",
                f"{min(rate['all']):.4g} to {max(rate['all']):.4g}",
                "" if who == "aajax" else f"{ours / median:.2g}x",
                "" if bound is None else f"{median / bound:.0%}",
                f"{peak / 1e9:.2g} GB" if peak else "",
            )
    return rows
