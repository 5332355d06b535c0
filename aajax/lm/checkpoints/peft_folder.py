"""Reads and writes LoRA adapters in the PEFT library's format, which vLLM can serve."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from aajax.errors import InputError
from aajax.files import PARTIAL, naming, os_error, to_json
from aajax.lm.checkpoints.hf_names import text_name
from aajax.lm.checkpoints.peft_config import (
    CONFIG,
    ROOT,
    PeftOptions,
    Place,
    modules,
    places,
    read_options,
    together,
    write_options,
)
from aajax.lm.checkpoints.weights import all_finite
from aajax.lm.mesh.hosts import gathered, writer
from aajax.lm.model import lora as low_rank
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters
from aajax.lm.model.lora import BLOCKS, PLACES, LoraConfig, Targets
from aajax.schema import within

WEIGHTS = "adapter_model.safetensors"
DTYPES = ("F32", "F16", "BF16")

_OUTER = "base_model.model."  # what PEFT puts before the names of the base
_PARTS = {"a": "lora_A.weight", "b": "lora_B.weight"}  # stored transposed


def save_peft(
    folder: str | os.PathLike,
    config: DecoderConfig,
    lora: LoraConfig,
    adapters: Adapters,
    base_model_name: str,
) -> None:
    """Writes adapter_config.json and adapter_model.safetensors.

    Files are written atomically (to a temporary name, then renamed),
    adapter_config.json last. Other files in the folder are not touched.

    If adapters are sharded over several processes, all of them must call this; process
    0 writes, and all return when the folder is complete.

    Args:
      folder: created if it does not exist.
      config: of the base.
      lora: of the adapter.
      adapters: a single one, in float32, float16 or bfloat16.
      base_model_name: the base's name or folder, for the record only.

    Raises:
      InputError: if adapters are more than one or not of `config` and `lora`.
      OSError: if the files cannot be written.
    """
    folder = Path(folder)
    _check_adapter(config, lora, adapters)
    pairs: dict[str, dict[str, np.ndarray]] = {
        target: {part: gathered(x)[:, 0] for part, x in pair.items()}
        for target, pair in low_rank.pairs_of(adapters).items()
    }
    tensors = {}
    for target in pairs:
        pair = _fused(config, pairs, together(config, target))
        for part, end in _PARTS.items():
            for name, matrix in zip(modules(config, target), pair[part], strict=True):
                tensors[f"{_OUTER}{name}.{end}"] = np.ascontiguousarray(matrix.T)
    options = write_options(config, lora, str(base_model_name))
    writer(adapters)(lambda: _write(folder, tensors, options))


def _fused(
    config: DecoderConfig,
    pairs: Mapping[str, Mapping[str, np.ndarray]],
    parts: tuple[str, ...],
) -> Mapping[str, np.ndarray]:
    """The pair, a [layers, in, R] and b [layers, R, out], of a linear layer of parts.

    R is the rank for each of its parts: the A are side by side, and each B is in the
    rows of its own A and zero elsewhere. A part without an adapter is all zero.
    """
    if len(parts) == 1:
        return pairs[parts[0]]
    like = next(pairs[part] for part in parts if part in pairs)
    layers, num_in, rank = like["a"].shape
    sizes = [low_rank.features(config, part)[1] for part in parts]
    a = np.zeros((layers, num_in, len(parts) * rank), like["a"].dtype)
    b = np.zeros((layers, len(parts) * rank, sum(sizes)), like["b"].dtype)
    for number, (own, rows) in enumerate(_blocks(config, parts, rank)):
        if parts[number] in pairs:
            a[:, :, own] = pairs[parts[number]]["a"]
            b[:, own, rows] = pairs[parts[number]]["b"]
    return {"a": a, "b": b}


def _blocks(
    config: DecoderConfig, parts: tuple[str, ...], rank: int
) -> list[tuple[slice, slice]]:
    """Of each part, which of R and which outputs are its own."""
    ends = np.cumsum([0, *(low_rank.features(config, part)[1] for part in parts)])
    return [
        (slice(i * rank, (i + 1) * rank), slice(int(ends[i]), int(ends[i + 1])))
        for i in range(len(parts))
    ]


class _Pair(NamedTuple):
    """A linear layer's adapter: a [in, r], b [r, out], of scale alpha / divisor."""

    place: Place
    a: np.ndarray
    b: np.ndarray
    divisor: float


