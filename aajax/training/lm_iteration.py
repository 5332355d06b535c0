"""One iteration of a language model's training: play, credit, one gradient step.

Members of a population that play in one batch do so each with itself and its past
selves, and learn one after another by one program, which each gives its own numbers.

On a mesh over n processes each plays 1/n of the matches, with the same result as if one
process played them all. Rewards are all-gathered, so that baselines are over all
matches; each process contributes the tokens of its own matches to the global batch.
"""

import dataclasses
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
from aajax.lm.ahead import ready
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
      states: new training states of all members.
      stack: adapters that played in it.
      matches: of each member, those played by this process, with advantages and credit.
      metrics: of each member, name → number; seconds are those of all members together.
    """

    states: list[LmState]
    stack: Stack
    matches: list[list[Match]]
    metrics: list[dict[str, float | None]]


def iterate(
    members: Sequence[LmParts],
    states: Sequence[LmState],
    stack: Stack,
    number: int,
    load: Load,
    without: Collection[int] = (),
) -> Iteration:
    """Plays the matches of an iteration, and makes one gradient step of each member.

    Randomness is derived from a member's seed and `number`. Matches record past selves
    by their numbers.

    Args:
      members: parts of each member of a population, or of the one run.
      states: of each; consumed.
      stack: consumed, of the iteration before.
      number: of the iteration, from 0.
      load: loads a past self of a member by its number.
      without: members that neither play nor learn, and whose states stay.
    """
    began, mesh = time.monotonic(), members[0].mesh
    active = [m for m in range(len(members)) if m not in without]
    if not active:
        nothing = [[] for _ in members], [{} for _ in members]
        return Iteration(list(states), stack, *nothing)
    planned = {m: _planned(members[m], m, number) for m in active}
    learners = [
        Adapters(state.policy.weights, parts.scale)
        for parts, state in zip(members, states, strict=True)
    ]
    playing = [_past_selves(planned.get(m, ())) for m in range(len(members))]
    stack = updated(stack, learners, playing, load, mesh)
    played = _played([members[m] for m in active], stack, planned, number)
    seconds_playing = time.monotonic() - began
    found, metrics = list(states), [{} for _ in members]
    matches: list[list[Match]] = [[] for _ in members]
    for m in active:
        found[m], matches[m], metrics[m] = learn(members[m], states[m], played[m])
    metrics = jax.device_get(metrics)
    for m in active:
        metrics[m] = {name: float(x) for name, x in metrics[m].items()}
        metrics[m] |= _measures(members[m], matches[m])
    seconds = {
        "seconds_playing": seconds_playing,
        "seconds_learning": time.monotonic() - began - seconds_playing,
    }
    metrics = [own | seconds if own else own for own in metrics]
    return Iteration(found, stack, matches, metrics)


def _planned(parts: LmParts, member: int, number: int) -> list[Matchup]:
    """The matchups of an iteration of a member."""
    config = parts.config
    rng = random_numbers(config, number)
    past = drawn_numbers(config, rng, number)
    planned = matchups(
        config.seating, rng, config.num_matches, config.group_size, past,
        number * config.num_matches, num_seats=parts.game.env.num_agents,
    )  # fmt: skip
    return [matchup._replace(member=member) for matchup in planned]


def _past_selves(planned: Iterable[Matchup]) -> set[int]:
    """Numbers of those that play."""
    seats = [seat for matchup in planned for seat in matchup.seats]
    return {seat.adapter for seat in seats if seat.adapter > 0}


def _played(
    members: Sequence[LmParts],
    stack: Stack,
    planned: Mapping[int, list[Matchup]],
    number: int,
) -> dict[int, list[Match]]:
    """The matches of this process, in one batch, by member.

    What only playing needs is gone when it returns.
    """
    first = members[0]
    players = first.line_up(stack.adapters)
    players[LEARNER] = Numbered(players[LEARNER], stack.places)
    own, keys = [], []
    for parts, matches in zip(members, planned.values(), strict=True):
        key = stream(parts.config.seed, "training in words: answers", number)
        count = len(matches) // len(processes(parts.mesh))
        start = first_row(parts.mesh, count)
        own += matches[start : start + count]
        keys += [key] * count
    key = keys[0] if len(members) == 1 else jnp.stack(keys)
    found: dict[int, list[Match]] = {m: [] for m in planned}
    for match in play(first.game, players, own, key):
        found[match.member].append(match)
    return found


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
) -> tuple[LmState, list[Match], dict[str, Any]]:
    """One gradient step on matches, those that this process played.

    Returns:
      The state, the matches with their advantages and credits, and metrics, f32[] that
      are there once the step is done.
    """
    config = parts.config
    critic, advantage, metrics = _advantages(parts, state, matches)
    credit = np.asarray(parts.credit(advantage))
    rows = num_rows(config.seating, len(matches), advantage.shape[2])
    batch = _batch(parts, matches, places_of(matches), rows, credit)
    step = int(state.policy.step)
    scales = {
        f"{name}_scale": np.full(rows, share * getattr(parts.scales, name), np.float32)
        for name, share in shares(config, step).items()
    }
    batch = batch._replace(**scales)
    batch = place_rows(parts.mesh, batch)
    rate = {} if parts.rate is None else {"rate": np.float32(parts.rate(step))}
    with compiles(f"the learner's step of {_size(batch)}"):
        policy, numbers = ready(parts.fit.update)(
            state.policy, batch, parts.model.params, parts.scale, **rate
        )
    metrics |= {**numbers, "tokens": _num_tokens(batch)}
    matches = [
        dataclasses.replace(
            match, advantages=advantage[m].tolist(), credits=credit[m].tolist()
        )
        for m, match in enumerate(matches)
    ]
    return LmState(policy, critic), matches, metrics


def _num_tokens(batch: SpeechBatch) -> Array:
    """Tokens of all dialogues, i32[], those of an opening in each of them."""
    real = batch.positions >= 0
    return real.sum() + batch.opening.shape[1] * real.any(1).sum()


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
            ready(parts.critic.value)(state.critic, base, place_rows(parts.mesh, batch))
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
    rate = [] if parts.critic_rate is None else [np.float32(parts.critic_rate)]
    with compiles(f"the critic's step of {_size(batch)}"):
        critic, loss = ready(parts.critic.update)(
            state.critic, base, batch, target, *rate
        )
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
    sizes, least = parts.model.sampler.sizes, {}
    if sizes is not None:
        least = {"length": sizes.length, "num_targets": sizes.targets}
    batch = speech_batch(matches, places, credit, with_opening=shares, **least)
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
