"""`aajax lm dry-run NAME`: whether a decoder fits on a mesh, without its weights."""

import dataclasses
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from aajax.lm.dry_run import Estimate, Job, estimate, fits
from aajax.lm.shapes import find_shape

PARTS = (
    *("params", "adapters", "optimizer", "gradient"),
    *("activations", "working", "cache"),
)


@dataclasses.dataclass(frozen=True)
class DryRun:
    """Parameters and bytes per device of a training job, from shapes alone."""

    model: tyro.conf.Positional[str]  # a published size, or a checkpoint folder
    data: int = 1  # mesh axis that copies weights
    fsdp: int = 1  # mesh axis that splits weights and batch
    tensor: int = 1  # mesh axis that splits heads and hidden units
    memory_gb: float = 80.0  # of a device, in 10⁹ bytes
    batch: int = 64  # sequences of a step, over all devices
    length: int = 2048  # tokens of each
    train: Literal["adapters", "params"] = "adapters"  # what the optimiser changes
    rank: int = 32  # of adapters
    num_adapters: int = 1  # at a time
    remat: bool = True  # recompute layers in the backward pass
    num_microbatches: int = 1  # parts of a training batch
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # of arithmetic and frozen base


def main(arguments: list[str]) -> None:
    """Prints the table; raises ValueError for a model that is not known."""
    options = tyro.extras.subcommand_cli_from_dict(
        {"dry-run": DryRun}, args=arguments, prog="aajax lm"
    )
    mesh = {name: getattr(options, name) for name in ("data", "fsdp", "tensor")}
    # Built here, where what it refuses becomes one line.
    shared = {field.name for field in dataclasses.fields(Job)} & vars(options).keys()
    job = Job(**{name: getattr(options, name) for name in shared})
    found = estimate(_config(options.model), job, **mesh)
    Console().print(_table(found, options))


def _config(model: str):
    if (Path(model) / "config.json").exists():
        # Safetensors is of the extra `lm`, which published sizes do without.
        from aajax.lm.weights import read_config

        return read_config(model)
    return find_shape(model)


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
        table.add_row(name, _gigabytes(part.whole), _gigabytes(part.each))
    table.add_section()
    for name, size in (("training", found.training), ("playing", found.playing)):
        verdict = "fits" if fits(size, options.memory_gb) else "does not fit"
        table.add_row(f"{name}: {verdict}", "", _gigabytes(size))
    return table


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"
