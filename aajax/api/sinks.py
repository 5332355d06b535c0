"""Where rows of metrics go beside metrics.jsonl: to TensorBoard, to Weights & Biases.

A sink is a function of a row. Both of these get flat numbers: reward/seed_3, of a sweep
reward/beta_0.3/seed_3, of a language model's single adapter reward.
"""

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aajax.api.presets import Config
from aajax.errors import InputError
from aajax.extras import check_installed
from aajax.files import write_text
from aajax.report.tables import number
from aajax.training.checkpoint import latest_step
from aajax.training.config import RunConfig
from aajax.training.metrics import Sink
from aajax.training.run import hyperparameter_settings

Log = Literal["tensorboard", "wandb"]
ID = "wandb_id"  # file in a run's folder, by which a run that goes on is found again


@contextlib.contextmanager
def opened_sinks(
    log: Iterable[str | Sink], folder: Path, preset: str, config: Config
) -> Iterator[list[Sink]]:
    """Sinks that are open until the block ends.

    Args:
      log: "tensorboard", which writes to FOLDER/tensorboard, "wandb", which writes to
        FOLDER/wandb, or functions of a row.
      folder: of the run; it is there.
      preset: its name.
      config: of it.

    Raises:
      InputError: for another name, or a package that is not installed.
    """
    with contextlib.ExitStack() as stack:
        sinks: list[Sink] = []
        for each in log:
            if callable(each):
                sinks.append(each)
            else:
                writer = stack.enter_context(_WRITERS[each](folder, preset, config))
                sinks.append(_flat(writer, config))
        yield sinks


def check_log(log: Iterable[str | Sink]) -> None:
    """Raises InputError for what `opened_sinks` cannot open."""
    for each in log:
        if callable(each):
            continue
        if not isinstance(each, str) or each not in _WRITERS:
            raise InputError(
                f"log has {each!r}: {', '.join(_WRITERS)} or a function of a row is "
                "needed"
            )
        check_installed("log", {"tensorboard": "tensorboardX"}.get(each, each))


def scalars(
    row: Mapping[str, Any], settings: Sequence[Mapping[str, Any]], seeds: Sequence[int]
) -> dict[str, float]:
    """The numbers of a row that there are, under flat names.

    Args:
      row: of metrics: lists over settings of lists over seeds, or numbers.
      settings: their hyper-parameters; one of a plain run.
      seeds: themselves.
    """
    found: dict[str, float] = {}
    for name, x in row.items():
        if name in ("update", "seconds") or x is None:
            continue
        if not isinstance(x, list):
            found[name] = float(x)
            continue
        for setting, numbers in zip(settings, x, strict=True):
            words = [f"{key}_{number(value)}" for key, value in setting.items()]
            path = [name, *(words if len(settings) > 1 else ())]
            for seed, value in zip(seeds, numbers, strict=True):
                if value is not None:
                    found["/".join([*path, f"seed_{seed}"])] = float(value)
    return {name: x for name, x in found.items() if math.isfinite(x)}


Write = Callable[[int, dict[str, float]], None]  # (update, numbers by name)


def _flat(write: Write, config: Config) -> Sink:
    small = isinstance(config, RunConfig)
    settings = hyperparameter_settings(config) if small else config.settings
    seeds = config.seed_list

    def sink(row: Mapping[str, Any]) -> None:
        write(int(row["update"]), scalars(row, settings, seeds))

    return sink


@contextlib.contextmanager
def _tensorboard(folder: Path, preset: str, config: Config) -> Iterator[Write]:
    del preset, config
    from tensorboardX import SummaryWriter

    # What was logged beyond the checkpoint that a run goes on from is not shown.
    saved = latest_step(folder / "checkpoints")
    # Files are named by the second; one of the same second must not be replaced.
    with SummaryWriter(
        str(folder / "tensorboard"),
        purge_step=saved + 1,
        filename_suffix=f".{time.time_ns()}",
    ) as writer:

        def write(update: int, numbers: dict[str, float]) -> None:
            for name, x in numbers.items():
                writer.add_scalar(name, np.float32(x), update)

        yield write


@contextlib.contextmanager
def _wandb(folder: Path, preset: str, config: Config) -> Iterator[Write]:
    import wandb

    place = folder / ID
    if not place.exists():
        write_text(place, secrets.token_hex(4))
    run = wandb.init(
        project="aajax",
        name=preset,
        id=place.read_text(),
        resume="allow",
        dir=str(folder),
        config=config.to_json(),
        settings=wandb.Settings(console="off"),
    )
    try:
        yield lambda update, numbers: run.log(numbers, step=update)
    finally:
        run.finish()


_WRITERS: dict[str, Callable[..., contextlib.AbstractContextManager[Write]]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
