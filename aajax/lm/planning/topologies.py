"""Accelerators by the names that Cloud users know, described to their compilers.

A compiler needs a description of the devices, not the devices: libtpu's describes TPU
slices, XLA's CUDA plugin describes GPUs. A slice is named as Cloud TPU names it: v5e-16
and v6e-16 have 16 chips, and so has v5p-32, which counts two TensorCores to a chip.
h100x8 is eight GPUs in one machine, h100x16 two such machines.

Sources: https://cloud.google.com/tpu/docs (v5e, v5p, v6e: system architecture),
https://jax-ml.github.io/scaling-book/tpus, and the data sheets of NVIDIA A100, H100 and
H200 (SXM). FLOPs are of bfloat16 without sparsity. A link rate is what a device can
receive over all of its links (TPU: inter-chip interconnect; GPU: NVLink).
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import os
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.experimental import topologies

from aajax.errors import InputError
from aajax.lm.planning.bounds import Rates

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device.

    Attributes:
      platform: that JAX compiles for, "tpu" or "cuda".
      memory: bytes of its high-bandwidth memory (HBM) that programs can have.
      rates: peak rates.
    """

    platform: str
    memory: float
    rates: Rates


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices that work together.

    Attributes:
      name: as users know it.
      chip: each of them.
      num_devices: of all machines.
      per_host: of one machine.
      layout: as the compiler names it, v5e:4x4 or 1x2x8.
    """

    name: str
    chip: Chip
    num_devices: int
    per_host: int
    layout: str


# The 15.75, 94.75 and 31.25 GiB are what libtpu 0.0.42 leaves to programs.
_TPU = {
    "v5e": Chip("tpu", 15.75 * GIB, Rates(197, 819, 200)),
    "v5p": Chip("tpu", 94.75 * GIB, Rates(459, 2765, 600)),
    "v6e": Chip("tpu", 31.25 * GIB, Rates(918, 1640, 448)),
}
# Layouts by number of chips; those of v5p are three-dimensional.
_FLAT = {
    **{1: "1x1", 4: "2x2", 8: "2x4", 16: "4x4", 32: "4x8", 64: "8x8"},
    **{128: "8x16", 256: "16x16"},
}
_SOLID = {
    **{4: "2x2x1", 8: "2x2x2", 16: "2x2x4", 32: "2x4x4", 64: "4x4x4"},
    **{128: "4x4x8", 256: "4x8x8", 512: "8x8x8"},
}
_GPU = {
    "a100": Chip("cuda", 80e9, Rates(312, 2039, 300)),
    "h100": Chip("cuda", 80e9, Rates(989, 3350, 450)),
    "h200": Chip("cuda", 141e9, Rates(989, 4800, 450)),
}
_GPUS = (1, 2, 4, 8, 16, 32, 64)
_IN_MACHINE = 8  # GPUs that NVLink joins

# For libtpu, which would ask a metadata server that is on Google's machines alone, and
# warn that there is none.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    # A lock that lets one process at a time have the chips, which nobody uses here.
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}

# What the compiler asks of a GPU that is not there: XLA's `GpuTargetConfigProto`.
_TARGET = """gpu_device_info {{
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 {sizes}
  fpus_per_core: {fpus} block_dim_limit_x: 2147483647 block_dim_limit_y: 65535
  block_dim_limit_z: 65535 registers_per_core_limit: 65536
  registers_per_block_limit: 65536 cuda_compute_capability {{ major: {major} }}
}}
platform_name: "CUDA"
runtime_version: {{ major: 12 minor: 9 patch: 0 }}
dnn_version_info {{ major: 9 minor: 10 }}
device_description_str: "{name}"
"""
_HOPPER = (
    "shared_memory_per_core: 233472 shared_memory_per_block_optin: 232448 "
    "core_count: 132 l2_cache_size: 52428800 clock_rate_ghz: 1.98 "
)
_AMPERE = (
    "shared_memory_per_core: 167936 shared_memory_per_block_optin: 166912 "
    "core_count: 108 l2_cache_size: 41943040 clock_rate_ghz: 1.41 "
)
_TARGETS = {
    "a100": {"name": "NVIDIA A100-SXM4-80GB", "major": 8, "fpus": 64, "sizes": _AMPERE},
    "h100": {
        "name": "NVIDIA H100 80GB HBM3",
        "major": 9,
        "fpus": 128,
        "sizes": _HOPPER,
    },
    "h200": {"name": "NVIDIA H200", "major": 9, "fpus": 128, "sizes": _HOPPER},
}


@functools.cache
def all_topologies() -> dict[str, Topology]:
    """Every topology by its name."""
    found = []
    for kind, chip in _TPU.items():
        flat = kind in ("v5e", "v6e")
        for count, layout in (_FLAT if flat else _SOLID).items():
            name = f"{kind}-{count if flat else 2 * count}"
            # Eight chips of v5e and v6e are in one machine, more in machines of four.
            per_host = count if flat and count <= 8 else 4
            found.append(Topology(name, chip, count, per_host, f"{kind}:{layout}"))
    for kind, chip in _GPU.items():
        for count in _GPUS:
            name = kind if count == 1 else f"{kind}x{count}"
            per_host = min(count, _IN_MACHINE)
            layout = f"1x{count // per_host}x{per_host}"
            found.append(Topology(name, chip, count, per_host, layout))
    return {topology.name: topology for topology in found}


def find_topology(name: str | None) -> Topology:
    """The topology of that name.

    Raises:
      InputError: for an unknown name; it names those that there are.
    """
    every = all_topologies()
    if name is not None and name.lower() in every:
        return every[name.lower()]
    kinds = ", ".join(_summary(kind) for kind in (*_TPU, *_GPU))
    raise InputError(f"topology is {name!r}: one of {kinds} is needed")


def _summary(kind: str) -> str:
    """v5e-1|4|8|... or h100|h100x2|4|..."""
    if kind in _GPU:
        return f"{kind}, {kind}x{'|'.join(str(count) for count in _GPUS[1:])}"
    sizes = [n.partition("-")[2] for n in all_topologies() if n.startswith(f"{kind}-")]
    return f"{kind}-{'|'.join(sizes)}"


def described(topology: Topology) -> Sequence[Any]:
    """Its devices, to compile for; they cannot be computed on.

    Raises:
      InputError: if the compiler is not installed, or not of this JAX's version.
    """
    check_compiler(topology.chip.platform)
    _stay_on_cpu()
    if topology.chip.platform == "tpu":
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        return _tpu_devices(topology)
    kind = topology.name.partition("x")[0]
    target = _TARGETS[kind]
    rates, memory = topology.chip.rates, topology.chip.memory
    sizes = (
        f"{target['sizes']} memory_bandwidth: {int(rates.memory_gbs * 1e9)} "
        f"device_memory_size: {int(memory)}"
    )
    config = _TARGET.format(**{**target, "sizes": sizes})
    return topologies.get_topology_desc(
        kind, "cuda", target_config=config, topology=topology.layout
    ).devices


def _tpu_devices(topology: Topology) -> Sequence[Any]:
    options = {}
    if topology.per_host != 4:
        across = {1: [1, 1, 1], 8: [2, 4, 1]}[topology.per_host]
        options["chips_per_host_bounds"] = across
    return topologies.get_topology_desc(
        topology.layout, platform="tpu", **options
    ).devices


def _stay_on_cpu() -> None:
    """Lets JAX compute on the CPU, so that no device is taken from who works there."""
    if jax.config.jax_platforms is None:  # pyright: ignore[reportAttributeAccessIssue]
        with contextlib.suppress(RuntimeError):  # where a device is in use already
            jax.config.update("jax_platforms", "cpu")


def check_compiler(platform: str) -> None:
    """Raises InputError if the platform's compiler is missing, or of another version.

    It is JAX's own metadata that say which version of libtpu it works with.
    """
    if platform == "tpu":
        _check_version("libtpu", _wanted_libtpu(), "tpu-compiler")
        return
    for package in ("jax-cuda12-plugin", "jax-cuda12-pjrt"):
        _check_version(package, jax.__version__, "gpu-compiler")
    for package in ("nvidia-cuda-nvcc-cu12", "nvidia-cudnn-cu12"):
        _check_version(package, None, "gpu-compiler")


def _wanted_libtpu() -> str | None:
    """0.0.42 of libtpu==0.0.42.*, by which JAX asks for it."""
    for requirement in importlib.metadata.requires("jax") or []:
        found = re.match(r"libtpu\s*==\s*([\d.]+?)(\.\*)?\s*(;|$)", requirement)
        if found:
            return found[1]
    return None


def _check_version(package: str, wanted: str | None, extra: str) -> None:
    """Raises InputError if a package is missing, or its version begins differently."""
    advice = f"pip install 'aajax[{extra}]'"
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise InputError(f"{package} is not installed: {advice}") from None
    if wanted is not None and not f"{installed}.".startswith(f"{wanted}."):
        raise InputError(
            f"{package} is {installed}: {wanted}, which jax {jax.__version__} works "
            f"with, is needed: {advice}"
        )
