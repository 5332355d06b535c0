"""Past selves of a language model: snapshots of the learner's adapter, as opponents.

A past self is numbered by the iterations after which it was saved (folder past/N). All
are on disk; a stack of adapters on the devices holds every member's learner and as many
of its past selves as can play in one iteration, and is kept between iterations as a
cache. A run that is no population is of one member.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from aajax.dialogue.players.base import Player, Reply, Request, Row
from aajax.errors import InputError
from aajax.lm.checkpoints.peft_config import CONFIG
from aajax.lm.mesh.sharding import param_shardings, shard
from aajax.lm.model import lora
from aajax.lm.model.decoder import Adapters
from aajax.training.lm_config import LmConfig
from aajax.types import PRNGKey, PyTree

Load = Callable[[int, int], Adapters]  # (member, number) → adapters of one


class Stack(NamedTuple):
    """The adapters that can play in an iteration.

    Attributes:
      adapters: P (1 + n) of them: each member's learner, then its past selves.
      numbers: [P][n], numbers of the past selves of each member; 0 for none.
    """

    adapters: Adapters
    numbers: tuple[tuple[int, ...], ...]

    @property
    def places(self) -> dict[tuple[int, int], int]:
        """(member, number) → index among the adapters; a learner's number is 0."""
        found = {}
        for member, numbers in enumerate(self.numbers):
            first = self.first(member)
            found[member, 0] = first
            for i, number in enumerate(numbers, first + 1):
                if number:
                    found[member, number] = i
        return found

    def first(self, member: int) -> int:
        """Index of the learner of a member."""
        return member * (1 + len(self.numbers[member]))


@dataclasses.dataclass(frozen=True, eq=False)
class Numbered:
    """A `Player` whose rows name adapters by past selves' numbers, not by index.

    Attributes:
      player: whose adapters have indices.
      places: (member, number) → index.
    """

    player: Player
    places: Mapping[tuple[int, int], int]

    def start(self, rows: Sequence[Row]) -> PyTree:
        placed = [
            row._replace(adapter=self.places[row.member, row.adapter]) for row in rows
        ]
        return self.player.start(placed)

    def reply(
        self, memory: PyTree, requests: Sequence[Request], keys: PRNGKey
    ) -> tuple[PyTree, list[Reply | None]]:
        return self.player.reply(memory, requests, keys)


def past_folder(folder: Path, number: int) -> Path:
    """Where a run keeps the past self of this number, as a PEFT folder."""
    return folder / "past" / f"{number:06d}"


def kept_numbers(config: LmConfig, done: int) -> range:
    """Numbers of the past selves saved after `done` iterations."""
    every = config.past_selves.every
    return range(every, done + 1, every) if config.has_past_selves else range(0)


def check_kept(config: LmConfig, folder: Path, done: int) -> None:
    """Raises InputError if one who may play after `done` iterations is not there."""
    kept = kept_numbers(config, done) if done < config.num_iterations else ()
    for number in kept:
        path = past_folder(folder, number)
        if not (path / CONFIG).is_file():
            raise InputError(f"folder is {path}: an adapter of this run is needed")


def drawn_numbers(
    config: LmConfig, rng: np.random.Generator, done: int
) -> Sequence[int]:
    """Past selves that may play in the iteration after `done`, the most at most."""
    kept, most = kept_numbers(config, done), config.past_selves.most
    if len(kept) <= most:
        return kept
    return sorted(int(x) for x in rng.choice(kept, most, replace=False))


def most_at_once(config: LmConfig) -> int:
    """Maximal number of past selves in one iteration.

    It does not depend on the length of a run, which may be extended: how many adapters
    there are decides in which order products with them are summed up.
    """
    if not config.has_past_selves:
        return 0
    num_drawn = config.num_matches
    if config.seating.past_per == "group":
        num_drawn //= config.group_size
    return min(config.past_selves.most, num_drawn)


def make_stack(
    configs: Sequence[LmConfig], learners: Sequence[Adapters], mesh: Mesh | None
) -> Stack:
    """A stack with the learners, and with room for `most_at_once` past selves of each.

    Args:
      configs: of the P members.
      learners: [P], of one each; of one without past selves the stack is this, and not
        a copy.
      mesh: that they lie on; None for one device.
    """
    num_past = max(map(most_at_once, configs))
    numbers = ((0,) * num_past,) * len(configs)
    if num_past == 0 and len(configs) == 1:
        return Stack(learners[0], numbers)
    return Stack(_with_room(mesh, num_past, tuple(learners)), numbers)


def updated(
    stack: Stack,
    learners: Sequence[Adapters],
    wanted: Sequence[Collection[int]],
    load: Load,
    mesh: Mesh | None,
) -> Stack:
    """Updates the learners in the stack, and loads the past selves that will play.

    Args:
      stack: donated.
      learners: [P], the current ones, n = 1 each.
      wanted: [P], numbers of past selves, at most as many as there is room for.
      load: loads those that are not in the stack.
      mesh: of the stack.
    """
    if not any(stack.numbers) and len(learners) == 1:
        return Stack(learners[0], stack.numbers)
    adapters, table = stack.adapters, []
    for member, learner in enumerate(learners):
        first, numbers = stack.first(member), list(stack.numbers[member])
        adapters = _put(mesh, adapters, first, learner)
        free = [i for i, number in enumerate(numbers) if number not in wanted[member]]
        free.sort(key=lambda i, numbers=numbers: numbers[i] > 0)  # empty places first
        missing = sorted(set(wanted[member]) - set(numbers))
        for i, number in zip(free, missing, strict=False):
            one = load(member, number)
            if mesh is not None:
                one = shard(one, mesh)
            adapters, numbers[i] = _put(mesh, adapters, first + 1 + i, one), number
        table.append(tuple(numbers))
    return Stack(adapters, tuple(table))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _with_room(
    mesh: Mesh | None, num_past: int, learners: tuple[Adapters, ...]
) -> Adapters:
    def widened(leaf: jax.Array, axis: int) -> jax.Array:
        widths = [(0, num_past if i == axis else 0) for i in range(leaf.ndim)]
        return jnp.pad(leaf, widths)

    def wide(learner: Adapters) -> Adapters:
        weights = jax.tree.map(lambda leaf: widened(leaf, 1), learner.weights)
        return Adapters(weights, widened(learner.scale, 0))

    return _placed(mesh, lora.stack(list(map(wide, learners))))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _put(mesh: Mesh | None, stack: Adapters, index: int, one: Adapters) -> Adapters:
    return _placed(mesh, lora.put(stack, index, one))


def _placed(mesh: Mesh | None, adapters: Adapters) -> Adapters:
    if mesh is None:
        return adapters
    shardings = param_shardings(mesh, adapters)
    return jax.lax.with_sharding_constraint(adapters, shardings)
