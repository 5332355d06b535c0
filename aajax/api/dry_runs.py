"""Language models' runs, compiled for accelerators that are not there."""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from aajax.dialogue.play.seating import num_rows, num_spoken
from aajax.errors import InputError
from aajax.lm.ahead import Sizes
from aajax.lm.checkpoints.find import PACKAGES
from aajax.lm.mesh.hosts import padded_rows, processes
from aajax.lm.mesh.sharding import check_divides, make_mesh
from aajax.lm.model.attention import SLOTS
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.constraints import AXES
from aajax.lm.planning.compile import (
    Compiled,
    Lowered,
    Report,
    compiled,
    load,
    save,
)
from aajax.lm.planning.hlo import Collective
from aajax.lm.planning.shapes import SHAPES, find_config, find_shape, shape_of_folder
from aajax.lm.planning.topologies import Topology, described, find_topology
from aajax.training.lm_assemble import find_model, find_restriction, run_mesh
from aajax.training.lm_config import LmConfig
from aajax.training.lm_evaluation import sequences_at_once
from aajax.training.lm_past import most_at_once
from aajax.training.lm_population import shared_config
from aajax.training.lm_programs import Load, Programs

# Of attention, what is no projection of it: those are summed over tensor.
_SCORES = re.compile(r"attention/(?!query|key|value|output)")

Say = Callable[
    [str, float], None
]  # name of a program, seconds that it has compiled for


