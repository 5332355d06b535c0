"""Two learners of different kinds learn together: who shapes whom.

Each pair of presets begins anew: in every update each side plays games of its own
against the other's present policy, as its preset has it, and takes its step; both steps
are taken at once. Prints what both earn per step at the end, without exploration, as
means over seeds with 95 % intervals.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro
from cells import mean

from aajax import cli
from aajax.envs.base import Environment
from aajax.errors import InputError
from aajax.keys import stream
from aajax.learners.base import LearnerState
from aajax.policies.base import Policy
from aajax.schema import Count, Items, Seed, within
from aajax.tournament import Group, play_line_ups
from aajax.training import PRESETS, RunConfig, Trainer, self_play, transforms
from aajax.training.algorithms import find_algorithm
from aajax.training.assemble import (
    make_env,
    make_parts,
    make_policies,
    make_policy,
    scheduled,
)
from aajax.training.self_play import TrainState
from aajax.types import Array, PRNGKey, PyTree

PAIRS = (
    *("ipd:ipd-naive", "ipd:ipd-sum", "ipd:ipd-ppo"),
    *("ipd:ipd-lola-exact", "ipd:ipd-pola-exact"),
    *("ipd-lola-exact:ipd-naive", "ipd-pola-exact:ipd-naive"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Who learns with whom."""

    # presets, as ipd:ipd-naive
    pairs: tyro.conf.Positional[Annotated[tuple[str, ...], Items(1, distinct=True)]] = (
        PAIRS
    )
    seeds: Count = 10
    first_seed: Seed = 100  # settings were chosen on others
    num_updates: Count | None = None  # of both; the larger of the presets' if not given
    num_games: Count = 1024  # to measure with


class Side(NamedTuple):
    """One of the two learners.

    Attributes:
      init: `key -> LearnerState`.
      update: `(key, number of the update, own state, the other's params) -> state`.
    """

    init: Callable[[PRNGKey], LearnerState]
    update: Callable[[PRNGKey, Array, LearnerState, PyTree], LearnerState]


def side(
    config: RunConfig, env: Environment, seat: int, policies: list[Policy]
) -> Side:
    """The learner of a preset in a seat, with both policies as they act in training."""
    algorithm = find_algorithm(config.algorithm)
    other = policies[1 - seat]
    joint = algorithm.trainer is not None

    def trainer(params: PyTree) -> Trainer:
        """That learns from games against the other."""
        resets = [transforms.memory_reset()] if config.memory == "update" else []

        def make_fixed(hyperparameters: dict[str, Array]) -> Trainer:
            parts = make_parts(config, env, hyperparameters)
            if joint:
                return algorithm.build_trainer(parts, policies)
            policy = make_policy(config, env, hyperparameters["exploration"], seat)
            return self_play(
                env,
                [policy],
                [algorithm.build_learner(parts, policy, [seat])],
                [[seat]],
                num_games=config.num_games,
                num_steps=config.num_steps,
                group_size=config.group_size,
                transforms=[transforms.frozen(other, params), *resets],
            )

        return scheduled(config, make_fixed)({})

    at = seat if joint else 0  # of its state among those of the trainer

    def init(key: PRNGKey) -> LearnerState:
        learners = trainer(other.init(key)).init(key).learners
        if joint and len(learners) < 2:
            raise InputError(
                f"algorithm is {config.algorithm!r}: one with a learner in each of two "
                "seats is needed"
            )
        return learners[at]

    def update(
        key: PRNGKey, number: Array, state: LearnerState, params: PyTree
    ) -> LearnerState:
        both = [state]
        if joint:
            # The other one's step of this kind is not taken.
            unused = trainer(params).init(key).learners[1 - seat]
            both.insert(1 - seat, unused._replace(params=params))
        whole = TrainState(key, number, tuple(both), tables=None)
        return trainer(params).update(whole)[0].learners[at]

    return Side(init, update)


def together(
    names: tuple[str, str], config: Config
) -> tuple[Environment, list[Group], int]:
    """The trained groups of both seats, a member for each seed, and steps of a game."""
    presets = [PRESETS[name][1] for name in names]
    if presets[0].game != presets[1].game or presets[0].options != presets[1].options:
        raise InputError("presets of one game are needed")
    length = config.num_updates or max(preset.num_updates for preset in presets)
    presets = [dataclasses.replace(preset, num_updates=length) for preset in presets]
    games = [make_env(preset) for preset in presets]
    if games[0].num_agents != 2:
        raise InputError(
            f"presets of a game of two are needed, not of {games[0].num_agents}"
        )
    policies = [
        make_policy(preset, env, preset.hyperparameters.exploration, seat)
        for seat, (preset, env) in enumerate(zip(presets, games, strict=True))
    ]
    sides = [side(presets[seat], games[seat], seat, policies) for seat in (0, 1)]

    def train(key: PRNGKey) -> list[PyTree]:
        init_key, key = jax.random.split(key)

        def update(states, number):
            at = jax.random.fold_in(key, number)
            keys = jax.random.split(at)
            return [
                sides[i].update(keys[i], number, states[i], states[1 - i].acting)
                for i in (0, 1)
            ], None

        keys = jax.random.split(init_key)
        states = [one.init(k) for one, k in zip(sides, keys, strict=True)]
        states, _ = jax.lax.scan(update, states, jax.numpy.arange(length))
        return [state.params for state in states]

    seeds = range(config.first_seed, config.first_seed + config.seeds)
    keys = jax.numpy.stack([stream(seed, "learning together") for seed in seeds])
    learned = jax.jit(jax.vmap(train))(keys)
    members = tuple(map(str, seeds))
    groups = [
        Group(members, make_policies(preset, env), (params, params))
        for preset, env, params in zip(presets, games, learned, strict=True)
    ]
    return games[0], groups, presets[0].steps_per_episode


def main(config: Config) -> None:
    """Prints the table."""
    pairs = []
    for pair in config.pairs:
        names = tuple(pair.split(":"))
        if len(names) != 2 or any(name not in PRESETS for name in names):
            raise InputError(
                f"pairs has {pair!r}: two presets of small networks are needed, such "
                "as ipd:ipd-naive"
            )
        pairs.append(names)
    heads = "one learner", "the other", "the one earns", "the other earns"
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|", flush=True)
    for names in pairs:
        with within(f"pairs has {':'.join(names)!r}: "):
            env, groups, num_steps = together(names, config)
        members = np.stack([np.arange(config.seeds)] * 2, 1)
        reward = play_line_ups(
            jax.random.key(1), env, groups, members, config.num_games, num_steps
        )
        cells = [*names, *map(mean, np.asarray(reward, float).T)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
