"""Reads and writes checkpoint folders of Hugging Face transformers (safetensors)."""

import bisect
import contextlib
import dataclasses
import functools
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aajax import schema
from aajax.errors import InputError
from aajax.files import PARTIAL, naming, os_error, to_json
from aajax.lm.checkpoints.hf_config import config_from_hf, config_to_hf, read_json
from aajax.lm.checkpoints.hf_names import EMBEDDING, HEAD, Stored, stored, text_name
from aajax.lm.mesh.hosts import gathered, writer
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import init_params
from aajax.schema import check, within
from aajax.types import Array, PyTree

CONFIG = "config.json"
SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": jnp.bfloat16}

_ROWS = 4096  # of the vocabulary, compared at a time
_BLOCK = 2**18  # numbers that are looked at together
_ABSURD = 100  # times as large as the tensors


@dataclasses.dataclass(frozen=True)
class _Index:
    """model.safetensors.index.json: tensor → file."""

    weight_map: dict[str, str]

    __post_init__ = check

    def check_relations(self):
        for name, file in self.weight_map.items():
            if Path(file).name != file:
                raise InputError(
                    f"weight_map.{name} is {file!r}: the name of a file beside it is "
                    "needed"
                )


def read_config(folder: str | os.PathLike) -> DecoderConfig:
    """The `DecoderConfig` of a checkpoint folder.

    Raises:
      InputError: if there is no config.json of a supported decoder, or its sizes exceed
        those of the stored tensors by far.
    """
    folder = Path(folder)
    record = read_json(folder, CONFIG)
    with within(f"file is {folder / CONFIG}: "):
        config = config_from_hf(record)
        _check_size(folder, config)
    return config


def load_params(
    folder: str | os.PathLike,
    config: DecoderConfig | None = None,
    *,
    dtype: jnp.dtype | None = None,
    shardings: PyTree | None = None,
) -> PyTree:
    """Loads the parameters of a checkpoint folder; each device reads its shard only.

    Args:
      folder: with config.json and safetensors, in one file or several with an index.
      config: None reads it from the folder.
      dtype: of all parameters; None keeps the stored dtype (float32 if layers of one
        parameter differ).
      shardings: `jax.sharding.Sharding`s, a pytree prefix of the parameters; None for
        the default device.

    Returns:
      Parameters as `init_params` makes them.

    Raises:
      InputError: if the folder cannot be read or does not fit the config, or weights
        are NaN or infinite.
    """
    folder = Path(folder)
    config = read_config(folder) if config is None else config
    like = _like(config)
    with contextlib.ExitStack() as stack:
        tensors = _open(folder, config, stack)
        head = tensors.pop(HEAD, None) if config.tie_embeddings else None
        _check_tensors(folder, config, like, tensors)
        if head is not None:
            _check_head(folder, head, tensors[EMBEDDING])

        def load(path, leaf, sharding=None):
            source = stored(config, _name(path))
            read = _reader(leaf.shape, source, tensors, dtype)
            if sharding is None:
                # Not committed to the device, as any other array made without one.
                return jnp.asarray(read((slice(None),) * leaf.ndim))
            fill = cast(Callable, read)
            return jax.make_array_from_callback(leaf.shape, sharding, fill)

        trees = [] if shardings is None else [jax.tree.broadcast(shardings, like)]
        return jax.tree_util.tree_map_with_path(load, like, *trees)


def save_params(
    folder: str | os.PathLike,
    config: DecoderConfig,
    params: PyTree,
    *,
    max_shard_bytes: float = 5e9,
) -> None:
    """Writes config.json and safetensors that `load_params` and transformers read.

    Files are written atomically (to a temporary name, then renamed), config.json last:
    a folder that has one is complete. Weights in the folder are replaced, other files
    are not touched.

    If params are sharded over several processes, all must call this: tensors are
    gathered one by one, and process 0 writes, holding one file in memory at a time. All
    return when the folder is complete.

    Args:
      folder: created if it does not exist.
      config: of the decoder.
      params: as `init_params`, in float32, float16 or bfloat16.
      max_shard_bytes: size of a file; a larger tensor has a file of its own.

    Raises:
      InputError: if params are not of this decoder or cannot be stored.
      OSError: in all processes, if the files cannot be written; the folder is then left
        as it was.
    """
    folder = Path(folder)
    if max_shard_bytes < 1:
        raise InputError(f"max_shard_bytes is {max_shard_bytes}: at least 1 is needed")
    _check_params(config, params)
    parts = list(_parts(config, params))
    dtype = np.dtype(parts[0].leaves[0].dtype).name
    hf = {**config_to_hf(config), "dtype": dtype}
    write_folder(folder, hf, parts, max_shard_bytes, writer(params))


