"""Device meshes, partition rules for a decoder's arrays, and multi-process start-up.

There are three mesh axes, of any size: `data` (data parallel) replicates weights and
shards the batch; `fsdp` shards weights and the batch; `tensor` (tensor parallel) shards
heads, hidden units and vocabulary. XLA inserts the communication (GSPMD,
https://arxiv.org/abs/2105.04663).
"""

import importlib.util
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.errors import InputError
from aajax.lm.model.cache import Cache
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES, BATCH, dividing
from aajax.types import Array, PyTree

# The first regular expression found in a leaf's path says how it is split. Paths of
# optimiser states end in those of the weights, so that moments lie where weights do.
PARTITION_RULES = (
    (r"(^|/)(embedding|head)$", P("tensor", "fsdp")),  # [V, D]
    (r"(output|down)/kernel$", P(None, "tensor", "fsdp")),  # [layers, in, out]
    (r"router/kernel$", P(None, "fsdp", None)),
    (r"kernel$", P(None, "fsdp", "tensor")),
    (r"down/kernels$", P(None, None, "tensor", "fsdp")),  # [layers, experts, in, out]
    (r"kernels$", P(None, None, "fsdp", "tensor")),
    (r"(output|down)/bias$", P(None, None)),  # [layers, out]
    (r"bias$", P(None, "tensor")),
    (r"scale$", P()),  # norms; scales of adapters
    # Of adapters: as their kernels are, and over fsdp in either case.
    (r"(output|down)/a$", P(None, None, ("tensor", "fsdp"), None)),  # [..., in, r]
    (r"(output|down)/b$", P(None, None, None, "fsdp")),  # [layers, n, r, out]
    (r"(^|/)a$", P(None, None, "fsdp", None)),
    (r"(^|/)b$", P(None, None, None, ("tensor", "fsdp"))),
    # Of joined adapters [layers, n r, in or out] likewise.
    (r"(output|down)/joined_a$", P(None, None, ("tensor", "fsdp"))),
    (r"(output|down)/joined_b$", P(None, None, "fsdp")),
    (r"(^|/)joined_a$", P(None, "tensor", "fsdp")),
    (r"(^|/)joined_b$", P(None, None, ("tensor", "fsdp"))),
)

HEARTBEAT = 40  # seconds after which a process of a job that is silent counts as lost

_log = logging.getLogger(__name__)


def start_distributed(**options) -> None:
    """Initialises JAX for a multi-process job, if this process belongs to one.

    Call it in every process before any device is used. SLURM, Open MPI, Cloud TPU pods
    and GKE are detected:

        srun --nodes 4 --ntasks-per-node 8 --gpus-per-node 8 aajax train ...
        gcloud compute tpus tpu-vm ssh NAME --worker all --command "aajax train ..."
        GKE: a JobSet of TPU pods whose command is aajax train ...

    SLURM and Open MPI need one task per GPU: JAX gives each task the GPU of its local
    rank, unless JAX_LOCAL_DEVICE_IDS=0,1,... is set.

    Elsewhere, as in Kubernetes jobs with GPUs, set three variables and run the same
    command in each process i of n:

        JAX_COORDINATOR_ADDRESS=HOST:PORT JAX_NUM_PROCESSES=n JAX_PROCESS_ID=i \
            aajax train ...

    Without any of these nothing is done: the process is the only one.

    Args:
      options: of `jax.distributed.initialize`, in place of what is detected:
        coordinator_address, num_processes, process_id, local_device_ids, ...

    Raises:
      InputError: if only some of the three variables are set.
      RuntimeError: by `jax.distributed.initialize`, if a device was used before.
    """
    options = {**_from_variables(os.environ), **options}
    if not options and not _is_cluster(os.environ):
        _log.info("one process: nothing says that there are others")
        return
    # A process that is killed ends the others within a minute.
    jax.distributed.initialize(**{"heartbeat_timeout_seconds": HEARTBEAT, **options})
    _log.info(
        "process %d of %d, with %d of %d devices", jax.process_index(),
        jax.process_count(), jax.local_device_count(), jax.device_count(),
    )  # fmt: skip


def _from_variables(environ: Mapping[str, str]) -> dict[str, str | int]:
    kinds = {
        "JAX_COORDINATOR_ADDRESS": str,
        "JAX_NUM_PROCESSES": int,
        "JAX_PROCESS_ID": int,
    }
    missing = [name for name in kinds if name not in environ]
    if len(missing) == len(kinds):
        return {}
    if missing:
        raise InputError(f"{missing[0]} is not set: all of {', '.join(kinds)} or none")
    options = {}
    for name, kind in kinds.items():
        try:
            options[name.removeprefix("JAX_").lower()] = kind(environ[name])
        except ValueError:
            raise InputError(
                f"{name} is {environ[name]!r}: an integer is needed"
            ) from None
    return options


