"""`aajax lm`: whether a decoder fits on a mesh, without its weights; pocket models."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.table import Table

from aajax.api.progress import progress_bar
from aajax.commands.arguments import choose, parse
from aajax.commands.progress import print_help
from aajax.commands.spelling import Console
from aajax.dialogue.play.seating import Seating
from aajax.dialogue.pocket import PocketConfig, train_pocket
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.files import check_empty
from aajax.lm.checkpoints.find import import_model
from aajax.lm.planning.bounds import (
    Iteration,
    LinkRate,
    Rates,
    Seconds,
    iteration_seconds,
)
from aajax.lm.planning.dry_run import Estimate, Job, estimate, fits
from aajax.lm.planning.shapes import find_config
from aajax.schema import Count, Positive, called
from aajax.training.lm_config import LmConfig, Lora

Model = Annotated[str, tyro.conf.arg(metavar="SIZE")]
PARTS = (
    *("params", "adapters", "optimizer", "gradient"),
    *("activations", "working", "past", "copy", "cache", "reading"),
)


@dataclasses.dataclass(frozen=True)
class DryRun:
    """Estimates the memory per device of a training job, without its weights.

    With --tflops and --memory-gbs it also bounds the time of an iteration. For devices
    that --topology names, which need not be there, it compiles a run's programs, and
    tells what they take.
    """

    # published size such as qwen2.5-7b, or a checkpoint folder
    model: tyro.conf.Positional[Model]
    data: Count = 1  # mesh axis: devices that each hold a copy of the weights
    fsdp: Count = 1  # mesh axis: devices that share weights and batch
    tensor: Count = 1  # mesh axis: devices that share heads and hidden units
    memory_gb: Positive = 80.0  # memory of a device in GB (10⁹ bytes)
    batch: Count = 64  # sequences per training step, over all devices
    # sequences at a time in the closing evaluation, or in a league; None: batch
    evaluated: Count | None = None
    length: Count = 2048  # tokens per sequence
    # what is trained: adapters, or all parameters
    train: Literal["adapters", "params"] = "adapters"
    rank: Count = 32  # rank of the adapters
    num_adapters: Count = 1  # adapters that play: the trained one, and past selves
    remat: bool = True  # recompute activations in the backward pass to save memory
    num_microbatches: Count = 1  # gradient accumulation: parts of a batch
    # of the arithmetic and of frozen weights
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    # tokens of a sequence that are sampled, for times; None: a quarter
    sampled: Count | None = None
    # speed of a device in TFLOP/s, for times; None: no times
    tflops: Positive | None = None
    # memory bandwidth of a device in GB/s, for times
    memory_gbs: Positive | None = None
    link_gbs: LinkRate = math.inf  # bandwidth between devices in GB/s, for times
    # devices to compile for: v5e-16, v5p-32, v6e-8, h100, h100x8, h200, ...
    topology: str | None = None


@dataclasses.dataclass(frozen=True)
class Pocket:
    """Trains a small chat model in about a minute, as a Hugging Face folder.

    Without --text it learns from generated dialogues to answer in the formats that
    games ask for, with random choices.
    """

    config: Annotated[PocketConfig, tyro.conf.arg(name="")]
    out: Path  # folder for the model, new or empty


@dataclasses.dataclass(frozen=True)
class Import:
    """Writes the Hugging Face folder of a model: config, weights and tokenizer.

    A GGUF file is dequantised; a folder is copied, with the chat template if given.
    """

    # folder, .gguf file, id of the Hugging Face Hub, or smollm2
    model: tyro.conf.Positional[str]
    out: Path  # folder to write, new or empty
    # for a model that has none: chatml, gemma, llama3, or a Jinja file
    chat_template: str | None = None


def main(arguments: list[str]) -> None:
    """Runs a subcommand; raises InputError for bad input."""
    if arguments[:1] and arguments[0] in ("-h", "--help"):
        print_help("aajax lm", {name: about for name, (about, *_) in COMMANDS.items()})
        return
    _, options, run = choose("command", arguments, COMMANDS)
    run(parse(options, arguments[1:], f"aajax lm {arguments[0]}"))


def _pocket(options: Pocket) -> None:
    check_installed("lm", "transformers")
    errors, began = Console(stderr=True, markup=False, emoji=False), time.monotonic()
    num_steps = options.config.steps
    with progress_bar(errors, "steps", not errors.is_terminal) as progress:
        task = progress.add_task("compiling", total=num_steps)

        def on_step(step: int, loss: float) -> None:
            text = f"loss {loss:.4f}"
            progress.update(task, completed=step, description=text)
            if not errors.is_terminal and step % max(1, num_steps // 10) == 0:
                errors.print(f"step {step}/{num_steps}  {text}")

        try:
            with called({"folder": "out"}):
                loss = train_pocket(options.out, options.config, on_step)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Nothing was saved.") from None
    seconds = time.monotonic() - began
    Console(soft_wrap=True, markup=False, emoji=False).print(
        f"loss {loss:.4f} nats per token; {seconds:.1f} s; the model is in "
        f"{options.out}/"
    )


def _import(options: Import) -> None:
    check_installed("lm", "transformers")
    check_empty(f"out is {str(options.out)!r}", options.out)
    import_model(options.model, options.out, options.chat_template)
    Console(soft_wrap=True, markup=False, emoji=False).print(
        f"the model is in {options.out}/"
    )


def _dry_run(options: DryRun) -> None:
    mesh = {name: getattr(options, name) for name in ("data", "fsdp", "tensor")}
    # Built here, where what it refuses becomes one line.
    shared = {field.name for field in dataclasses.fields(Job)} & vars(options).keys()
    job = Job(**{name: getattr(options, name) for name in shared})
    with called({"folder": "model"}):
        config = find_config(options.model)
    sampled = max(job.length // 4, 1) if options.sampled is None else options.sampled
    if not sampled < max(job.length, 2):
        raise InputError(
            f"sampled is {sampled}: a number from 1 to {job.length - 1}, below the "
            "length, is needed"
        )
    if options.topology is not None:
        _compile(options, config, job, sampled)
        return
    options = dataclasses.replace(options, sampled=sampled)
    times = _times(options, config, job, mesh)
    found = estimate(config, job, **mesh, memory_gb=options.memory_gb)
    console = Console(soft_wrap=True, markup=False, emoji=False)
    console.print(_table(found, options))
    if times is not None:
        total = times.reading + times.sampling + times.training
        console.print(
            f"An iteration of {job.batch * job.length} tokens, of which "
            f"{job.batch * sampled} are sampled, takes {total:.3g} s at best: "
            f"{times.reading:.3g} s reading, {times.sampling:.3g} s sampling, "
            f"{times.training:.3g} s training."
        )


def _compile(options: DryRun, decoder, job: Job, sampled: int) -> None:
    """Compiles the programs of a run with a job's sizes."""
    assert options.topology is not None
    if job.train != "adapters":
        raise InputError(
            f"train is {job.train!r}: 'adapters', which runs train, is needed with a "
            "topology"
        )
    check_installed("lm", "transformers", "safetensors")
    # Of the extra, which estimates do without.
    from aajax.api.dry_runs import plan
    from aajax.commands.compiled import compile_and_print
    from aajax.training.lm_programs import Load

    on_one_device = options.data * options.fsdp * options.tensor == 1
    config = LmConfig(
        dtype=job.dtype,
        kl=0.001,
        baseline="batch",
        group_size=1,
        num_matches=job.batch,
        seating=Seating(learners="first"),
        lora=Lora(rank=job.rank),
        num_microbatches=job.num_microbatches,
        remat=job.remat,
        data=options.data,
        fsdp=None if on_one_device else options.fsdp,
        tensor=options.tensor,
    )
    load = Load(
        rows=job.batch,
        players=job.batch,
        evaluated=job.evaluation.batch,
        length=job.length,
        sampled=sampled,
        num_adapters=job.num_adapters,
    )
    planned = plan(config, decoder, options.topology, job.length, load)
    compile_and_print(options.model, planned)