class Part(Protocol):
    """A tensor to be written, by its name in a checkpoint."""

    @property
    def name(self) -> str: ...

    @property
    def nbytes(self) -> int: ...

    def fetch(self) -> np.ndarray:
        """The tensor; all processes call it in turn."""
        ...


def write_folder(
    folder: Path,
    hf: Mapping[str, Any],
    parts: Sequence[Part],
    max_shard_bytes: float = 5e9,
    write: Callable = lambda action: action(),
) -> None:
    """Writes config.json and tensors atomically, as `save_params` does.

    Args:
      folder: created if it does not exist.
      hf: the content of config.json.
      parts: the tensors, of which those of one file are in memory at a time.
      max_shard_bytes: of `save_params`.
      write: runs an action that writes, of `mesh.hosts.writer`.
    """
    with naming(folder), contextlib.ExitStack() as stack:
        made = write(lambda: _make_inside(folder, stack))
        files = _write_parts(made, parts, max_shard_bytes, write)

        def publish():
            assert made is not None  # by who writes
            (made / CONFIG).write_text(to_json(hf, indent=2) + "\n")
            (folder / CONFIG).unlink(missing_ok=True)
            several = folder.glob("model-*-of-*.safetensors")
            for file in [folder / INDEX, folder / SINGLE, *several]:
                file.unlink(missing_ok=True)
            for file in [*files, CONFIG]:
                os.replace(made / file, folder / file)

        write(publish)


