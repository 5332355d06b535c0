"""Programs compiled for devices that are not there, and what their compiler says.

    memory = arguments + outputs − aliases + temporaries + code

of each device, in bytes, as the compiler assigns it. Nothing is run.
"""

import dataclasses
import math
import pickle
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import jax
from jax.experimental import serialize_executable
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from aajax.errors import InputError
from aajax.files import written
from aajax.lm.ahead import fingerprint
from aajax.lm.planning.hlo import Counts, count
from aajax.lm.planning.topologies import Topology
from aajax.types import PyTree

# Of GPUs: without a device there is nothing to time kernels on.
_OPTIONS = {"cuda": {"xla_gpu_autotune_level": "0"}, "tpu": {}}
_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
PATIENCE = 60.0  # seconds of compiling after which it is said that it goes on

Lowered = jax.stages.Lowered
Compiled = jax.stages.Compiled


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes of each device, as the compiler assigns them.

    Attributes:
      arguments: that the program is given, weights among them.
      outputs: that are not written in place of arguments.
      temporaries: in between.
      code: of the program.
    """

    arguments: int
    outputs: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        return self.arguments + self.outputs + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class Report:
    """A program, compiled or not.

    Attributes:
      seconds: that it took to compile.
      memory: None if the compiler found no room.
      needed: bytes of each device, also without room for them.
      counts: of what it does; None if it was not compiled.
      fingerprint: of what was compiled; see `ahead.fingerprint`.
      text: the optimised program; empty if it was not compiled.
    """

    seconds: float
    memory: Memory | None
    needed: int
    counts: Counts | None
    fingerprint: str = ""
    text: str = dataclasses.field(repr=False, default="")

    def fits(self, topology: Topology, others: int = 0) -> bool:
        """Whether it was compiled, and has room beside `others`, in bytes."""
        room = topology.chip.memory - others
        return self.memory is not None and self.needed <= room

    @property
    def work(self) -> Counts:
        """Of one run; of decoding, of one token."""
        assert self.counts is not None
        return self.counts if self.counts.turn is None else self.counts.turn

    def bounds(self, topology: Topology) -> dict[str, float]:
        """Least seconds of arithmetic, memory and links, of each device's `work`."""
        rates, work = topology.chip.rates, self.work
        return {
            "arithmetic": work.flops / (rates.tflops * 1e12),
            "memory": work.bytes / (rates.memory_gbs * 1e9),
            "links": sum(work.collectives.values()) / (rates.link_gbs * 1e9),
        }


def placed(mesh: Mesh, tree: PyTree, shardings: Callable | None = None) -> PyTree:
    """Shapes of a tree, with the shardings that a run would give its arrays.

    Args:
      mesh: of the devices.
      tree: of arrays or shapes.
      shardings: `(mesh, tree) -> shardings`; None: the same everywhere.
    """
    if shardings is None:
        where = jax.tree.map(lambda x: NamedSharding(mesh, P()), tree)
    else:
        where = shardings(mesh, tree)
    return jax.tree.map(
        lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), tree, where
    )


def bytes_of(tree: PyTree) -> int:
    """Bytes of each device of arrays that were `placed`."""
    return sum(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(tree)
    )


def compiled(
    lowered: Lowered,
    platform: str,
    say: Callable[[float], None] = lambda seconds: None,
    *,
    inner_turns: int = 1,
) -> tuple[Compiled | None, Report]:
    """Compiles a program, and reads what its compiler says.

    Args:
      lowered: the program, of `jax.jit(...).trace(...).lower(...)`.
      platform: that it is compiled for, "tpu" or "cuda".
      say: called with the seconds so far, once every minute that it takes.
      inner_turns: as of `hlo.count`.

    Returns:
      The program, None where it does not fit the devices' memory, and the report.
    """
    began, known_as = time.monotonic(), fingerprint(lowered)
    try:
        with _said(say):
            program = lowered.compile(compiler_options=_OPTIONS.get(platform))
    except jax.errors.JaxRuntimeError as error:
        needed = _needed(str(error))
        if needed is None:
            raise
        return None, Report(time.monotonic() - began, None, needed, None, known_as)
    seconds = time.monotonic() - began
    found: Any = program.memory_analysis()
    memory = Memory(
        arguments=found.argument_size_in_bytes,
        outputs=found.output_size_in_bytes - found.alias_size_in_bytes,
        temporaries=found.temp_size_in_bytes,
        code=found.generated_code_size_in_bytes,
    )
    text = program.as_text() or ""
    return program, Report(
        seconds, memory, memory.total, count(text, inner_turns), known_as, text
    )


