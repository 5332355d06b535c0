"""`aajax bench lm`: speed of language models, beside torch or on an accelerator."""

import dataclasses
import importlib.util
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
from rich.table import Column, Table

from aajax.bench.lm import OURS, SMALL, Name, checkpoint, measure
from aajax.bench.lm_work import Work
from aajax.bench.timing import machine
from aajax.commands.arguments import check_file, parse
from aajax.commands.progress import tell_path
from aajax.commands.spelling import Console
from aajax.errors import InputError
from aajax.files import write_json, write_text
from aajax.lm.planning.shapes import find_config
from aajax.schema import Count, Items, called

Names = Annotated[tuple[Name, ...], Items(1, distinct=True)]
COLUMNS = ("what", "by", "tokens/s", "range", "ours / it", "of bound", "peak memory")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures the speed of a language model; medians over repeats.

    Without --model, a model of 39 million parameters is also run by transformers and
    torch, for comparison. With --model it is measured alone, and trains an adapter.
    """

    # published size, or a checkpoint folder; None: 39 million parameters
    model: str | None = None
    # random weights of the folder's shape; published sizes have no others
    random_weights: bool = False
    # run torch with the same weights too, as is always done without --model
    beside_torch: bool = False
    only: Names = tuple(OURS)  # what to measure
    batch: Count = 16  # dialogues in parallel, and prompts
    rounds: Count = 10  # rounds of a dialogue
    turn: Count = 24  # tokens that are read, and as many sampled, in a round
    prompt: Count = 256  # tokens of a prompt
    # what is trained; None: all params without --model, else an adapter
    train: Literal["params", "adapters"] | None = None
    rank: Count = 32  # rank of the adapter
    training_batch: Count = 8  # sequences of a training step
    training_length: Count = 256  # tokens of each
    repeats: Count = 3  # repeats of each measurement
    # of weights and arithmetic; None: float32 on CPUs, bfloat16 elsewhere
    dtype: Literal["float32", "bfloat16"] | None = None
    out: Path = Path("runs/bench-lm.json")  # JSON file to write
    report: Path | None = None  # Markdown file with the table to write, None: none


@called({"folder": "model"})
def main(arguments: list[str]) -> None:
    """Measures and reports; raises InputError for bad input, and without torch."""
    options = parse(Options, arguments, "aajax bench lm")
    check_files(options.out, options.report)
    beside_torch = options.model is None or options.beside_torch
    if options.dtype is None:
        is_cpu = jax.default_backend() == "cpu"
        options = dataclasses.replace(
            options, dtype="float32" if is_cpu else "bfloat16"
        )
    work = _work(options, beside_torch)
    if beside_torch:
        _check_torch()
    console = Console(markup=False, emoji=False)
    with console.status("measuring"), tempfile.TemporaryDirectory() as folder:
        if beside_torch and work.folder is None:
            work = dataclasses.replace(work, folder=checkpoint(work.config, folder))
        record = measure(work, options.only, options.repeats, beside_torch)
    record = {"machine": machine(), "work": described(options), **record}
    publish(record, options.out, options.report, console)


def check_files(out: Path, report: Path | None) -> None:
    """Raises InputError, before anything is measured, for files not to be written."""
    check_file("out", out)
    if report is not None:
        check_file("report", report)


def publish(record: dict, out: Path, markdown: Path | None, console: Console) -> None:
    """Writes a record of measurements, and prints its table."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json(out, record)
    console.print(_device(record))
    console.print(table(record))
    tell_path(console, f"wrote {out}")
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        write_text(markdown, report(record))
        tell_path(console, f"wrote {markdown}")


def _work(options: Options, beside_torch: bool) -> Work:
    config, folder = SMALL, None
    if options.model is not None:
        config = find_config(options.model)
        is_folder = Path(options.model).is_dir()
        folder = options.model if is_folder and not options.random_weights else None
    train = options.train
    if train is None:
        train = "params" if options.model is None else "adapters"
    trains_adapter = train == "adapters" and "training" in options.only
    if beside_torch and trains_adapter:
        raise InputError(
            "train is 'adapters': 'params' is needed with torch, which trains all"
        )
    if trains_adapter and options.rank > config.hidden_size:
        raise InputError(
            f"rank is {options.rank}: at most the hidden size, {config.hidden_size}, "
            "is needed"
        )
    for name, length in (
        ("rounds", 2 * options.rounds * options.turn),
        ("prompt", options.prompt),
        ("training_length", options.training_length),
    ):
        if length > config.max_length:
            most = config.max_length
            most = most // (2 * options.turn) if name == "rounds" else most
            raise InputError(
                f"{name} is {getattr(options, name)}: at most {most} is needed for "
                "this model"
            )
    return Work(
        config,
        folder,
        options.dtype or "float32",
        options.batch,
        options.rounds,
        options.turn,
        options.prompt,
        options.training_batch,
        options.training_length,
        train,
        options.rank,
    )


def _check_torch() -> None:
    """Raises InputError if a library that is measured beside ours is missing."""
    for name in ("torch", "transformers", "safetensors"):
        if importlib.util.find_spec(name) is None:
            raise InputError(
                f"{name} is not installed: pip install 'aajax[test]', or --model "
                "without --beside-torch"
            )


def described(options: Any) -> dict:
    """Options, as values for JSON, without those that name files to write."""
    record = dataclasses.asdict(options)
    return {name: x for name, x in record.items() if name not in ("out", "report")}


def _device(record: dict) -> str:
    device = record["device"]
    return (
        f"{device['bandwidth'] / 1e9:.3g} GB/s, {device['flops'] / 1e9:.4g} GFLOP/s "
        f"measured; load at end {record['machine']['load_at_end']:.1f}"
    )


def report(record: dict) -> str:
    """The table in Markdown, with what was measured and where."""
    machine, work = record["machine"], record["work"]
    versions = ", ".join(f"{name} {x}" for name, x in machine["packages"].items())
    asked = ", ".join(f"{name} {x}" for name, x in work.items() if x is not None)
    rows = [COLUMNS, ["---"] * len(COLUMNS), *_cells(record)]
    lines = [
        f"Devices: {', '.join(machine['devices'])} ({machine['processor']}); "
        f"{_device(record)}.",
        "",
        f"Versions: {versions}.",
        "",
        f"Measured: {asked}.",
        "",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def table(record: dict) -> Table:
    """Medians, ranges, how many times faster we are, and shares of bounds."""
    names = COLUMNS[:2]
    rows = Table(*(Column(name, no_wrap=name in names) for name in COLUMNS))
    for row in _cells(record):
        rows.add_row(*row)
    return rows


def _cells(record: dict) -> list[list[str]]:
    rows = []
    for what, each in record["results"].items():
        ours, bound = each["aajax"]["median"], record["bounds"].get(what)
        for who, rate in each.items():
            median, peak = rate["median"], rate["peak_bytes"]
            rows.append(
                [
                    what,
                    who,
                    f"{median:.4g}",
                    f"{min(rate['all']):.4g} to {max(rate['all']):.4g}",
                    "" if who == "aajax" else f"{ours / median:.2g}x",
                    "" if bound is None else f"{median / bound:.0%}",
                    f"{peak / 1e9:.2g} GB" if peak else "",
                ]
            )
    return rows
