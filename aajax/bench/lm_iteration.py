"""One training iteration of text IPD: play, credit, one step; and what bounds it.

Others do the same work, in turns in the same process, so that whatever else the machine
does falls on all alike.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from aajax.bench.lm_work import UNIT, Work, measure_device
from aajax.bench.timing import peak_bytes, rates, reset_peak, resident_bytes
from aajax.dialogue.learning.batch import SpeechBatch, places_of, speech_batch
from aajax.dialogue.play.matches import Match
from aajax.dialogue.pocket import PROGRAMS, user_cache
from aajax.lm.checkpoints.weights import read_config
from aajax.lm.compilation import kept
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import Adapters
from aajax.lm.planning.bounds import forward_flops, logits_flops, training_flops
from aajax.training.lm_assemble import assemble, find_model, make_game
from aajax.training.lm_config import LmConfig
from aajax.training.lm_iteration import iterate
from aajax.training.lm_past import make_stack
from aajax.training.lm_presets import LM_PRESETS

PARTS = "playing", "learning", "iteration"


class Times(NamedTuple):
    """Seconds of an iteration: of its play, and of its learning."""

    playing: float
    learning: float

    @property
    def iteration(self) -> float:
        return self.playing + self.learning


class Counts(NamedTuple):
    """Tokens of an iteration, those of a dialogue being the prompts and answers in it.

    Attributes:
      playing, learning: of all dialogues that are played, and learned from.
      read, sampled: of those that are played, an opening that all share once; the
        sampled ones are among them.
      learned, targets: of those that are learned from, likewise.
      length: of the longest dialogue.
    """

    playing: int
    learning: int
    read: int
    sampled: int
    learned: int
    targets: int
    length: int

    @property
    def iteration(self) -> int:
        return self.playing + self.learning


# Does what was played and learned again: (matches) -> times.
Again = Callable[[Sequence[Match]], Times]
# Prepares it: (config of the run, checkpoint folder) -> {name: again}.
MakeOthers = Callable[[LmConfig, str], Mapping[str, Again]]


def configured(
    model: str | None, prompts: str | None, rounds: int, num_matches: int
) -> LmConfig:
    """The run whose iterations are measured: Advantage Alignment, as its preset is.

    Args:
      model: as in training; None for a pocket model.
      prompts: the wording; None for that of the preset.
      rounds: of a match.
      num_matches: of an iteration.
    """
    preset = LM_PRESETS["lm-ipd" if model is None else "lm-ipd-aa-smollm2"][1]
    return dataclasses.replace(
        preset,
        model=model,
        prompts=prompts or preset.prompts,
        options=(f"num_rounds={rounds}",),
        num_matches=num_matches,
        # Adapters of earlier iterations are not there yet.
        past_selves=dataclasses.replace(preset.past_selves, every=10**6),
        speaking=dataclasses.replace(preset.speaking, free_tries=0),
    )


def check(config: LmConfig) -> None:
    """Raises InputError for a wording or a model that is not there."""
    make_game(config)
    if config.model is not None:
        find_model(config)


def measure(
    repeats: int, config: LmConfig, make_others: MakeOthers | None = None
) -> dict:
    """Iterations of a run, each of them done again by the others.

    Args:
      repeats: iterations after the first, which compiles and counts for nobody.
      config: of `configured`.
      make_others: of those to compare with; None for nobody.

    Returns:
      "results", by part of PARTS and by whom, in tokens of the dialogues per second;
      "bounds", in the same unit; "device", what was measured of it; and "tokens" of the
      last iteration. The memory of ours is all that the process held until the others
      began; theirs is what it held in their turns beyond that.
    """
    with kept(user_cache() / PROGRAMS):
        play, decoder, folder = _ours(config)
        matches, own = play(0)
        first, memory = {"aajax": own}, {"aajax": peak_bytes()}
        before = resident_bytes()
        others = {} if make_others is None else make_others(config, folder)
        for name, again in others.items():
            reset_peak()
            first[name] = again(matches)
            peak = peak_bytes()
            memory[name] = peak and before and peak - before
        times: dict[str, list[Times]] = {name: [] for name in first}
        found = []
        for number in range(repeats):
            matches, own = play(number + 1)
            times["aajax"].append(own)
            found.append(counted(matches))
            for name, again in others.items():
                times[name].append(again(matches))
    dtype = "bfloat16" if config.matmul_precision == "bfloat16" else config.dtype
    device = measure_device(repeats, Work(decoder, dtype=dtype))
    return {
        "device": device,
        "tokens": found[-1]._asdict(),
        "bounds": bounds(decoder, found[-1], device["flops"]),
        "results": {
            part: {
                name: {
                    **_rates(each, found, part, getattr(first[name], part)),
                    "peak_bytes": memory[name],
                }
                for name, each in times.items()
            }
            for part in PARTS
        },
    }


def _rates(
    times: Sequence[Times], found: Sequence[Counts], part: str, first: float
) -> dict:
    """The record of `timing.rates`, of iterations that differ in their tokens."""
    tokens = [getattr(counts, part) for counts in found]
    mean = sum(tokens) / len(tokens)
    pairs = zip(times, tokens, strict=True)
    each = [getattr(own, part) * mean / count for own, count in pairs]
    return rates(each, mean, UNIT, first)


def _ours(config: LmConfig) -> tuple[Callable, DecoderConfig, str]:
    """Our iteration, number → matches and times; the model's config, and folder."""
    folder = str(find_model(config))
    parts = assemble(config)
    state = parts.init(jax.random.key(config.seed))
    learner = Adapters(state.policy.weights, parts.scale)
    latest = [state], make_stack([config], [learner], parts.mesh)

    def play(number: int) -> tuple[list[Match], Times]:
        nonlocal latest
        done = iterate([parts], *latest, number, no_past)
        latest = done.states, done.stack
        (matches,), (metrics,) = done.matches, done.metrics
        seconds = (metrics[f"seconds_{part}"] or 0.0 for part in PARTS[:2])
        return matches, Times(*seconds)

    return play, read_config(folder), folder


