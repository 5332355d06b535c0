"""Estimates of memory per device for training and sampling, without weights or devices.

Sizes are those of `jax.eval_shape`, sharded by `mesh.sharding`. Activations are the
residuals of `jax.vjp`, traced as for an accelerator, whose fused attention keeps no
scores. XLA's temporaries are estimated, see `_working_bytes` and `_reading_bytes`.
Training came to 0.9 to 1.3 times what compilers for TPUs and GPUs allot, playing to 0.8
to 1.1 times (tests/lm/test_dry_run.py); `topologies` and `compile` ask the compilers.
"""

import contextlib
import dataclasses
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractDevice, AbstractMesh, AxisType

from aajax.errors import InputError
from aajax.lm.mesh.playing import Longest, cache_bytes, fewest
from aajax.lm.mesh.sharding import cache_shardings, check_divides, param_shardings
from aajax.lm.model.attention import SLOTS
from aajax.lm.model.cache import init_cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES
from aajax.lm.model.decoder import Adapters, init_params
from aajax.lm.model.lora import LoraConfig, init_adapters, targets_of
from aajax.lm.sampling.prefill import fitting_chunk
from aajax.lm.training.fit import TokenBatch, token_loss
from aajax.schema import Count, check
from aajax.types import PyTree

_IN_MACHINE = 8  # devices, most
_AUTO = (AxisType.Auto,) * len(AXES)
_ACCELERATOR = AbstractMesh(
    (1,) * len(AXES),
    AXES,
    axis_types=_AUTO,
    abstract_device=AbstractDevice("TPU v5 lite", 1, "tpu"),
)
HEADROOM = 0.1  # of a device's memory, left to the runtime and to fragmentation


@dataclasses.dataclass(frozen=True)
class Job:
    """A training job.

    Attributes:
      batch, length: number of sequences per step and in play, over all devices; tokens
        of each.
      evaluated: sequences that the closing evaluation plays at a time, or a league;
        None for `batch`.
      train: adapters on a frozen base, or all params.
      rank, num_adapters: of adapters; one is trained, and the others, past selves, are
        played with.
      remat: recompute layers in the backward pass.
      num_microbatches: parts of a training batch.
      dtype: of the arithmetic, of a frozen base and of the cache. What is trained is
        float32.
      chunk_size: places whose logits exist at the same time.
    """

    batch: Count = 64
    evaluated: Count | None = None
    length: Count = 2048
    train: Literal["adapters", "params"] = "adapters"
    rank: Count = 32
    num_adapters: Count = 1
    remat: bool = True
    num_microbatches: Count = 1
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    chunk_size: Count = 256

    __post_init__ = check

    @property
    def evaluation(self) -> "Job":
        """The closing evaluation, in which the learner plays alone."""
        batch = self.batch if self.evaluated is None else self.evaluated
        return dataclasses.replace(
            self, batch=batch, num_microbatches=1, num_adapters=1
        )

    def check_relations(self):
        if self.batch % self.num_microbatches:
            raise InputError(
                f"num_microbatches is {self.num_microbatches}: a divisor of the batch, "
                f"{self.batch}, is needed"
            )