def _is_cluster(environ: Mapping[str, str]) -> bool:
    """Whether a scheduler's environment variables indicate more than one process."""
    # Not SLURM_NTASKS, which a batch script sees too before it has called srun.
    for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"):
        if name in environ:
            return int(environ[name]) > 1
    # GKE and hosted notebooks name a TPU's machines; a single one itself alone.
    for name in ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES"):
        if name in environ:
            slices = int(environ.get("MEGASCALE_NUM_SLICES") or 1)
            return slices * len(environ[name].split(",")) > 1
    # Cloud TPU machines ask their metadata server; JAX forbids it where no TPU is.
    has_tpu = importlib.util.find_spec("libtpu") is not None
    return has_tpu and "TPU_SKIP_MDS_QUERY" not in environ


def mesh_shape(num_devices: int, data: int, fsdp: int, tensor: int) -> tuple[int, ...]:
    """Sizes of the axes; −1 becomes num_devices over the product of the others.

    Raises:
      InputError: if the product is not the number of devices.
    """
    sizes = {"data": data, "fsdp": fsdp, "tensor": tensor}
    for name, size in sizes.items():
        if size < 1 and size != -1:
            raise InputError(f"{name} is {size}: a positive number, or -1, is needed")
    free = [name for name, size in sizes.items() if size == -1]
    if len(free) > 1:
        raise InputError(f"{free[1]} is -1: only one axis can take what is left")
    taken = math.prod(size for size in sizes.values() if size != -1)
    if free:
        sizes[free[0]] = max(num_devices // taken, 1)
    if math.prod(sizes.values()) != num_devices:
        wanted = " x ".join(f"{name} {size}" for name, size in sizes.items())
        raise InputError(
            f"mesh is {wanted}: a product of {num_devices}, the number of devices, "
            "is needed"
        )
    return tuple(sizes.values())


def make_mesh(
    data: int = 1,
    fsdp: int = 1,
    tensor: int = 1,
    devices: Sequence[jax.Device] | None = None,  # pyright: ignore[reportInvalidTypeForm]
) -> Mesh:
    """A mesh with the axes data, fsdp and tensor.

    `tensor` is innermost, so that it spans devices that are close to each other, and
    those of one process wherever it divides their number: a process then has sequences
    of its own, and the chattiest axis stays inside a machine.

    Args:
      data, fsdp, tensor: sizes of the axes; one may be −1, for the remaining devices.
      devices: as many as the product of the sizes; None for all of all processes.

    Raises:
      InputError: if the sizes do not fit the devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    shape = mesh_shape(len(devices), data, fsdp, tensor)
    # By default axes are Explicit, and ordinary contractions do not trace.
    types = (AxisType.Auto,) * len(AXES)
    mesh = jax.make_mesh(shape, AXES, axis_types=types, devices=devices)
    by_process = process_blocks(mesh.devices)
    if by_process is mesh.devices:
        return mesh
    return Mesh(by_process, AXES, axis_types=types)


def process_blocks(devices: np.ndarray) -> np.ndarray:
    """The devices [data, fsdp, tensor], those of a process in rows of their own.

    They stay as they are if they lie so already, or cannot, since tensor does not
    divide the number of devices of each process. Of a slice of TPUs, whose machines
    have 2 x 2 chips, a row of four chips in one line would span two machines.
    """
    tensor = devices.shape[2]
    rows = [{one.process_index for one in row} for row in devices.reshape(-1, tensor)]
    if all(len(row) == 1 for row in rows):
        return devices
    ordered = sorted(devices.flat, key=lambda one: (one.process_index, one.id))
    counts = Counter(one.process_index for one in ordered)
    if any(count % tensor for count in counts.values()):
        return devices
    blocks = np.empty(len(ordered), object)
    blocks[:] = ordered
    return blocks.reshape(devices.shape)


def check_divides(config: DecoderConfig, fsdp: int, tensor: int) -> None:
    """Checks that the mesh axes divide the dimensions of a decoder's kernels.

    Vocabulary and biases are not checked: if an axis does not divide them they are
    replicated along it.

    Raises:
      InputError: names the axis and the dimension that it does not divide.
    """
    heads = config.num_heads * config.head_dim
    for axis, size, name, length in (
        ("fsdp", fsdp, "hidden_size", config.hidden_size),
        ("tensor", tensor, "num_heads x head_dim", heads),
        ("tensor", tensor, "intermediate_size", config.intermediate_size),
    ):
        if length % size:
            raise InputError(
                f"{axis} is {size}: a divisor of {name}, {length}, is needed, or "
                "kernels are not split"
            )


def partition_spec(path: str) -> P:
    """The PartitionSpec of the leaf at `path`, such as layers/mlp/up/kernel.

    By `PARTITION_RULES`, which cover all weights, adapters and their optimiser states;
    other leaves are replicated.
    """
    for pattern, spec in PARTITION_RULES:
        if re.search(pattern, path):
            return spec
    return P()


def param_shardings(mesh: Mesh | AbstractMesh, shapes: PyTree) -> PyTree:
    """Shardings of weights, adapters or optimiser states, by `PARTITION_RULES`.

    Arrays are replicated along an axis that does not divide the dimension, and along
    all axes if their rank is not the rule's, as for the step counts and factored
    moments of some optimisers.

    Args:
      mesh: with the axes of `make_mesh`.
      shapes: pytree of arrays or `jax.ShapeDtypeStruct`s.
    """

    def sharding(path, leaf) -> NamedSharding:
        spec = partition_spec(jax.tree_util.keystr(path, simple=True, separator="/"))
        if len(spec) != len(leaf.shape):
            spec = P()
        return NamedSharding(mesh, dividing(mesh, spec, leaf.shape))

    return jax.tree_util.tree_map_with_path(sharding, shapes)


def batch_shardings(mesh: Mesh | AbstractMesh, shapes: PyTree) -> PyTree:
    """Shardings of arrays [B, ...] over data and fsdp, where these divide B."""

    def sharding(leaf) -> NamedSharding:
        spec = P(BATCH) if leaf.shape else P()
        return NamedSharding(mesh, dividing(mesh, spec, leaf.shape))

    return jax.tree.map(sharding, shapes)


def cache_shardings(mesh: Mesh | AbstractMesh, cache: Cache) -> Cache:
    """Shardings of a cache: sequences over data and fsdp, heads over tensor."""

    def sharding(leaf, spec) -> NamedSharding:
        return NamedSharding(mesh, dividing(mesh, spec, leaf.shape))

    heads = (BATCH, "tensor", None, None)
    heads = P(*heads) if cache.is_apart else P(None, *heads)
    specs = Cache(heads, heads, P(BATCH), P(BATCH, "tensor"))  # pyright: ignore[reportArgumentType]
    parts = [
        jax.tree.map(lambda leaf, spec=spec: sharding(leaf, spec), part)
        for part, spec in zip(cache, specs, strict=True)
    ]
    return Cache._make(parts)


def shard(params: PyTree, mesh: Mesh) -> PyTree:
    """Places parameters on the mesh by `param_shardings`.

    Every process must pass the full arrays, with equal values.
    """
    return jax.tree.map(_place, params, param_shardings(mesh, params))


def shard_batch(mesh: Mesh, batch: PyTree) -> PyTree:
    """A global batch, sharded over data and fsdp, from each process's rows [B, ...].

    With n processes the global batch has n B rows.

    Raises:
      InputError: if data and fsdp do not split the rows evenly among several processes.
    """
    count = len({device.process_index for device in mesh.devices.flat})
    if count == 1:
        return jax.tree.map(_place, batch, batch_shardings(mesh, batch))
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if parts % count:
        raise InputError(
            f"mesh is data x fsdp = {parts}: a multiple of the {count} processes is "
            "needed, each of which has rows of its own"
        )

    def place(rows: Array) -> Array:
        shape = (count * len(rows), *rows.shape[1:])
        if shape[0] % parts:
            raise InputError(
                f"batch is {shape[0]} sequences: a multiple of data x fsdp = {parts} "
                "is needed with many processes"
            )
        if _is_key(rows):
            numbers = place(jax.random.key_data(rows))
            return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(rows))
        sharding = NamedSharding(mesh, P(BATCH))
        return jax.make_array_from_process_local_data(sharding, np.asarray(rows), shape)

    return jax.tree.map(place, batch)


def _is_key(x: Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _place(x: Array, sharding: NamedSharding) -> Array:
    if jax.process_count() == 1:
        return jax.device_put(x, sharding)
    whole = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda index: whole[index])
