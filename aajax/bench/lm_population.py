"""Iterations of populations of a language model, in turns with those of one member."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence

import jax

from aajax.bench.lm_iteration import no_past
from aajax.bench.timing import seconds
from aajax.dialogue.pocket import PROGRAMS, user_cache
from aajax.lm.compilation import kept
from aajax.training.lm_config import LmConfig
from aajax.training.lm_population import Population, assemble_population

ALONE, TOGETHER = "one after another", "one batch"


def measure(repeats: int, config: LmConfig, sizes: Sequence[int]) -> dict:
    """Seconds of an iteration of populations of these sizes, by how their members play.

    Members differ in their seeds. The first iteration of each compiles and does not
    count; of the others each population makes one in turn.

    Args:
      repeats: iterations that count.
      config: of a member.
      sizes: numbers of members.

    Returns:
      "results", a record for each size and way to play: "members", "plays", "median"
      and "all" seconds, "first_run_seconds", and "ratio", the median over that of the
      first size.
    """
    with kept(user_cache() / PROGRAMS):
        runs = []
        for size in sizes:
            population = assemble_population(dataclasses.replace(config, seeds=size))
            for one_batch in (False, True) if size > 1 else (True,):
                run = dataclasses.replace(population, one_batch=one_batch)
                runs.append((size, one_batch, _iterations(run)))
        first = [seconds(run, 0) for _, _, run in runs]
        times: list[list[float]] = [[] for _ in runs]
        for number in range(repeats):
            for (_, _, run), own in zip(runs, times, strict=True):
                own.append(seconds(run, number + 1))
    medians = [statistics.median(own) for own in times]
    return {
        "results": [
            {
                "members": size,
                "plays": TOGETHER if one_batch else ALONE,
                "median": median,
                "all": own,
                "first_run_seconds": compiling,
                "ratio": median / medians[0],
            }
            for (size, one_batch, _), own, median, compiling in zip(
                runs, times, medians, first, strict=True
            )
        ]
    }


def _iterations(population: Population) -> Callable[[int], object]:
    """Makes the next iteration, of its number."""
    states = population.init()
    stacks = population.stacks(states)

    def run(number: int) -> object:
        nonlocal states, stacks
        states, stacks, _, _ = population.iterate(states, stacks, number, no_past)
        return jax.tree.leaves(states)

    return run
