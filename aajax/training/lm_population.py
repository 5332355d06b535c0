"""A population: adapters of several settings and seeds, trained over one frozen base.

Members share the model and all programs. All else is a member's own: its adapter, its
optimiser's state, its random numbers, its past selves, and the groups that its returns
are compared in. On accelerators, where decoding takes the time of reading the base once
for all rows, members play in one batch; on CPUs, where larger batches are no faster,
one after another. A run that is no population is of one member.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from aajax.dialogue.play.matches import Match
from aajax.dialogue.players.base import Player
from aajax.dialogue.players.language_model import LanguageModel
from aajax.envs.text import TextGame
from aajax.lm.ahead import Sizes
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters
from aajax.training import checkpoint
from aajax.training.divergence import Lane, Lost
from aajax.training.lm_assemble import (
    LmParts,
    LmState,
    TermScales,
    assemble,
    linear_schedule,
)
from aajax.training.lm_config import MEMBERS, LmConfig, member_names
from aajax.training.lm_iteration import Iteration, iterate
from aajax.training.lm_past import Load, Stack, make_stack
from aajax.types import PyTree

Numbers = Mapping[str, float | None]  # metrics of a member, by name


@dataclasses.dataclass(frozen=True)
class Population:
    """Members, the seed varying fastest.

    Attributes:
      config: of the run.
      members: parts of each; of a run that is no population its own alone.
      one_batch: whether they play in one batch, and not one after another.
    """

    config: LmConfig
    members: tuple[LmParts, ...]
    one_batch: bool = True

    @property
    def configs(self) -> list[LmConfig]:
        """Of each member."""
        return [parts.config for parts in self.members]

    @property
    def model(self) -> LanguageModel:
        """The base."""
        return self.members[0].model

    @property
    def decoder(self) -> DecoderConfig:
        """Of the base."""
        return self.model.sampler.config

    @property
    def mesh(self) -> Mesh | None:
        """That all members lie on; None for one device."""
        return self.members[0].mesh

    def lane(self, member: int) -> Lane:
        """Numbers of the member's setting and of its seed."""
        setting, seed = divmod(member, self.config.seeds)
        return setting, seed

    def number(self, lane: Lane) -> int:
        """Inverse of `lane`."""
        return lane[0] * self.config.seeds + lane[1]

    def folder(self, run: Path, member: int) -> Path:
        """Where the adapters of a member are in the folder of a run."""
        if not self.config.is_population:
            return run
        return run / MEMBERS / member_names(self.config)[member]

    def stacks(self, states: Sequence[LmState]) -> list[Stack]:
        """Adapters to play with: of all members, or of each."""
        learners = self.learners(states)
        return [
            make_stack(self.configs[group], learners[group], self.mesh)
            for group in self._groups
        ]

    @property
    def _groups(self) -> list[slice]:
        """Members that play in one batch."""
        count = len(self.members)
        if self.one_batch:
            return [slice(0, count)]
        return [slice(m, m + 1) for m in range(count)]

    def iterate(
        self,
        states: Sequence[LmState],
        stacks: Sequence[Stack],
        number: int,
        load: Load,
        without: Collection[int] = (),
    ) -> tuple[list[LmState], list[Stack], list[list[Match]], list[dict]]:
        """`lm_iteration.iterate` of all members, with a stack for each batch.

        Returns:
          States, stacks, and of each member its matches and its metrics, none for those
          in `without`.
        """
        found: list[Iteration] = []
        for group, stack in zip(self._groups, stacks, strict=True):
            first = group.start

            def own(member: int, past: int, first: int = first) -> Adapters:
                return load(first + member, past)

            lost = [m - first for m in without]
            one = iterate(self.members[group], states[group], stack, number, own, lost)
            if first > 0:
                matches = [
                    [dataclasses.replace(x, member=first + x.member) for x in each]
                    for each in one.matches
                ]
                one = one._replace(matches=matches)
            found.append(one)
        return (
            [state for one in found for state in one.states],
            [one.stack for one in found],
            [matches for one in found for matches in one.matches],
            [metrics for one in found for metrics in one.metrics],
        )

    def init(self) -> list[LmState]:
        """States to begin with."""
        return [parts.init(jax.random.key(parts.config.seed)) for parts in self.members]

    def restored(
        self, saves: Path, fault: Callable[[PyTree], str | None] = lambda states: None
    ) -> tuple[int, list[LmState]] | None:
        """Iterations done and states of the latest checkpoint; None if there is none.

        Args:
          saves: folder of checkpoints.
          fault: as in `checkpoint.restore_latest`.
        """
        like = self.saved([parts.template for parts in self.members])
        found = checkpoint.restore_latest(saves, like, fault)
        if found is None:
            return None
        done, state = found
        return done, list(state) if self.config.is_population else [state]

    def saved(self, states: Sequence[LmState]) -> PyTree:
        """What a checkpoint has of the states."""
        return tuple(states) if self.config.is_population else states[0]

    def set_back(
        self, states: Sequence[LmState], lost: Lost, saves: Path
    ) -> list[LmState]:
        """The states, those of lost members from the latest checkpoint."""
        restored = self.restored(saves)
        good = self.init() if restored is None else restored[1]
        lanes = [self.lane(m) for m in range(len(states))]
        return [
            old if lane in lost else state
            for lane, state, old in zip(lanes, states, good, strict=True)
        ]

    def learners(self, states: Sequence[LmState]) -> list[Adapters]:
        """The adapters that are trained."""
        return [
            Adapters(state.policy.weights, parts.scale)
            for parts, state in zip(self.members, states, strict=True)
        ]

    def table(self, values: Sequence[Any]) -> list[list[Any]]:
        """One value of each member as [settings][seeds]."""
        size = self.config.seeds
        return [list(values[i : i + size]) for i in range(0, len(values), size)]

    def row(self, numbers: Sequence[Numbers]) -> dict[str, Any]:
        """Metrics as a row of metrics.jsonl has them: [settings][seeds] by name."""
        if not self.config.is_population:
            return dict(numbers[0])
        names = dict.fromkeys(name for own in numbers for name in own)
        return {name: self.table([own.get(name) for own in numbers]) for name in names}

    def means(self, numbers: Sequence[Numbers]) -> dict[str, float | None]:
        """Metrics, averaged over the members that have a finite number."""
        found = {}
        for name in dict.fromkeys(name for own in numbers for name in own):
            each = [own[name] for own in numbers if own.get(name) is not None]
            there = [x for x in each if x is not None and np.isfinite(x)]
            found[name] = float(np.mean(there)) if there else None
        return found