class Part(NamedTuple):
    """Bytes of a group of arrays.

    Attributes:
      total: of the full arrays, replicas counted once.
      per_device: on each device.
    """

    total: int
    per_device: int


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Memory of a job.

    Attributes:
      num_params: of the decoder; tied embeddings count once.
      num_trained: numbers that the optimiser changes.
      params, adapters, optimizer, gradient: what lies in memory between or in steps.
      past: the stack of adapters that are played with; nothing if there is but one.
      copy: weights, where training splits them over fsdp, and adapters as they are laid
        out for playing (see `mesh.playing`).
      activations: kept for the backward pass of one micro-batch.
      working: needed for a moment in training: one layer's backward pass with its
        weights gathered, or that of the logits.
      cache: keys and values of a whole batch of games.
      reading: needed for a moment to read a chunk of all prompts.
      evaluation: copy, cache and reading of the closing evaluation.
    """

    num_params: int
    num_trained: int
    params: Part
    adapters: Part
    optimizer: Part
    gradient: Part
    activations: Part
    working: Part
    cache: Part
    past: Part
    copy: Part
    reading: Part
    evaluation: Part

    @property
    def training(self) -> int:
        """Bytes of each device in a training step, the stack of adapters staying."""
        parts = self.past, self.gradient, self.activations, self.working
        return self._resident + sum(part.per_device for part in parts)

    @property
    def playing(self) -> int:
        """Bytes of each device while it plays, the optimiser's state staying there."""
        parts = self.past, self.copy, self.cache, self.reading
        return self._resident + sum(part.per_device for part in parts)

    @property
    def evaluating(self) -> int:
        """Bytes of each device in the closing evaluation, the same staying there."""
        return self._resident + self.evaluation.per_device

    @property
    def _resident(self) -> int:
        return (
            self.params.per_device
            + self.adapters.per_device
            + self.optimizer.per_device
        )


def fits(num_bytes: int, memory_gb: float) -> bool:
    """Whether `num_bytes` fit in `memory_gb` · 10⁹ bytes with a tenth left free."""
    return num_bytes <= (1 - HEADROOM) * memory_gb * 1e9


def estimate(
    config: DecoderConfig,
    job: Job = Job(),
    *,
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
    optimizer: optax.GradientTransformation | None = None,
    memory_gb: float | None = None,
) -> Estimate:
    """Estimates the memory of a job on a mesh.

    Args:
      config: of the decoder.
      job: what is trained.
      data, fsdp, tensor: sizes of the mesh axes.
      optimizer: Adam if not given.
      memory_gb: of a device, by which the layout for playing is chosen; None for the
        tensor axis of training.

    Raises:
      InputError: for a size below 1, or one that does not divide what it is to split,
        sequences of a micro-batch among it; for more rank than the base has.
    """
    shape = data, fsdp, tensor
    for name, size in zip(AXES, shape, strict=True):
        if size < 1:
            raise InputError(f"{name} is {size}: at least 1 is needed")
    check_divides(config, fsdp, tensor)
    if job.train == "adapters" and job.rank > config.hidden_size:
        raise InputError(
            f"rank is {job.rank}: at most the hidden size of the base, "
            f"{config.hidden_size}, is needed"
        )
    mesh = AbstractMesh(shape, AXES, axis_types=_AUTO)
    optimizer = optax.adam(1e-3) if optimizer is None else optimizer
    dtype = jnp.dtype(job.dtype)
    tuned = job.train == "adapters"
    params = _params(config, dtype if tuned else jnp.float32)
    adapters = _adapters(config, job.rank, 1) if tuned else {}
    number = job.num_adapters if tuned else 0
    past = _adapters(config, job.rank, number) if number > 1 else {}
    trained = adapters if tuned else params
    moments = jax.eval_shape(optimizer.init, trained)
    rows = job.batch // job.num_microbatches
    parts = data * fsdp
    if rows % parts:
        raise InputError(
            f"batch is {job.batch}: its {job.num_microbatches} parts, of {rows} "
            f"sequences, need to divide among data x fsdp, {data} x {fsdp}"
        )
    own_rows = rows // parts
    local = _local(config, tensor)
    # What layers keep is the input of each, which compilers split along tensor too.
    split = tensor if job.remat else 1
    kept = _activation_bytes(local, job, own_rows) // split
    working = _working_bytes(local, job, own_rows, mesh, params)
    played = _played(config, job, shape, params, past, memory_gb)
    copy, cache, reading, evaluation = played
    return Estimate(
        num_params=_count(params),
        num_trained=_count(trained),
        params=_part(params, param_shardings(mesh, params)),
        adapters=_part(adapters, param_shardings(mesh, adapters)),
        optimizer=_part(moments, param_shardings(mesh, moments)),
        gradient=_part(trained, param_shardings(mesh, trained)),
        activations=Part(kept * split * parts, kept),
        working=Part(working * math.prod(shape), working),
        cache=cache,
        past=_part(past, param_shardings(mesh, past)),
        copy=copy,
        reading=reading,
        evaluation=evaluation,
    )


