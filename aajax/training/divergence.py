"""Detection of runs that diverge.

A lane is one seed of one hyper-parameter setting of a sweep. It has diverged when one
of its metrics, parameters or optimiser states is NaN or infinite. Divergences are
recorded in the run's folder:

diverged.json   one record per lane; not there if there is none
"""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.errors import InputError
from aajax.files import write_json
from aajax.records import read_json
from aajax.training.config import RunConfig
from aajax.types import Array, PyTree

FILE = "diverged.json"
_MOST = 3  # lanes that a line names

Lane = tuple[int, int]  # numbers of a setting and of a seed, each from 0


class Divergence(NamedTuple):
    """The record of a lane that diverged.

    Attributes:
      seed: the seed's value, not its index.
      hyperparameters: of the setting; empty if nothing is swept.
      update: at which it was found, from 1.
      quantity: a metric's name, or the path of an array of the state.
      value: nan, inf or -inf of a metric; "not finite" of an array.
      unit: what is counted: updates, or iterations of a language model.
    """

    seed: int
    hyperparameters: Mapping[str, float | str]
    update: int
    quantity: str
    value: str
    unit: str = "update"

    def __str__(self) -> str:
        hyperparameters = [
            f"{name}={x if isinstance(x, str) else format(x, 'g')}"
            for name, x in self.hyperparameters.items()
        ]
        setting = f" with {', '.join(hyperparameters)}" if hyperparameters else ""
        return (
            f"seed {self.seed}{setting} diverged at {self.unit} {self.update}: "
            f"{self.quantity} is {self.value}"
        )


Lost = dict[Lane, Divergence]


def find(
    config: RunConfig,
    settings: Sequence[Mapping[str, float | str]],
    state: PyTree,
    num_updates: int,
    metrics: Mapping[str, np.ndarray],
) -> Lost:
    """Lanes that have diverged.

    Args:
      config: of the run.
      settings: its K settings, hyper-parameter by hyper-parameter.
      state: of the learners, [K, S, ...], after the last update.
      num_updates: made before.
      metrics: of the updates since, name → f[U, K, S].
    """
    lost: Lost = {}
    length = max((len(x) for x in metrics.values()), default=0)

    def add(lane: Lane, update: int, quantity: str, value: str) -> None:
        hyperparameters = settings[lane[0]] if config.swept else {}
        known = lost.get(lane)
        if known is None or update < known.update:
            seed = config.seed_list[lane[1]]
            lost[lane] = Divergence(seed, hyperparameters, update, quantity, value)

    for name, numbers in metrics.items():
        odd = ~np.isfinite(numbers)
        for setting, seed in np.argwhere(odd.any(0)).tolist():
            lane = setting, seed
            first = int(odd[(slice(None), *lane)].argmax())
            value = str(float(numbers[(first, *lane)]))
            add(lane, num_updates + first + 1, name, value)
    for name, odd in not_finite(state, num_axes=2).items():
        for setting, seed in np.argwhere(odd).tolist():
            add((setting, seed), num_updates + length, name, "not finite")
    return lost


def not_finite(tree: PyTree, num_axes: int = 0) -> dict[str, np.ndarray]:
    """Arrays with values that are not finite: path → bool[...], true at such lanes.

    Args:
      tree: of arrays, which may lie on devices of several processes if all call this.
      num_axes: leading axes that the answers keep.
    """
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
    }
    found = jax.device_get(_not_finite(leaves, num_axes))
    return {name: odd for name, odd in found.items() if odd.any()}


@functools.partial(jax.jit, static_argnums=1)
def _not_finite(leaves: dict[str, Array], num_axes: int) -> dict[str, Array]:
    return {
        name: ~jnp.isfinite(x).all(tuple(range(num_axes, x.ndim)))
        for name, x in leaves.items()
    }


def keep(state: PyTree, good: PyTree, lost: Lost) -> PyTree:
    """The state [K, S, ...], with lanes that have diverged taken from `good`."""

    def pick(new: Array, old: Array) -> Array:
        mask = np.zeros((*new.shape[:2], *[1] * (new.ndim - 2)), bool)
        for lane in lost:
            mask[lane] = True
        return jnp.where(mask, old, new)

    return jax.tree.map(pick, state, good)


def without(
    metrics: Mapping[str, np.ndarray], lost: Lost, num_updates: int
) -> dict[str, np.ndarray]:
    """Metrics [U, K, S] with NaN in lost lanes, from where they were lost.

    Args:
      metrics: of U updates.
      lost: lanes.
      num_updates: made before these.
    """
    if not lost:
        return dict(metrics)
    metrics = {name: np.array(x, float) for name, x in metrics.items()}
    for lane, found in lost.items():
        first = max(found.update - num_updates - 1, 0)
        for numbers in metrics.values():
            numbers[(slice(first, None), *lane)] = np.nan
    return metrics


def note(folder: Path, lost: Lost) -> list[Divergence]:
    """Replaces the records in a run's folder by `lost`; returns the new ones."""
    known = noted(folder)
    if not lost:
        (folder / FILE).unlink(missing_ok=True)
    elif lost != known:
        records = [{"lane": lane, **found._asdict()} for lane, found in lost.items()]
        write_json(folder / FILE, records)
    return [found for lane, found in lost.items() if lane not in known]


def noted(
    folder: Path, num_updates: float = math.inf, lanes: Lane | None = None
) -> Lost:
    """The records in a run's folder, of the first `num_updates` updates.

    Args:
      folder: of the run.
      num_updates: up to which; all if not given.
      lanes: numbers of settings and seeds of the run, if they are at hand.

    Raises:
      InputError: for a file that holds something else, or lanes that the run has not.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    records = read_json(path)
    try:
        lost = dict(map(_read, records))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"file is {path}: records of lanes are needed ({error!r})"
        ) from error
    for lane in lost:
        if lanes is not None and not (lane[0] < lanes[0] and lane[1] < lanes[1]):
            raise InputError(
                f"file is {path}: lanes of {lanes[0]} x {lanes[1]} settings and seeds "
                f"are needed, and {list(lane)} is none"
            )
    return {lane: x for lane, x in lost.items() if x.update <= num_updates}


def _read(record: Any) -> tuple[Lane, Divergence]:
    """The lane and the rest of a record; raises what `noted` catches for another."""
    values = dict(record)
    setting, seed = values.pop("lane")
    if "knobs" in values:  # as earlier versions call them
        values["hyperparameters"] = values.pop("knobs")
    found = Divergence(**values)
    whole = setting, seed, found.seed, found.update
    texts = found.quantity, found.value, found.unit
    is_one = (
        all(type(x) is int and x >= 0 for x in whole)
        and all(isinstance(x, str) for x in texts)
        and isinstance(found.hyperparameters, Mapping)
        and all(
            isinstance(x, str | int | float) for x in found.hyperparameters.values()
        )
    )
    if not is_one:
        raise ValueError(f"{record} is none")
    return (setting, seed), found


def listed(lost: Lost) -> str:
    """Describes the first few in one line."""
    lines = [str(found) for found in lost.values()]
    more = len(lines) - _MOST
    if more > 0:
        lines[_MOST:] = [f"and {more} more, see {FILE}"]
    return "; ".join(lines)
