"""Runs that experiments find where they were left, or train."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from aajax.errors import DivergenceError
from aajax.records import read_object
from aajax.training import divergence
from aajax.training.run import open_folder

Run = Callable[..., dict]  # (name, config, folder, resume, console) → summary


def found_or_trained(run: Run, name: str, config, out: Path) -> dict:
    """The summary of a run in `out/name`: found there, gone on with, or trained.

    Progress goes to stderr.

    Raises:
      InputError: if another run is there.
      DivergenceError: if a seed of it diverged.
    """
    folder = out / name
    resume = (folder / "config.json").exists()
    if (folder / "summary.json").exists():
        open_folder(folder, name, config, resume)
        lost = divergence.noted(folder)
        if lost:
            raise DivergenceError(f"{folder}: {divergence.listed(lost)}")
        return read_object(folder / "summary.json", nan_is_null=True)
    return run(name, config, folder, resume, Console(stderr=True, markup=False))
