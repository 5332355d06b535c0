"""Helpers of the adapters: optional imports, action spaces, observations, options."""

import contextlib
import inspect
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from aajax.envs.base import ActionSpace, Box, Discrete, Environment, MultiDiscrete
from aajax.errors import InputError
from aajax.types import Array, Episodes, PyTree


@contextlib.contextmanager
def needs(package: str) -> Iterator[None]:
    """Context of the import of a package of the extra `adapters`.

    Raises:
      InputError: if the package cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"{package} cannot be imported ({reason}): it is needed, as in "
            "pip install 'aajax[adapters]'"
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Context of an import that prints, or replaces sys.stdout and sys.stderr."""
    names = "stdout", "stderr", "__stdout__"
    kept = {name: getattr(sys, name) for name in names}
    sys.stdout = sys.__stdout__ = io.StringIO()
    try:
        yield
    finally:
        for name, stream in kept.items():
            setattr(sys, name, stream)


def action_space(label: str, space: Any) -> ActionSpace:
    """Converts an action space of JaxMARL or gymnax to ours.

    Args:
      label: what the message calls the space.
      space: a `Discrete`, `MultiDiscrete` or `Box` of theirs.

    Raises:
      InputError: for another kind of space, a multi-discrete one whose choices differ
        in number, or a box whose bounds differ or are infinite.
    """
    if hasattr(space, "n"):
        return Discrete(int(space.n))
    if hasattr(space, "num_categories"):
        counts = np.unique(np.asarray(space.num_categories))
        if len(counts) == 1:
            return MultiDiscrete(int(np.prod(space.shape)), int(counts[0]))
    elif hasattr(space, "low"):
        low, high = np.unique(np.asarray(space.low)), np.unique(np.asarray(space.high))
        if len(low) == len(high) == 1 and np.isfinite([low[0], high[0]]).all():
            return Box(int(np.prod(space.shape)), float(low[0]), float(high[0]))
    raise InputError(
        f"{label} is {_described(space)}: a discrete one, a multi-discrete one with "
        "equal numbers of choices, or a box with one pair of finite bounds is needed"
    )


def flat(observation: PyTree) -> Array:
    """A pytree flattened to one vector, f32[size], in the order of its leaves."""
    leaves = [jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(observation)]
    return jnp.concatenate(leaves)


def typed(state: PyTree) -> PyTree:
    """A state without Python scalars and weak types, as `lax.scan` needs it."""

    def definite(x: Any) -> Array:
        x = jnp.asarray(x)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        return jax.lax.convert_element_type(x, x.dtype)

    return jax.tree.map(definite, state)


def typed_as(state: PyTree, before: PyTree) -> PyTree:
    """A state with the types of the one before it."""
    return jax.tree.map(
        lambda new, old: jnp.asarray(new).astype(old.dtype), typed(state), before
    )


def measures(env: Environment, episodes: Episodes) -> dict[str, Array]:
    """The return (sum over steps, mean over agents) and the length of an episode.

    Both are means over games, f32[].
    """
    inside = episodes.inside.astype(jnp.float32)
    reward = episodes.trajectory.reward.mean(axis=-1)
    return {
        "return": jnp.sum(inside * reward, axis=0).mean(),
        "episode length": jnp.sum(inside, axis=0).mean(),
    }


def check_resets(env: Environment) -> None:
    """Raises InputError for an environment with auto-reset.

    The other libraries' interfaces add it themselves, or leave it to the user.
    """
    _, timestep = jax.eval_shape(env.reset, jax.random.key(0))
    if timestep.final_observation is not None:
        raise InputError(
            f"env is {type(env).__name__}: an environment without auto-reset is needed"
        )


def option_type(default: Any) -> Any:
    """The annotation of an option with this default; None if it is none for a word.

    Lists and arrays of numbers are `Sequence`, which a command line reads as a tensor.
    """
    if isinstance(default, bool | int | float | str):
        return type(default)
    with contextlib.suppress(TypeError, ValueError):
        numbers = np.asarray(default)
        if numbers.ndim and numbers.dtype.kind in "iuf":
            return Sequence
    return None


def with_options(
    make: Callable[..., Any], defaults: Mapping[str, Any]
) -> inspect.Signature:
    """The signature of a constructor whose `**options` are these."""
    own = inspect.signature(make)
    named = [x for x in own.parameters.values() if x.kind is not x.VAR_KEYWORD]
    more = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=option_type(default),
        )
        for name, default in defaults.items()
        if name not in own.parameters
    ]
    return own.replace(parameters=[*named, *more])


def hashable(options: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    """Options as a key of a cache: arrays and lists become nested tuples."""

    def tupled(x: Any) -> Any:
        if isinstance(x, np.ndarray | jax.Array):
            x = np.asarray(x).tolist()
        return tuple(map(tupled, x)) if isinstance(x, list | tuple) else x

    return tuple((name, tupled(x)) for name, x in sorted(options.items()))


def like(value: Any, default: Any) -> Any:
    """An option of a cache's key as the kind of thing that its default is."""
    if isinstance(default, jax.Array | np.ndarray):
        return jnp.asarray(value, default.dtype)
    if isinstance(default, list) and isinstance(value, tuple):
        return np.asarray(value).tolist()
    return value


def cannot(name: str, options: Sequence[tuple[str, Any]], error: Exception) -> str:
    """The message for a game that its library cannot make."""
    said = ", ".join(f"{key}={x}" for key, x in options)
    where = f"game is {name!r}{f' with {said}' if said else ''}"
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return f"{where}: it cannot be made ({reason})"


def _described(space: Any) -> str:
    parts = [
        f"{name}={str(getattr(space, name)).splitlines()[0]}"
        for name in ("num_categories", "low", "high", "shape")
        if hasattr(space, name)
    ]
    return f"{type(space).__name__}({', '.join(parts)})"
