"""One iteration of a language model's training: play, credit, one gradient step.

On a mesh over n processes each plays 1/n of the matches, with the same result as if one
process played them all. Rewards are all-gathered, so that baselines are over all
matches; each process contributes the tokens of its own matches to the global batch.
"""

import dataclasses
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from aajax.dialogue.learning import credit as credits
from aajax.dialogue.learning.batch import Place, SpeechBatch, places_of, speech_batch
from aajax.dialogue.learning.critic import CriticState
from aajax.dialogue.play.lockstep import Matchup, play
from aajax.dialogue.play.matches import Match
from aajax.dialogue.play.measures import tallies
from aajax.dialogue.play.seating import LEARNER, matchups, num_rows
from aajax.keys import stream
from aajax.lm.compilation import compiles
from aajax.lm.mesh.hosts import (
    first_row,
    largest,
    own_rows,
    place_rows,
    processes,
    rows_of_all,
)
from aajax.lm.model import attention
from aajax.lm.model.decoder import Adapters
from aajax.training.assemble import SCHEDULE
from aajax.training.lm_assemble import LmParts, LmState, random_numbers
from aajax.training.lm_config import LmConfig
from aajax.training.lm_past import Load, Numbered, Stack, drawn_numbers, updated
from aajax.types import Array


class Iteration(NamedTuple):
    """The result of an iteration.

    Attributes:
      state: new training state.
      stack: adapters that played in it.
      matches: played by this process, with advantages and credit.
      metrics: name → number.
    """

    state: LmState
    stack: Stack
    matches: list[Match]
    metrics: dict[str, float | None]


def iterate(
    parts: LmParts, state: LmState, stack: Stack, number: int, load: Load
) -> Iteration:
    """Plays the matches of an iteration, and makes one gradient step.

    Randomness is derived from the run's seed and `number`. Matches record past selves
    by their numbers.

    Args:
      parts: of the run.
      state: consumed.
      stack: consumed, of the iteration before.
      number: of the iteration, from 0.
      load: loads a past self by its number.
    """
    config, began = parts.config, time.monotonic()
    rng = random_numbers(config, number)
    past = drawn_numbers(config, rng, number)
    planned = matchups(
        config.seating, rng, config.num_matches, config.group_size, past,
        number * config.num_matches, num_seats=parts.game.env.num_agents,
    )  # fmt: skip
    seats = [seat for matchup in planned for seat in matchup.seats]
    playing = {seat.adapter for seat in seats if seat.adapter > 0}
    learner = Adapters(state.policy.weights, parts.scale)
    stack = updated(stack, learner, playing, load, parts.mesh)
    matches = _played(parts, stack, planned, number)
    played = time.monotonic()
    state, matches, metrics = learn(parts, state, matches)
    metrics |= _measures(parts, matches)
    metrics["seconds_playing"] = played - began
    metrics["seconds_learning"] = time.monotonic() - played
    return Iteration(state, stack, matches, metrics)


def _played(
    parts: LmParts, stack: Stack, planned: list[Matchup], number: int
) -> list[Match]:
    """The matches of this process; what only playing needs is gone when it returns."""
    players = parts.line_up(stack.adapters)
    players[LEARNER] = Numbered(players[LEARNER], stack.places)
    key = stream(parts.config.seed, "training in words: answers", number)
    count = len(planned) // len(processes(parts.mesh))
    first = first_row(parts.mesh, count)
    return play(parts.game, players, planned[first : first + count], key)


def _measures(parts: LmParts, matches: list[Match]) -> dict[str, float | None]:
    """What learners did with themselves, and against others where there were any."""
    own = np.array([[a == 0 for a in match.adapters] for match in matches])
    trained = np.array([match.trained for match in matches])
    found = tallies(parts.game, matches)
    found, own, trained = rows_of_all(parts.mesh, (found, own, trained))
    mirror = own.all(1, keepdims=True)
    measures = {name: tally.mean(trained & mirror) for name, tally in found.items()}
    if not mirror.all():
        against = {name: tally.mean(trained & ~mirror) for name, tally in found.items()}
        measures |= {f"{name}_against_others": x for name, x in against.items()}
    return measures


def learn(
    parts: LmParts, state: LmState, matches: list[Match]
) -> tuple[LmState, list[Match], dict[str, float]]:
    """One gradient step on matches, those that this process played.

    Returns:
      The state, the matches with their advantages and credits, and metrics.
    """
    config = parts.config
    critic, advantage, metrics = _advantages(parts, state, matches)
    credit = np.asarray(parts.credit(advantage))
    rows = num_rows(config.seating, len(matches), advantage.shape[2])
    batch = _batch(parts, matches, places_of(matches), rows, credit)
    scales = {
        f"{name}_scale": np.full(rows, share, np.float32)
        for name, share in shares(config, int(state.policy.step)).items()
    }
    batch = batch._replace(**scales)
    batch = place_rows(parts.mesh, batch)
    with compiles(f"the learner's step of {_size(batch)}"):
        policy, numbers = parts.fit.update(
            state.policy, batch, parts.model.params, parts.scale
        )
    numbers = jax.device_get(numbers)
    metrics |= {name: float(x) for name, x in numbers.items()}
    metrics["tokens"] = float((batch.positions >= 0).sum())
    matches = [
        dataclasses.replace(
            match, advantages=advantage[m].tolist(), credits=credit[m].tolist()
        )
        for m, match in enumerate(matches)
    ]
    return LmState(policy, critic), matches, metrics