def _played(
    config: DecoderConfig,
    job: Job,
    shape: tuple[int, int, int],
    params: PyTree,
    past: PyTree,
    memory_gb: float | None,
) -> tuple[Part, Part, Part, Part]:
    """`copy`, `cache`, `reading` and `evaluation` of an `Estimate`."""
    (_, fsdp, tensor), devices = shape, math.prod(shape)
    memory = None if memory_gb is None else memory_gb * 1e9
    if fsdp > 1 and memory is not None:
        tensor = _playing_tensor(config, job, tensor, devices, _bytes(params), memory)
    plays_on = devices // tensor, fsdp, tensor
    parts = _playing(config, job, plays_on, params, past, memory)
    alone = _playing(config, job.evaluation, plays_on, params, {}, memory)
    return *parts, Part(*map(sum, zip(*alone, strict=True)))


def _playing(
    config: DecoderConfig,
    job: Job,
    plays_on: tuple[int, int, int],
    params: PyTree,
    past: PyTree,
    memory: float | None,
) -> tuple[Part, Part, Part]:
    """`copy`, `cache` and `reading` of an `Estimate`.

    Args:
      plays_on: data x tensor devices, and between them over how many weights are split
        in training.
      memory: bytes of a device, if they are known.
    """
    groups, fsdp, tensor = plays_on
    number, dtype = groups * tensor, jnp.dtype(job.dtype)
    mesh = AbstractMesh((groups, 1, tensor), AXES, axis_types=_AUTO)
    copy = Part(0, 0)
    if fsdp > 1:
        copy = _part(params, param_shardings(mesh, params))
    if past:
        own = past["attention"]["query"]["a"].dtype.itemsize
        joined = _bytes(past) // own * dtype.itemsize
        copy = Part(copy.total + joined, copy.per_device + joined // tensor)
    cache = jax.eval_shape(lambda: init_cache(config, job.batch, job.length, dtype))
    reading = _reading_bytes(
        _local(config, tensor), job, -(-job.batch // groups), memory
    )
    return (
        copy,
        _part(cache, cache_shardings(mesh, cache)),
        Part(reading * number, reading),
    )


def _playing_tensor(
    config: DecoderConfig,
    job: Job,
    tensor: int,
    number: int,
    weights: int,
    memory: float,
) -> int:
    """Of `mesh.playing.playing_tensor`, in machines of up to eight devices."""
    fitting = [tensor]
    for size in range(tensor + tensor, min(number, _IN_MACHINE) + 1, tensor):
        with contextlib.suppress(InputError):
            check_divides(config, 1, size)
            if number % size == 0:
                fitting.append(size)
    longest, dtype = Longest(job.batch, job.length), jnp.dtype(job.dtype)

    def cache(size: int) -> int:
        return cache_bytes(config, dtype, longest, number // size, size)

    return fewest(fitting, weights, cache, memory)


def _adapters(config: DecoderConfig, rank: int, number: int) -> PyTree:
    """`Adapters.weights` of every linear layer that can have them."""
    lora = LoraConfig(rank=rank, targets=targets_of(config))

    def init():
        key = jax.random.key(0)
        return init_adapters(config, lora, key, number)

    return jax.eval_shape(init).weights


def _activation_bytes(config: DecoderConfig, job: Job, rows: int) -> int:
    """Bytes of activations kept for the backward pass of `rows` sequences, per device.

    They are the part of the residuals of `jax.vjp` that grows with the number of
    sequences; the rest are weights.
    """
    return _residual_bytes(config, job, 2 * rows) - _residual_bytes(config, job, rows)


def _residual_bytes(config: DecoderConfig, job: Job, rows: int) -> int:
    dtype = jnp.dtype(job.dtype)
    tuned = job.train == "adapters"
    params = _params(config, dtype if tuned else jnp.float32)
    weights = _adapters(config, job.rank, 1) if tuned else params
    ids = jax.ShapeDtypeStruct((rows, job.length), jnp.int32)
    floats = jax.ShapeDtypeStruct(ids.shape, jnp.float32)
    which = jax.ShapeDtypeStruct((rows,), jnp.int32)
    batch = TokenBatch._make((ids, ids, ids, floats, which, None))
    scale = jax.ShapeDtypeStruct((1,), jnp.float32)

    def residuals(weights, params, batch, scale):
        def total(weights):
            options = {"dtype": dtype, "remat": job.remat}
            options["chunk_size"] = job.chunk_size
            if tuned:
                adapters = Adapters(weights, scale)
                return token_loss(config, params, batch, adapters, **options).total
            return token_loss(config, weights, batch, None, **options).total

        return jax.vjp(total, weights)[1]

    with jax.sharding.use_abstract_mesh(_ACCELERATOR):
        return _bytes(jax.eval_shape(residuals, weights, params, batch, scale))


def _working_bytes(
    local: DecoderConfig, job: Job, rows: int, mesh: AbstractMesh, params: PyTree
) -> int:
    """The larger of a layer's and of the logits' backward pass.

    layer: what it keeps without remat (gradients take the place of what was kept), and,
      with fsdp, its weights gathered, twice, as the next layer's are fetched meanwhile.
      Without tensor, weights come piece by piece, while two f32[rows, L, inner] wait
    logits: three of f32[rows, chunk_size, V], and the head, gathered with fsdp
    """
    kinds = ("sliding", "unrotated", "recurrent")
    first = {name: getattr(local, name)[:1] for name in kinds}
    one = dataclasses.replace(local, num_layers=1, **first)
    none = dataclasses.replace(job, remat=False)
    head = params["embedding"]
    layer = _activation_bytes(one, none, rows)
    chunk = min(job.chunk_size, job.length)
    vocab = local.vocab_size
    logits = 3 * 4 * rows * chunk * vocab
    if mesh.shape["fsdp"] > 1:
        weights = _bytes(params["layers"]) // local.num_layers
        layer += 2 * weights // mesh.shape["tensor"]
        if mesh.shape["tensor"] == 1:
            layer += 2 * 4 * rows * job.length * local.units_per_token
        logits += vocab * local.hidden_size * head.dtype.itemsize
    return max(layer, logits)


def _reading_bytes(
    local: DecoderConfig, job: Job, rows: int, memory: float | None
) -> int:
    """Of one layer that reads a chunk of every prompt.

    Ten vectors of the hidden size and two of the MLP's for each token, and its scores
    of one block of the cache.
    """
    dtype = jnp.dtype(job.dtype)
    chunk = min(fitting_chunk(local, rows, None, dtype, memory), job.length)
    of_token = (10 * local.hidden_size + 2 * local.units_per_token) * dtype.itemsize
    scores = dtype.itemsize * local.num_heads * min(SLOTS, job.length)
    return rows * chunk * (of_token + scores)


def _local(config: DecoderConfig, tensor: int) -> DecoderConfig:
    """The part of each layer's activations that one of `tensor` devices has."""

    def share(size: int) -> int:
        return size // tensor if size % tensor == 0 else size

    heads, kv_heads = share(config.num_heads), share(config.num_kv_heads)
    full = None if config.full_kv_heads is None else share(config.full_kv_heads)
    if heads % kv_heads or (full and heads % full):
        heads = config.num_heads
    return dataclasses.replace(
        config,
        num_heads=heads,
        num_kv_heads=kv_heads,
        full_kv_heads=full,
        intermediate_size=share(config.intermediate_size),
        vocab_size=share(config.vocab_size),
    )


def _params(config: DecoderConfig, dtype: jnp.dtype) -> PyTree:
    return jax.eval_shape(lambda: init_params(config, jax.random.key(0), dtype))


def _count(shapes: PyTree) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def _bytes(shapes: PyTree) -> int:
    leaves = jax.tree.leaves(shapes)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def _part(shapes: PyTree, shardings: PyTree) -> Part:
    def own(leaf, sharding) -> int:
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    each = jax.tree.leaves(jax.tree.map(own, shapes, shardings))
    return Part(_bytes(shapes), sum(each))