@contextmanager
def _said(say: Callable[[float], None]) -> Iterator[None]:
    done = threading.Event()

    def speak() -> None:
        began = time.monotonic()
        while not done.wait(PATIENCE):
            say(time.monotonic() - began)

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()


def _needed(message: str) -> int | None:
    """Bytes that a compiler without room for them asked for."""
    if "RESOURCE_EXHAUSTED" not in message:
        return None
    for pattern in (
        r"[Uu]sed ([\d.]+)([KMGT]) of [\d.]+[KMGT]",
        r"required[\w ]*\(([\d.]+)([KMGT])\) exceeds",
    ):
        if found := re.search(pattern, message):
            return round(float(found[1]) * _UNITS[found[2]])
    found = re.search(r"allocate (\d+) bytes", message)
    return int(found[1]) if found else None


def save(
    path: Path, programs: Mapping[str, Compiled], about: Mapping[str, Any]
) -> None:
    """Writes compiled programs to a file, for `load`.

    Args:
      path: of the file.
      programs: by fingerprint.
      about: what they were compiled for, as JSON has it.

    Raises:
      OSError: if the file cannot be written.
    """
    payloads = {
        known_as: (serialize_executable.serialize(program), _device_ids(program))
        for known_as, program in programs.items()
    }
    with written(path) as file:
        pickle.dump({"jax": jax.__version__, "about": dict(about)}, file)
        pickle.dump(payloads, file)  # which another version might not read


def _device_ids(program: Compiled) -> list[int]:
    """Numbers of a program's devices, in the order of its mesh."""
    shardings = jax.tree.leaves(program.input_shardings)
    mesh: Any = next(x.mesh for x in shardings if isinstance(x, NamedSharding))
    return [device.id for device in mesh.devices.flat]


def _unpickled(file: BinaryIO, path: Path) -> Any:
    try:
        return pickle.load(file)
    except OSError:
        raise
    except Exception as error:  # of which damaged files raise any
        raise _no_programs(path) from error


def _no_programs(path: Path) -> InputError:
    return InputError(f"programs is {str(path)!r}: a file of --save is needed")


def load(path: Path) -> tuple[dict[str, Any], dict[str, Compiled]]:
    """What `save` wrote, on devices such as it was compiled for.

    Files are read by `pickle`: load none that you do not trust.

    Args:
      path: of the file.

    Returns:
      What the programs were compiled for, and the programs by fingerprint, loaded onto
      the attached devices.

    Raises:
      InputError: for another file, or programs for other devices or another JAX.
      OSError: if the file cannot be read.
    """
    with path.open("rb") as file:
        record = _unpickled(file, path)
        if not isinstance(record, dict) or record.keys() != {"jax", "about"}:
            raise _no_programs(path)
        about, version = record["about"], record["jax"]
        if version != jax.__version__:
            raise InputError(
                f"programs is {str(path)!r}: it is of jax {version}, and jax is "
                f"{jax.__version__}"
            )
        payloads = _unpickled(file, path)
    needed = (
        f"programs is {str(path)!r}: devices such as it was compiled for, "
        f"{about.get('topology')}, are needed"
    )
    devices, programs = {device.id: device for device in jax.devices()}, {}
    for name, (payload, ids) in payloads.items():
        if not set(ids) <= set(devices):
            found = f"{jax.default_backend()} x {len(devices)}"
            raise InputError(f"{needed}, not {found}")
        own = [devices[number] for number in ids]
        try:
            programs[name] = serialize_executable.deserialize_and_load(
                *payload, execution_devices=own
            )
        except (jax.errors.JaxRuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{needed} ({reason})") from None
    return about, programs