def assemble_population(
    config: LmConfig,
    make_guest: Callable[[str, TextGame], Player] | None = None,
    sizes: Sizes | None = None,
) -> Population:
    """The parts of every member; the model is read, or a pocket model trained.

    Args:
      config: of the run.
      make_guest, sizes: as in `lm_assemble.assemble`.

    Raises:
      InputError: as `lm_assemble.assemble`.
    """
    if not config.is_population:
        return Population(config, (assemble(config, make_guest, sizes),))
    configs = config.members
    shared = assemble(shared_config(configs), make_guest, sizes, len(configs))
    members = [
        dataclasses.replace(
            shared,
            config=own,
            credit=jax.jit(jax.vmap(own.goal.credit)),
            scales=TermScales(
                _relative(own.entropy_bonus, shared.config.entropy_bonus),
                _relative(own.kl, shared.config.kl),
            ),
            rate=_schedule(own) if _differ("learning_rate", configs) else None,
            critic_rate=(
                own.critic_learning_rate
                if _differ("critic_learning_rate", configs)
                else None
            ),
        )
        for own in configs
    ]
    on_cpu = shared.mesh is None and jax.default_backend() == "cpu"
    return Population(config, tuple(members), one_batch=not on_cpu)


def shared_config(configs: Sequence[LmConfig]) -> LmConfig:
    """A config with the programs of all members.

    Its weights of the loss's terms are the largest of all, of which each member has its
    part, and its learning rates are 1 where there are several.
    """
    if len(configs) == 1:
        return configs[0]
    shared: dict[str, Any] = {
        "kl": max(own.kl for own in configs),
        "entropy_bonus": max(own.entropy_bonus for own in configs),
    }
    if _differ("learning_rate", configs):
        shared |= {"learning_rate": 1.0, "final_learning_rate": None}
    if _differ("critic_learning_rate", configs):
        shared |= {"critic_learning_rate": 1.0}
    return dataclasses.replace(configs[0], **shared)


def _differ(name: str, configs: Sequence[LmConfig]) -> bool:
    return len({getattr(own, name) for own in configs}) > 1


def _relative(weight: float, most: float) -> float:
    return weight / most if most else 1.0


def _schedule(config: LmConfig) -> Callable[[int], float]:
    """The learning rate of a member after so many iterations."""
    rate, final = config.learning_rate, config.final_learning_rate
    if final is None:
        return lambda step: rate
    schedule = linear_schedule(config, rate, final)
    return lambda step: float(np.asarray(schedule(step)))