def _times(options: DryRun, config, job: Job, mesh: dict[str, int]) -> Seconds | None:
    """Least times of an iteration, if a device's rates are given."""
    if options.tflops is None and options.memory_gbs is None:
        return None
    if options.tflops is None or options.memory_gbs is None:
        raise InputError(
            f"tflops is {options.tflops} and memory_gbs is {options.memory_gbs}: both "
            "are needed for times, or none"
        )
    assert options.sampled is not None  # `_dry_run` has filled it in
    iteration = Iteration(
        batch=job.batch,
        length=job.length,
        sampled=options.sampled,
        itemsize=2 if job.dtype == "bfloat16" else 4,
        frozen=job.train == "adapters",
        remat=job.remat,
    )
    rates = Rates(options.tflops, options.memory_gbs, options.link_gbs)
    return iteration_seconds(config, rates, iteration, **mesh)


def _table(found: Estimate, options: DryRun) -> Table:
    devices = options.data * options.fsdp * options.tensor
    table = Table(
        "what", "GB in all", "GB per device",
        title=f"{options.model} on {devices} x {options.memory_gb:g} GB: "
        f"{found.num_params / 1e9:.3f} billion parameters, "
        f"{found.num_trained / 1e6:.1f} million trained",
    )  # fmt: skip
    for name in PARTS:
        part = getattr(found, name)
        table.add_row(name, _gigabytes(part.total), _gigabytes(part.per_device))
    table.add_section()
    for name in ("training", "playing", "evaluating"):
        size = getattr(found, name)
        verdict = "fits" if fits(size, options.memory_gb) else "does not fit"
        table.add_row(f"{name}: {verdict}", "", _gigabytes(size))
    return table


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"


COMMANDS = {
    "dry-run": ("whether a training job fits on a mesh", DryRun, _dry_run),
    "import": ("write the Hugging Face folder of a model", Import, _import),
    "pocket": ("train a small chat model in a minute or so", Pocket, _pocket),
}
