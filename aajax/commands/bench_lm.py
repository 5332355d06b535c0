"""`aajax bench lm`: speed of language models, beside torch or on an accelerator."""

import dataclasses
import functools
import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import jax
from rich.console import Console
from rich.table import Table

from aajax.commands import bench_lm_work
from aajax.commands.arguments import check_file, parse
from aajax.commands.bench_lm_work import Work
from aajax.commands.bench_timing import in_new_process, machine
from aajax.commands.progress import tell_path
from aajax.errors import InputError
from aajax.files import write_json
from aajax.lm.config import DecoderConfig, Rope
from aajax.lm.decoder import init_params
from aajax.lm.shapes import find_shape
from aajax.schema import Count, Items

SMALL = DecoderConfig(
    "qwen2",
    vocab_size=16_384,
    hidden_size=512,
    intermediate_size=2048,
    num_layers=8,
    num_heads=8,
    num_kv_heads=2,
    head_dim=64,
    tie_embeddings=True,
    attention_bias=True,
    rope=Rope(theta=1e6),
)
OURS = {
    "dialogue": bench_lm_work.measure_dialogue,
    "prefill": bench_lm_work.measure_prefill,
    "training": bench_lm_work.measure_training,
}
Names = Annotated[tuple[Literal[tuple(OURS)], ...], Items(1, distinct=True)]
COLUMNS = ("what", "by", "tokens/s", "range", "ours / it", "of bound", "peak memory")


@dataclasses.dataclass(frozen=True)
class Options:
    """Measures a language model with random weights; quotes medians over repeats.

    Dialogues keep what was read; each is set against transformers and torch on the same
    checkpoint of 39 million parameters, or with --model measured by itself.
    """

    model: str | None = None  # a published size, for accelerators; torch is not needed
    only: Names = tuple(OURS)  # what to measure
    batch: Count = 16  # dialogues, and prompts
    rounds: Count = 10  # of a dialogue
    repeats: Count = 3  # of each measurement
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
    console = Console()
    with console.status("measuring"), tempfile.TemporaryDirectory() as folder:
        if options.model is None:
            work = dataclasses.replace(work, folder=_checkpoint(config, folder))
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


def measure(work: Work, only: tuple[str, ...], repeats: int) -> dict:
    """All measurements, each in a process of its own.

    Args:
      work: with a folder, torch is measured on it too.
      only: names of `OURS`.
      repeats: of each.

    Returns:
      "device", what it was measured to do; "bounds", in tokens per second; and
      "results", by what and by whom.
    """
    device = in_new_process(_bound(bench_lm_work.measure_device, work), repeats)
    results = {}
    for name in only:
        for who, run in {"aajax": OURS[name], **_torch(work, name)}.items():
            found = in_new_process(_bound(run, work), repeats)
            host = found.pop("peak_bytes")
            peak = found.pop("device_peak_bytes", host)
            for what, rate in found.items():
                results.setdefault(what, {})[who] = rate | {"peak_bytes": peak}
    bounds = bench_lm_work.bounds(work, device)
    return {"device": device, "bounds": bounds, "results": results}


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


def _torch(work: Work, name: str) -> dict[str, Callable]:
    if work.folder is None:
        return {}
    # A library that only this comparison needs.
    from aajax.commands import bench_lm_torch

    return {
        "dialogue": {
            "torch, generate": bench_lm_torch.measure_again,
            "torch, cache kept": bench_lm_torch.measure_kept,
        },
        "prefill": {"torch": bench_lm_torch.measure_prefill},
        "training": {"torch": bench_lm_torch.measure_training},
    }[name]


def _bound(run: Callable, work: Work) -> Callable[[int], dict]:
    return functools.partial(run, work=work)


def _checkpoint(config: DecoderConfig, folder: str) -> str:
    from aajax.lm.weights import save_params

    save_params(folder, config, init_params(config, jax.random.key(0)))
    return folder
