"""What a trained policy earns while a naive learner learns against it.

A frozen policy plays meta-games of the iterated prisoner's dilemma against naive
learners (`aajax.training.shaping`), which begin anew in each and learn after every
episode. Prints what both earn per step, over all episodes and in the last one: who
shapes whom. Runs must have been trained by the other experiments.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import optax
import tyro
from cells import mean

from aajax import cli
from aajax.api.runs import SmallRun, load_small
from aajax.errors import InputError
from aajax.learners import group_relative, policy_gradient, presets
from aajax.nets import tabular
from aajax.policies import categorical_policy
from aajax.schema import Count, Items, Positive
from aajax.training.shaping import meta_game


@dataclasses.dataclass(frozen=True)
class Config:
    """Who plays, and against what kind of learner."""

    # folders of runs
    runs: tyro.conf.Positional[Annotated[tuple[Path, ...], Items(1, distinct=True)]]
    seeds: Count = 10  # of each run
    meta_games: Count = 16  # naive learners that each seed meets
    games: Count = 16  # in parallel, in each meta-game
    episodes: Count = 20  # after each of which the naive learner learns
    naive_rate: Positive = 0.3  # its learning rate, of Adam


def loaded(folder: Path) -> SmallRun:
    """The run; raises InputError for one of another game, or of several settings."""
    run = load_small(folder)
    if run.config.game != "ipd" or len(run.settings) > 1:
        raise InputError(
            f"run is {str(folder)!r}: one of game 'ipd' with one setting is needed, "
            f"not of {run.config.game!r} with {len(run.settings)}"
        )
    return run


def rewards(folder: Path, config: Config) -> np.ndarray:
    """f64[seeds, 4]: of policy and learner, over all episodes and in the last."""
    run = loaded(folder)
    (num_states,) = run.env.observation_shape
    naive = categorical_policy(
        tabular(num_states, run.env.action_spaces[1].num_actions)
    )
    learner = policy_gradient(
        naive,
        presets.naive(group_relative(0.99), whiten=True),
        optax.adam(config.naive_rate),
        [1],
    )
    play = meta_game(
        run.env,
        run.policies[0],
        naive,
        learner,
        num_games=config.games,
        num_episodes=config.episodes,
    )
    params = jax.tree.map(lambda x: x[0, : config.seeds], run.params[0])
    keys = jax.random.split(jax.random.key(0), config.meta_games)

    @jax.jit
    def of_seed(params):
        return jax.vmap(lambda key: play(key, params).reward)(keys).mean(0)

    count = len(run.seeds[: config.seeds])
    each = [of_seed(jax.tree.map(lambda x, i=i: x[i], params)) for i in range(count)]
    reward = np.asarray(each, float)  # [seeds, M, 2]
    return np.concatenate([reward.mean(1), reward[:, -1]], axis=1)


def main(config: Config) -> None:
    """Prints the table."""
    heads = [
        *("policy", "earns", "naive learner earns"),
        *("in the last episode", "the naive learner then"),
    ]
    print(f"| {' | '.join(heads)} |\n" + "|---" * len(heads) + "|")
    for folder in config.runs:
        cells = [folder.name, *map(mean, rewards(folder, config).T)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    cli.script(main, Config, __doc__)
