"""Sweeps as one compiled program: a vmap over hyper-parameters and seeds."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from aajax.learners.base import Metrics
from aajax.training.self_play import Trainer, TrainState, continued
from aajax.types import Array

Hyperparameters = dict[str, Array]  # name -> f32[K]
MakeTrainer = Callable[[Hyperparameters], Trainer]
Init = Callable[[Hyperparameters, Array], TrainState]
Advance = Callable[[Hyperparameters, TrainState], tuple[TrainState, Metrics]]


def grid(values: Mapping[str, Sequence[float | int]]) -> Hyperparameters:
    """All combinations of the values, the last name varying fastest: name -> f32[K].

    Integers make i32[K].
    """
    rows = list(itertools.product(*values.values()))

    def column(i: int) -> Array:
        numbers = [row[i] for row in rows]
        whole = all(isinstance(number, int) for number in numbers)
        return jnp.asarray(numbers, jnp.int32 if whole else jnp.float32)

    return {name: column(i) for i, name in enumerate(values)}


def start(
    make_trainer: MakeTrainer, hyperparameters: Hyperparameters, seeds: Sequence[int]
) -> TrainState:
    """Initial states [K, S, ...] of every hyper-parameter setting with every seed."""
    numbers = jnp.asarray(seeds, jnp.uint32)
    return jax.jit(init_all(make_trainer))(hyperparameters, numbers)


def advance(
    make_trainer: MakeTrainer, num_updates: int, at_once: int | None = None
) -> Advance:
    """A compiled function that makes `num_updates` updates of states [K, S, ...].

    The states passed in are donated. Metrics come as [num_updates, K, S]. `at_once` is
    as for `advance_all`.
    """
    run = advance_all(make_trainer, num_updates, at_once)
    return jax.jit(run, donate_argnums=1)


def init_all(make_trainer: MakeTrainer) -> Init:
    """A function of f32[K] hyper-parameters and u32[S] seeds, to states [K, S, ...]."""

    def init(hyperparameters, seed):
        return make_trainer(hyperparameters).init(jax.random.key(seed))

    over_seeds = jax.vmap(init, (None, 0))
    return jax.vmap(over_seeds, (0, None))


def advance_all(
    make_trainer: MakeTrainer, num_updates: int, at_once: int | None = None
) -> Advance:
    """`advance`, to be compiled.

    Args:
      make_trainer: of one setting.
      num_updates: of each state.
      at_once: most states that are trained at the same time, part after part; None for
        all.
    """

    def run(hyperparameters, state):
        return continued(make_trainer(hyperparameters), state, num_updates)

    over_seeds = jax.vmap(run, (None, 0), (0, 1))
    over_all = jax.vmap(over_seeds, (0, 0), (0, 1))

    def in_parts(hyperparameters, states):
        num_settings, num_seeds = states.num_updates.shape
        if at_once is None or num_settings * num_seeds <= at_once:
            return over_all(hyperparameters, states)
        size = min(num_seeds, at_once)

        def of_setting(setting):
            given, own = setting
            own, metrics = jax.lax.map(lambda x: run(given, x), own, batch_size=size)
            return own, _updates_first(metrics)

        states, metrics = jax.lax.map(
            of_setting, (hyperparameters, states), batch_size=max(at_once // size, 1)
        )
        return states, _updates_first(metrics)

    return in_parts


def _updates_first(metrics: Metrics) -> Metrics:
    return {name: jnp.moveaxis(x, 1, 0) for name, x in metrics.items()}