def _make_inside(folder: Path, stack: contextlib.ExitStack) -> Path:
    """A temporary folder in `folder`, removed when the stack is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    made = tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL)
    return Path(stack.enter_context(made))


@functools.lru_cache(maxsize=8)
def _like(config: DecoderConfig) -> PyTree:
    """Shapes and dtypes of the parameters."""
    return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


def _check_size(folder: Path, config: DecoderConfig) -> None:
    """Raises InputError if the config's sizes exceed the stored tensors' by far.

    This comes before anything of that size is allocated; smaller mismatches are
    reported per tensor when these are read.
    """
    try:
        with contextlib.ExitStack() as stack:
            tensors = _open(folder, config, stack)
            shapes = {name: tensor.get_shape() for name, tensor in tensors.items()}
    except InputError:
        return

    def rows(name: str) -> int:
        return (shapes.get(name) or [0])[0]

    layers = {name.split(".")[2] for name in shapes if name.startswith("model.layers.")}
    of_experts = "model.layers.0.mlp.experts."
    experts = {x.split(".")[5] for x in shapes if x.startswith(of_experts)}
    queries = rows("model.layers.0.self_attn.q_proj.weight")
    queries = queries or rows("model.layers.0.self_attn.qkv_proj.weight")
    keys = rows("model.layers.0.self_attn.k_proj.weight")
    sizes = {
        "num_hidden_layers": (config.num_layers, len(layers)),
        "vocab_size": (config.vocab_size, rows(EMBEDDING)),
        "hidden_size": (config.hidden_size, rows("model.norm.weight")),
        "intermediate_size": (
            config.intermediate_size,
            rows("model.layers.0.mlp.up_proj.weight")
            or rows("model.layers.0.mlp.gate_up_proj.weight")
            or rows("model.layers.0.mlp.experts.0.up_proj.weight"),
        ),
        "num_experts": (config.num_experts, len(experts)),
        "num_attention_heads x head_dim": (config.num_heads * config.head_dim, queries),
        "num_key_value_heads x head_dim": (config.num_kv_heads * config.head_dim, keys),
    }
    for name, (said, held) in sizes.items():
        if said > _ABSURD * held > 0:
            raise InputError(f"{name} is {said}: {held} is needed, as its tensors have")


def _name(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _open(folder: Path, config: DecoderConfig, stack: contextlib.ExitStack):
    """Slices of all tensors by their plain names; nothing is read yet."""
    files = [SINGLE]
    if (folder / INDEX).exists():
        index = read_json(folder, INDEX)
        with within(f"file is {folder / INDEX}: "):
            index = schema.build(_Index, index, others=True)
        files = sorted(set(index.weight_map.values()))
    tensors = {}
    for name in files:
        try:
            file = stack.enter_context(safe_open(folder / name, framework="numpy"))
        except FileNotFoundError as error:
            raise InputError(
                f"folder is {str(folder)!r}: {name} in it is needed, or a whole {INDEX}"
            ) from error
        except (OSError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"folder is {str(folder)!r}: {name} cannot be read ({reason})"
            ) from error
        for key in file.keys():  # noqa: SIM118 (a handle is no mapping)
            plain = text_name(config, key)
            if plain is not None:
                tensors[plain] = _Tensor(folder, name, key, file.get_slice(key))
    return tensors


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """A tensor in a safetensors file; indexing reads a part of it.

    Attributes:
      folder: of the file.
      file, key: its name, and that of the tensor in it.
      stored: the slice that safetensors gives.
    """

    folder: Path
    file: str
    key: str
    stored: Any

    def get_shape(self) -> list[int]:
        return self.stored.get_shape()

    def get_dtype(self) -> str:
        return self.stored.get_dtype()

    def __getitem__(self, index) -> np.ndarray:
        """A part of it; raises InputError if it has a NaN or an infinity."""
        part = self.stored[index]
        if not all_finite(part):
            raise InputError(
                f"folder is {str(self.folder)!r}: {self.key} in {self.file} has a NaN "
                "or an infinity; finite numbers are needed"
            )
        return part


def all_finite(x: np.ndarray) -> bool:
    """Whether an array of DTYPES holds no NaN and no infinity.

    Checks exponent bits block by block, without temporaries of the array's size.
    """
    bits = np.dtype(f"u{x.dtype.itemsize}")
    exponent = np.array(np.inf, x.dtype).view(bits)  # all bits of it, and no other
    flat = x.reshape(-1).view(bits)
    blocks = (flat[start : start + _BLOCK] for start in range(0, x.size, _BLOCK))
    return not any(((block & exponent) == exponent).any() for block in blocks)


def _check_head(folder: Path, head, embedding) -> None:
    """Raises InputError if a tied head, where stored, differs from the embedding."""

    shape = embedding.get_shape()

    def rows(tensor, start):
        return tensor[start : min(start + _ROWS, shape[0])].astype(np.float32)

    if head.get_shape() != shape or any(
        np.any(rows(head, start) != rows(embedding, start))
        for start in range(0, shape[0], _ROWS)
    ):
        raise InputError(
            f"folder is {str(folder)!r}: {HEAD} must be equal to {EMBEDDING} or "
            "config.json have tie_word_embeddings false"
        )


def _check_tensors(folder: Path, config: DecoderConfig, like: PyTree, tensors) -> None:
    wanted = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(like):
        source = stored(config, _name(path))
        shape = leaf.shape[source.num_leading :]
        shape = shape[::-1] if source.is_transposed else shape
        if source.rows is not None:
            shape = (source.rows[1], *shape[1:])
        wanted |= dict.fromkeys(source.names, shape)
    shapes = {name: tuple(tensor.get_shape()) for name, tensor in tensors.items()}
    types = {name: tensor.get_dtype() for name, tensor in tensors.items()}
    faults = _faults(wanted, shapes, types, DTYPES)
    if faults:
        raise InputError(
            f"folder is {str(folder)!r}: the tensors of its config.json are needed, "
            f"{faults}"
        )


def _check_params(config: DecoderConfig, params: PyTree) -> None:
    def by_name(tree, attribute):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {_name(path): getattr(leaf, attribute) for path, leaf in leaves}

    types = {name: np.dtype(x).name for name, x in by_name(params, "dtype").items()}
    wanted = by_name(_like(config), "shape")
    known = [np.dtype(x).name for x in DTYPES.values()]
    faults = _faults(wanted, by_name(params, "shape"), types, known)
    if faults:
        raise InputError(f"params is a tree: that of the config is needed, {faults}")


def _faults(wanted: Mapping, shapes: Mapping, types: Mapping, known) -> str:
    """A message on missing, unknown or misshapen tensors; "" if there are none."""
    faults = {
        "missing": [name for name in wanted if name not in shapes],
        "not expected": [name for name in shapes if name not in wanted],
        "misshapen": [
            f"{name} {list(shape)} for {list(wanted[name])}"
            for name, shape in shapes.items()
            if name in wanted and wanted[name] != shape
        ],
        f"not of {', '.join(known)}": [
            f"{name} {types[name]}" for name in types if types[name] not in known
        ],
    }

    def line(what, names):
        more = ", ..." if len(names) > 3 else ""
        return f"{len(names)} {what}: {', '.join(names[:3])}{more}"

    return "; ".join(line(what, names) for what, names in faults.items() if names)


def _reader(shape: tuple[int, ...], source: Stored, tensors, dtype):
    """A function that reads the part of a parameter at an index from the files."""
    slices = [tensors[name] for name in source.names]
    if dtype is None:
        types = {tensor.get_dtype() for tensor in slices}
        dtype = DTYPES[types.pop()] if len(types) == 1 else np.float32

    leading = shape[: source.num_leading]
    first = 0 if source.rows is None else source.rows[0].start

    def part(tensor, bounds):
        order = list(reversed(bounds) if source.is_transposed else bounds)
        order[0] = first + order[0][0], first + order[0][1]
        block = tensor[tuple(slice(*bound) for bound in order)]
        return block.T if source.is_transposed else block

    # Devices with the same part share what was read.
    @functools.cache
    def block(*bounds):
        if not leading:
            return part(slices[0], bounds).astype(dtype, copy=False)
        outer, inner = bounds[: len(leading)], bounds[len(leading) :]
        out = np.empty([stop - start for start, stop in bounds], dtype)
        for at in np.ndindex(*out.shape[: len(leading)]):
            which = [start + i for (start, _), i in zip(outer, at, strict=True)]
            number = int(np.ravel_multi_index(which, leading))
            out[at] = part(slices[number], inner)
        return out

    def read(index: tuple[slice, ...]) -> np.ndarray:
        sizes = zip(index, shape, strict=True)
        return block(*(which.indices(size)[:2] for which, size in sizes))

    return read


class _Part(NamedTuple):
    """A tensor to be written: one entry of each of some leaves, one below the other.

    Attributes:
      name: of the tensor.
      leaves: of which it is made, in the order of their rows.
      at: index of the entry in their leading axes.
      is_transposed: whether the tensor is the entries' transpose.
    """

    name: str
    leaves: tuple[Array, ...]
    at: tuple[int, ...]
    is_transposed: bool

    @property
    def nbytes(self) -> int:
        sizes = [math.prod(leaf.shape[len(self.at) :]) for leaf in self.leaves]
        return sum(sizes) * np.dtype(self.leaves[0].dtype).itemsize

    def fetch(self) -> np.ndarray:
        each = [gathered(leaf[self.at] if self.at else leaf) for leaf in self.leaves]
        rows = [x.T if self.is_transposed else x for x in each]
        return np.ascontiguousarray(np.concatenate(rows) if rows[1:] else rows[0])


def _parts(config: DecoderConfig, params: PyTree) -> Iterator[_Part]:
    found: dict[str, _Part] = {}
    starts: dict[str, list[int]] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        source = stored(config, _name(path))
        start = 0 if source.rows is None else source.rows[0].start
        leading = leaf.shape[: source.num_leading]
        for at, name in zip(np.ndindex(*leading), source.names, strict=True):
            leaves = found[name].leaves if name in found else ()
            rank = bisect.bisect(starts.setdefault(name, []), start)
            starts[name].insert(rank, start)
            leaves = (*leaves[:rank], leaf, *leaves[rank:])
            found[name] = _Part(name, leaves, at, source.is_transposed)
    yield from found.values()


def _write_parts(
    folder: Path | None, parts: Sequence[Part], limit: float, write: Callable
) -> list[str]:
    """Writes weights and, for several files, their index; returns the files' names.

    Processes that do not write pass None as `folder`, and take part in the all-gathers.
    """
    groups, room = [], 0.0
    for part in parts:
        if not groups or part.nbytes > room:
            groups.append([])
            room = limit
        groups[-1].append(part)
        room -= part.nbytes
    count = len(groups)
    files = [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    files = [SINGLE] if count == 1 else files
    for file, group in zip(files, groups, strict=True):
        arrays = {}
        for part in group:
            array = part.fetch()
            if folder is not None:
                arrays[part.name] = array
        write(lambda file=file, arrays=arrays: _write_file(folder, file, arrays))
    if count == 1:
        return files
    pairs = zip(files, groups, strict=True)
    where = {part.name: file for file, group in pairs for part in group}
    size = sum(part.nbytes for part in parts)
    index = {
        "metadata": {"total_size": size},
        "weight_map": dict(sorted(where.items())),
    }

    def write_index():
        assert folder is not None  # who writes has one
        (folder / INDEX).write_text(to_json(index, indent=2) + "\n")

    write(write_index)
    return [*files, INDEX]


def _write_file(folder: Path | None, file: str, arrays: dict[str, np.ndarray]) -> None:
    assert folder is not None  # who writes has one
    try:
        save_file(arrays, folder / file, metadata={"format": "pt"})
    except SafetensorError as error:
        raise os_error(error, folder / file) from error
