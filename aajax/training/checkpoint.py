"""Checkpoints of a training state, by orbax.

Orbax writes to a temporary folder and renames it when it is complete, so that a
checkpoint either is whole or is not there.
"""

import errno
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from aajax.types import PyTree


def save(folder: Path, step: int, state: PyTree) -> None:
    """Saves `state` under `folder/step` and keeps the two latest.

    Raises:
      OSError: if it cannot be written; earlier checkpoints stay.
    """
    try:
        with _manager(folder) as manager:
            manager.save(step, args=ocp.args.StandardSave(_without_keys(state)))
    except (OSError, RuntimeError, ValueError) as error:
        # Tensorstore reports a full disk as a ValueError.
        number = getattr(error, "errno", None) or errno.EIO
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OSError(number, reason, str(folder / str(step))) from error


def restore_latest(folder: Path, like: PyTree) -> tuple[int, PyTree] | None:
    """The latest complete checkpoint as `(step, state)`, or None.

    Args:
      folder: where `save` put them.
      like: a state of the same structure, or its `jax.eval_shape`; what has a sharding
        on several devices is put there.
    """
    with _manager(folder) as manager:
        for step in sorted(manager.all_steps(), reverse=True):
            if _is_complete(folder / str(step)):
                template = jax.tree.map(_shape, like)
                state = manager.restore(step, args=ocp.args.StandardRestore(template))
                return step, _with_keys(state, like)
    return None


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False
    )
    return ocp.CheckpointManager(folder.absolute(), options=options)


def _is_complete(step_folder: Path) -> bool:
    """Whether orbax finished the folder: it writes the step's metadata last."""
    return (step_folder / "_CHECKPOINT_METADATA").exists()


def _is_key(x) -> bool:
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)


def _without_keys(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _shape(x) -> jax.ShapeDtypeStruct:
    if _is_key(x):
        return jax.eval_shape(jax.random.key_data, x)
    sharding = getattr(x, "sharding", None)
    if sharding is not None and sharding.num_devices == 1:
        sharding = None
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _with_keys(state: PyTree, like: PyTree) -> PyTree:
    def restore(x, original):
        return jax.random.wrap_key_data(x) if _is_key(original) else x

    return jax.tree.map(restore, state, like)