def _pair_of(
    config: DecoderConfig, options: PeftOptions, place: Place, tensors: Mapping
) -> _Pair | None:
    """What a folder has for a place; None where it has nothing for this part of it.

    An adapter that was made of those of several linear layers is taken apart again;
    any other of a fused layer is one of all its parts, each with its share of B.
    """
    a, b = (tensors[_stored(place, end)].T for end in _PARTS.values())
    divisor = place.rank ** (0.5 if options.use_rslora else 1.0)
    parts = together(config, place.target)
    number, each = parts.index(place.target), options.r or 8
    blocks = _blocks(config, parts, each)
    own, rows = blocks[number]
    if len(parts) > 1 and place.rank == len(parts) * each:
        outside = np.ones(b.shape, bool)
        for block in blocks:
            outside[block] = False
        if not b[outside].any():
            if not (a[:, own].any() or b[own, rows].any()):
                return None
            return _Pair(place._replace(rank=each), a[:, own], b[own, rows], divisor)
    return _Pair(place, a, b[:, rows], divisor)


def _write(folder: Path, tensors: dict[str, np.ndarray], options: dict) -> None:
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL) as name:
            made = Path(name)
            try:
                save_file(tensors, made / WEIGHTS, metadata={"format": "pt"})
            except SafetensorError as error:
                raise os_error(error, folder) from error
            (made / CONFIG).write_text(to_json(options, indent=2) + "\n")
            (folder / CONFIG).unlink(missing_ok=True)
            for file in (WEIGHTS, CONFIG):
                os.replace(made / file, folder / file)


def load_peft(
    folder: str | os.PathLike, config: DecoderConfig, dtype: jnp.dtype = jnp.float32
) -> tuple[LoraConfig, Adapters]:
    """Loads the adapter of a folder, as `Adapters` with n = 1.

    If rank or alpha differ between layers (rank_pattern, alpha_pattern), all get the
    largest rank and scale: A and B are padded with zeros, also in layers without an
    adapter, and B is multiplied where the scale is smaller. With use_rslora the
    returned alpha is such that alpha / rank is the scale alpha / √r.

    Args:
      folder: with adapter_config.json and adapter_model.safetensors.
      config: of the base.
      dtype: to which A and B are converted.

    Raises:
      InputError: if the folder cannot be read, does not fit this decoder, or holds
        anything but LoRA of linear layers.
    """
    folder = Path(folder)
    options = read_options(folder)
    tensors, root = _read_tensors(folder, config)
    with within(f"file is {folder / CONFIG}: "):
        found = places(config, options, root)
    _check_tensors(folder, config, found, tensors)
    each = [_pair_of(config, options, place, tensors) for place in found]
    each = [pair for pair in each if pair is not None]
    if not each:
        raise InputError(
            f"folder is {str(folder)!r}: {WEIGHTS} is all zero; an adapter of one "
            "linear layer or more is needed"
        )
    rank = max(pair.place.rank for pair in each)
    # Scale times rank; without patterns exactly the alpha that is stored.
    alphas = [pair.place.alpha * rank / pair.divisor for pair in each]
    there = {PLACES[pair.place.target][1] for pair in each}
    targets: Targets = tuple(name for name in BLOCKS if name in there)
    lora = LoraConfig(rank, float(max(alphas)), targets)
    pairs = {}
    for name in low_rank.linear_layers(config, targets):
        num_in, num_out = low_rank.features(config, name)
        layers = low_rank.num_layers(config, name)
        pairs[name] = {
            "a": np.zeros((layers, 1, num_in, rank), np.float32),
            "b": np.zeros((layers, 1, rank, num_out), np.float32),
        }
    for (place, a, b, _), alpha in zip(each, alphas, strict=True):
        pair, own = pairs[place.target], slice(place.rank)
        pair["a"][place.layer, 0, :, own] = a
        pair["b"][place.layer, 0, own] = b * np.float32(alpha / lora.alpha)
    pairs = {
        name: {part: jnp.asarray(x, dtype) for part, x in pair.items()}
        for name, pair in pairs.items()
    }
    scale = jnp.full(1, lora.scale, jnp.float32)
    return lora, Adapters(low_rank.weights_of(pairs), scale)