class Planned(NamedTuple):
    """A run on described devices.

    Attributes:
      topology: the devices.
      programs: of the run.
    """

    topology: Topology
    programs: Programs

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the mesh axes."""
        return dict(self.programs.mesh.shape)


def plan(
    config: LmConfig,
    decoder: DecoderConfig,
    topology: str,
    length: int | None = None,
    load: Load | None = None,
) -> Planned:
    """The programs of a run on described devices; nothing is compiled yet.

    Args:
      config: of the run.
      decoder: of its model.
      topology: name of the devices; see `find_topology`.
      length: tokens of the longest dialogue; None for the longest that is allowed.
      load: what the programs are given; None for what the run gives them.

    Raises:
      InputError: for an unknown topology, a compiler that is missing, and what the run
        would refuse on those devices.
    """
    found = find_topology(topology)
    if length is not None and not 1 <= length <= decoder.max_length:
        raise InputError(
            f"length is {length}: a number from 1 to {decoder.max_length} is needed"
        )
    devices = described(found)
    # A run on one device has no mesh, but what is compiled needs to know the device.
    mesh = run_mesh(config, devices) or make_mesh(devices=devices)
    check_divides(decoder, mesh.shape["fsdp"], mesh.shape["tensor"])
    if length is not None:
        longest = dataclasses.replace(config.speaking, max_cache=length)
        config = dataclasses.replace(config, speaking=longest)
    load = _load(config, decoder, mesh) if load is None else load
    config = shared_config(config.members)
    programs = Programs(config, decoder, load, mesh, found.chip)
    load = dataclasses.replace(
        load,
        players=_padded(programs.playing, load.players),
        evaluated=_padded(programs.playing, load.evaluated),
    )
    return Planned(found, dataclasses.replace(programs, load=load))


def _load(config: LmConfig, decoder: DecoderConfig, mesh: Mesh) -> Load:
    """What a run gives its programs, with dialogues of the longest."""
    most = config.speaking.max_cache or decoder.max_length
    length, members = min(most, decoder.max_length), len(config.members)
    return Load(
        rows=num_rows(config.seating, config.num_matches, config.num_seats),
        players=members
        * num_spoken(config.seating, config.num_matches, config.num_seats),
        evaluated=sequences_at_once(config, len(processes(mesh))),
        length=length,
        sampled=min(length, 10 * config.speaking.max_tokens),
        num_adapters=members * (1 + max(map(most_at_once, config.members))),
        members=members,
    )


def _padded(mesh: Mesh, rows: int) -> int:
    """Sequences of all processes, each of which pads its own."""
    count = len(processes(mesh))
    return count * padded_rows(mesh, -(-rows // count))


def reports(
    planned: Planned, say: Say = lambda name, seconds: None
) -> Iterator[tuple[str, Compiled | None, Report]]:
    """Compiles the programs, one after another: name, program and report.

    Args:
      planned: the run.
      say: called once every minute that a program takes to compile.
    """
    return _compiled(planned, planned.programs, say)


def _compiled(
    planned: Planned, programs: Iterable[tuple[str, Callable[[], Lowered]]], say: Say
) -> Iterator[tuple[str, Compiled | None, Report]]:
    platform = planned.topology.chip.platform
    blocks = -(-planned.programs.slots // SLOTS)  # of a cache that is full
    for name, lower in programs:

        def tell(seconds: float, name: str = name) -> None:
            say(name, seconds)

        yield name, *compiled(lower(), platform, tell, inner_turns=blocks)


def waste(planned: Planned, report: Report) -> list[str]:
    """What a program moves between devices that it should not.

    They are matrices of attention scores, which are all-reduced where sequences do not
    divide among devices, and whole weights in the loop over tokens, which are gathered
    for every token.
    """
    if report.counts is None:
        return []
    decoder, load = planned.programs.decoder, planned.programs.load
    found = []
    scores = [
        one
        for part in (report.counts, report.counts.turn)
        for one in (() if part is None else part.each)
        if one.kind == "all-reduce"
        and _largest(one) >= load.length**2
        and _SCORES.search(one.source)
    ]
    if scores:
        size = sum(one.bytes * one.times for one in scores)
        found.append(f"attention scores are all-reduced, {size / 1e9:.3g} GB")
    kernel = decoder.hidden_size * decoder.intermediate_size / planned.axes["tensor"]
    turn = report.counts.turn
    weights = [
        one
        for one in (() if turn is None else turn.each)
        if one.kind == "all-gather" and _largest(one) >= kernel
    ]
    if weights:
        size = sum(one.bytes * one.times for one in weights)
        found.append(f"whole weights are gathered for every token, {size / 1e9:.3g} GB")
    return found


def _largest(one: Collective) -> int:
    """Numbers in the largest array of a collective."""
    return max(math.prod(array.shape) for array in one.arrays)


def decoder_of(config: LmConfig) -> DecoderConfig:
    """The decoder of a run's model, whose weights need not be there.

    Raises:
      InputError: if there is neither a folder nor a published model of that name.
    """
    folder = config.model
    if folder is None:
        raise InputError(
            "model is None: a folder, or one of "
            f"{', '.join(SHAPES)} is needed to compile for"
        )
    if (folder / "config.json").exists():
        return find_config(str(folder))
    if str(folder) in PACKAGES or folder.suffix == ".gguf":
        return find_config(str(find_model(config)))
    return find_shape(shape_of_folder(folder.name))


def exact(planned: Planned, path: Path) -> Planned:
    """The run with what its model's tokenizer lets players say, to be saved.

    Its programs are then those of the run, and not of the same sizes only.

    Args:
      planned: the run.
      path: that its programs are to be saved in.

    Raises:
      InputError: for a model whose tokenizer is not there.
    """
    programs = planned.programs
    folder = programs.config.model
    if folder is not None and not folder.is_dir():
        with contextlib.suppress(InputError):
            folder = find_model(programs.config)
    if folder is None or not (folder / "tokenizer_config.json").exists():
        raise InputError(
            f"save is {str(path)!r}: a model with its tokenizer is needed, by which it "
            f"is known what answers are made of, and model is {str(folder)!r}"
        )
    found = find_restriction(programs.config, folder, programs.decoder.vocab_size)
    return planned._replace(programs=dataclasses.replace(programs, restriction=found))


def further(
    planned: Planned, say: Say = lambda name, seconds: None
) -> Iterator[tuple[str, Compiled | None, Report]]:
    """As `reports`, of smaller programs that a run needs too."""
    return _compiled(planned, planned.programs.further, say)


def save_programs(
    path: Path, planned: Planned, programs: Mapping[str, Compiled], preset: str
) -> None:
    """Writes compiled programs, by fingerprint; see `lm.planning.compile.save`."""
    about: dict[str, Any] = {
        "preset": preset,
        "topology": planned.topology.name,
        "mesh": planned.axes,
        "sizes": planned.programs.sizes._asdict(),
    }
    save(path, programs, about)


class Saved(NamedTuple):
    """What a run takes from a file of compiled programs.

    Attributes:
      programs: by fingerprint.
      sizes: that they were compiled for.
    """

    programs: Mapping[str, Compiled]
    sizes: Sizes


def load_programs(path: Path, config: LmConfig) -> Saved:
    """Compiled programs for a run, onto the devices that are there.

    Args:
      path: of the file, of which see `lm.planning.compile.load`.
      config: of the run.

    Raises:
      InputError: for another file, another version of JAX, or other devices.
    """
    about, programs = load(path)
    mesh = run_mesh(config)
    axes = dict.fromkeys(AXES, 1) if mesh is None else dict(mesh.shape)
    if about["mesh"] != axes:
        own, wanted = (
            " x ".join(f"{name} {size}" for name, size in x.items())
            for x in (axes, about["mesh"])
        )
        raise InputError(
            f"programs is {str(path)!r}: one for the run's mesh of {own} is needed, "
            f"not for {wanted}"
        )
    sizes = Sizes(**about["sizes"])
    asked = {
        "play_tensor": (config.play_tensor, sizes.play_tensor),
        "speaking.prefill_chunk": (config.speaking.prefill_chunk, sizes.chunk),
    }
    for name, (own, wanted) in asked.items():
        if own not in (None, wanted):
            raise InputError(
                f"{name} is {own}: {wanted}, as programs have it, or None is needed"
            )
    return Saved(programs, sizes)