def shares(config: LmConfig, number: int) -> dict[str, float]:
    """Weights of entropy bonus and KL penalty, relative to those of iteration 0."""
    first, last = SCHEDULE
    done = (number / config.schedule_length - first) / (last - first)
    done = min(max(done, 0.0), 1.0)

    def share(weight: float, final: float | None) -> float:
        if final is None or weight == 0:
            return 1.0
        return 1.0 + done * (final / weight - 1.0)

    return {
        "entropy": share(config.entropy_bonus, config.final_entropy_bonus),
        "kl": share(config.kl, config.final_kl),
    }


def _advantages(
    parts: LmParts, state: LmState, matches: list[Match]
) -> tuple[CriticState | None, np.ndarray, dict[str, float]]:
    """The critic after its own step, and advantages f32[M, T, N]."""
    config = parts.config
    reward = config.goal.share(jnp.asarray(credits.reward_array(matches)))
    group = np.array([match.group for match in matches])
    trained = np.array([match.trained for match in matches])
    every, group, trained = rows_of_all(parts.mesh, (reward, group, trained))
    baseline = "batch" if config.baseline == "batch" else "group"
    compared = credits.comparable_in(group, trained, baseline)
    advantage = np.asarray(
        credits.group_advantages(every, compared, config.gamma, config.reward_scale)
    )
    first = first_row(parts.mesh, len(matches))
    advantage = advantage[first : first + len(matches)]
    if parts.critic is None or state.critic is None:
        return None, advantage, {}
    # Who has no tokens has no value either, and keeps the advantage of its group.
    places = places_of(matches, trained_only=False)
    num_seats = advantage.shape[2]
    batch = _batch(parts, matches, places, num_seats * len(matches))
    base = parts.model.params
    with compiles(f"the critic's values of {_size(batch)}"):
        found = own_rows(
            parts.critic.value(state.critic, base, place_rows(parts.mesh, batch))
        )
    value = np.zeros(advantage.shape, np.float32)
    for s, (m, i) in enumerate(places):
        value[m, :, i] = found[s]
    estimated = np.asarray(
        credits.critic_advantages(
            reward, jnp.asarray(value), config.gamma, config.gae_lambda,
            config.reward_scale,
        )
    )  # fmt: skip
    target = np.zeros(found.shape, np.float32)
    advantage = advantage.copy()
    for s, (m, i) in enumerate(places):
        advantage[m, :, i] = estimated[m, :, i]
        target[s] = estimated[m, :, i] + found[s]
        if not matches[m].trained[i]:
            batch.decisions[s] = -1
    batch, target = place_rows(parts.mesh, (batch, target))
    with compiles(f"the critic's step of {_size(batch)}"):
        critic, loss = parts.critic.update(state.critic, base, batch, target)
    return critic, advantage, {"critic_loss": float(loss)}


def _size(batch: SpeechBatch) -> str:
    rows, length = batch.tokens.shape
    return f"{rows} x {length} tokens"


def _batch(
    parts: LmParts,
    matches: list[Match],
    places: list[Place],
    rows: int,
    credit: np.ndarray | None = None,
) -> SpeechBatch:
    """Rows of this process, as long as those of the others."""
    # Where attention is by scores: fused kernels and recurrent layers read sequences
    # as a whole.
    is_whole = bool(parts.model.sampler.config.recurring)
    shares = parts.mesh is None and attention.platform() == "cpu" and not is_whole
    batch = speech_batch(matches, places, credit, with_opening=shares)
    own = batch.tokens.shape[1], batch.targets.shape[1]
    length, num_targets = largest(parts.mesh, *own)
    if (length, num_targets) != own:
        batch = speech_batch(
            matches, places, credit, length=length, num_targets=num_targets
        )
    return padded(batch, rows)


def padded(batch: SpeechBatch, rows: int) -> SpeechBatch:
    """The batch with empty rows up to `rows`, so that its shape stays."""
    missing = rows - len(batch.tokens)
    if missing == 0:
        return batch
    empty = {"positions": -1, "targets": -1, "decisions": -1}

    def fill(name: str, x: Array) -> np.ndarray:
        widths = [(0, missing)] + [(0, 0)] * (x.ndim - 1)
        return np.pad(x, widths, constant_values=empty.get(name, 0))

    return SpeechBatch(*(fill(name, x) for name, x in batch._asdict().items()))