def _stored(place: Place, end: str) -> str:
    return f"{_OUTER}{place.name}.{end}"


def _check_adapter(config: DecoderConfig, lora: LoraConfig, adapters: Adapters) -> None:
    count, pairs = len(adapters.scale), low_rank.pairs_of(adapters)
    if count != 1:
        raise InputError(f"adapters has {count} adapters: exactly 1 is needed")
    low_rank.check_fits(config, adapters)
    if set(pairs) != set(low_rank.linear_layers(config, lora.targets)):
        raise InputError(
            f"adapters has targets {', '.join(pairs)}: those of lora, "
            f"{', '.join(lora.targets)}, are needed"
        )
    for name, pair in pairs.items():
        if pair["a"].shape[-1] != lora.rank:
            raise InputError(
                f"adapters has rank {pair['a'].shape[-1]} in {name}: that of lora, "
                f"{lora.rank}, is needed"
            )
    scale = float(gathered(adapters.scale)[0])
    if not np.isclose(scale, lora.scale, rtol=1e-6, atol=0.0):
        raise InputError(
            f"adapters has scale {scale}: alpha / rank of lora, {lora.scale}, is needed"
        )


def read_arrays(folder: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an adapter, by their names in its folder.

    Raises:
      InputError: if they cannot be read.
    """
    with _opened(Path(folder)) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _read_tensors(
    folder: Path, config: DecoderConfig
) -> tuple[dict[str, np.ndarray], str]:
    """Tensors by their names in a text-only model, and the original prefix of names."""
    tensors, root = {}, ROOT
    with _opened(folder) as file:
        for key in file.keys():  # noqa: SIM118 (a handle is no mapping)
            inner = key.removeprefix(_OUTER)
            plain = text_name(config, inner)
            if plain is None:
                continue
            dtype = file.get_slice(key).get_dtype()
            if dtype not in DTYPES:
                raise InputError(
                    f"folder is {str(folder)!r}: {key} is {dtype}, one of "
                    f"{', '.join(DTYPES)} is needed"
                )
            if plain.startswith(ROOT):
                root = inner.removesuffix(plain.removeprefix(ROOT))
            # A tensor without it keeps a name that nothing expects.
            name = _OUTER + plain if inner != key else key
            if name in tensors:
                raise InputError(
                    f"folder is {str(folder)!r}: {name} must be there once"
                )
            tensors[name] = file.get_tensor(key)
            if not all_finite(tensors[name]):
                raise InputError(
                    f"folder is {str(folder)!r}: {key} in {WEIGHTS} has a NaN or "
                    "an infinity; finite numbers are needed"
                )
    return tensors, root


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[Any]:
    """The file of weights; raises InputError if it cannot be read."""
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as file:
            yield file
    except FileNotFoundError as error:
        raise InputError(
            f"folder is {str(folder)!r}: an {WEIGHTS} in it is needed"
        ) from error
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"folder is {str(folder)!r}: {WEIGHTS} cannot be read ({reason})"
        ) from error


def _check_tensors(
    folder: Path,
    config: DecoderConfig,
    found: list[Place],
    tensors: Mapping[str, np.ndarray],
) -> None:
    wanted = {}
    for place in found:
        parts = together(config, place.target)
        num_in = low_rank.features(config, place.target)[0]
        num_out = sum(low_rank.features(config, part)[1] for part in parts)
        wanted[_stored(place, _PARTS["a"])] = place.rank, num_in
        wanted[_stored(place, _PARTS["b"])] = num_out, place.rank
    faults = {
        "missing": [name for name in wanted if name not in tensors],
        "not expected": [name for name in tensors if name not in wanted],
        "misshapen": [
            f"{name} {list(tensors[name].shape)} for {list(shape)}"
            for name, shape in wanted.items()
            if name in tensors and tensors[name].shape != shape
        ],
    }
    lines = [
        f"{len(names)} {what}: {', '.join(names[:3])}{', ...' if names[3:] else ''}"
        for what, names in faults.items()
        if names
    ]
    if lines:
        raise InputError(
            f"folder is {str(folder)!r}: the tensors that its {CONFIG} says are "
            f"needed, {'; '.join(lines)}"
        )