def no_past(member: int, number: int) -> Adapters:
    """Loads none: adapters of earlier iterations are not there yet."""
    raise ValueError(f"number is {number} of {member}: there are no past selves")


def counted(matches: Sequence[Match]) -> Counts:
    """The tokens of an iteration's matches."""
    played = _batch(matches, trained_only=False)
    learned = _batch(matches, trained_only=True)
    (playing, read), (learning, once) = map(_tokens, (played, learned))
    return Counts(
        playing,
        learning,
        read,
        int((played.targets >= 0).sum()),
        once,
        int((learned.targets >= 0).sum()),
        int(played.positions.max()) + 1,
    )


def _batch(matches: Sequence[Match], trained_only: bool) -> SpeechBatch:
    return speech_batch(matches, places_of(matches, trained_only), with_opening=True)


def _tokens(batch: SpeechBatch) -> tuple[int, int]:
    """Tokens of all dialogues, and with their opening counted once."""
    rows, opening = batch.opening.shape
    after = int((np.asarray(batch.positions) >= 0).sum())
    return rows * opening + after, opening + after


def bounds(config: DecoderConfig, counts: Counts, flops: float) -> dict[str, float]:
    """Tokens per second at which a device of so many FLOP/s could do the parts at best.

    Counted are products with weights and in attention, an opening once: forward for
    what is read and sampled in play; forward, and backward to activations, for what is
    learned from, with logits where an answer was given.

    Args:
      config: of the decoder.
      counts: of an iteration.
      flops: of `measure_device`.
    """
    forward = forward_flops(config, counts.length)
    logits = logits_flops(config)
    share = counts.targets / counts.learned
    learn = training_flops(config, counts.length, frozen=True, targets=share)
    playing = (counts.read * forward + counts.sampled * logits) / flops
    learning = counts.learned * learn / flops
    each = Times(playing, learning)
    return {part: getattr(counts, part) / getattr(each, part) for part in PARTS}
