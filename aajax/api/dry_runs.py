"""Language models' runs, compiled for accelerators that are not there."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from jax.sharding import Mesh

from aajax.dialogue.play.seating import NUM_SEATS, num_rows
from aajax.errors import InputError
from aajax.lm.mesh.hosts import padded_rows, processes
from aajax.lm.mesh.sharding import check_divides
from aajax.lm.model.cache import power_of_two
from aajax.lm.model.config import DecoderConfig
from aajax.lm.planning.compile import Compiled, Report, compiled, save
from aajax.lm.planning.shapes import find_config, find_shape, shape_of_folder
from aajax.lm.planning.topologies import Topology, described, find_topology
from aajax.training.lm_assemble import find_playing_mesh, run_mesh
from aajax.training.lm_config import LmConfig
from aajax.training.lm_past import most_at_once
from aajax.training.lm_programs import Load, Programs

Say = Callable[
    [str, float], None
]  # name of a program, seconds that it has compiled for


class Planned(NamedTuple):
    """A run on described devices.

    Attributes:
      topology: the devices.
      mesh: None for one device.
      programs: of the run.
    """

    topology: Topology
    mesh: Mesh | None
    programs: Programs

    @property
    def axes(self) -> dict[str, int]:
        """Sizes of the mesh axes."""
        if self.mesh is None:
            return {"data": 1, "fsdp": 1, "tensor": 1}
        return dict(self.mesh.shape)


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
    mesh = run_mesh(config, devices)
    if mesh is not None:
        check_divides(decoder, mesh.shape["fsdp"], mesh.shape["tensor"])
    if length is not None:
        longest = dataclasses.replace(config.speaking, max_cache=length)
        config = dataclasses.replace(config, speaking=longest)
    load = _load(config, decoder, mesh) if load is None else load
    plays_on = mesh
    if mesh is not None:
        plays_on = find_playing_mesh(config, decoder, mesh, found.chip.memory)
    players = _padded(plays_on, load.players)
    programs = Programs(
        config,
        decoder,
        dataclasses.replace(load, players=players),
        devices[0] if mesh is None else mesh,
        found.chip.platform,
        found.chip.memory,
    )
    return Planned(found, mesh, programs)


def _load(config: LmConfig, decoder: DecoderConfig, mesh: Mesh | None) -> Load:
    """What a run gives its programs, with dialogues of the longest."""
    most = config.speaking.max_cache or decoder.max_length
    length = min(most, decoder.max_length)
    seats = config.num_matches * NUM_SEATS
    if config.seating.guest_share == 1.0:
        seats = config.num_matches
    return Load(
        rows=num_rows(config.seating, config.num_matches),
        players=seats,
        length=length,
        sampled=min(length, 10 * config.speaking.max_tokens),
        num_adapters=1 + most_at_once(config),
    )


def _padded(mesh: Mesh | None, rows: int) -> int:
    """Sequences of all processes, each of which pads its own."""
    if mesh is None:
        return power_of_two(rows)
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
    platform = planned.topology.chip.platform
    for name, lower in planned.programs:

        def tell(seconds: float, name: str = name) -> None:
            say(name, seconds)

        yield name, *compiled(lower(), platform, tell)


def decoder_of(config: LmConfig) -> DecoderConfig:
    """The decoder of a run's model, whose weights need not be there.

    Raises:
      InputError: if there is neither a folder nor a published model of that name.
    """
    folder = config.model
    if folder is None:
        raise InputError("model is None: a folder or a published model is needed")
    if (folder / "config.json").exists():
        return find_config(str(folder))
    return find_shape(shape_of_folder(folder.name))


def save_programs(
    path: Path, planned: Planned, programs: dict[str, Compiled], preset: str
) -> None:
    """Writes compiled programs; see `lm.planning.compile.save`."""
    about: dict[str, Any] = {
        "preset": preset,
        "topology": planned.topology.name,
        "mesh": planned.axes,
        "config": planned.programs.config.to_json(),
    }
    save(path, programs, about)
