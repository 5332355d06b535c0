"""Pocket models: tiny chat models, trained on a laptop in a minute or two.

They are saved in the format of full-sized ones, for tests and experiments without a
pretrained model.
"""

import dataclasses
import hashlib
import json
import logging
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np
import optax

from aajax.envs.dialogues import Rules, exchange
from aajax.errors import DivergenceError, InputError
from aajax.files import LOCK, PARTIAL, locked, naming, write_json
from aajax.keys import numpy_stream, stream
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.decoder import init_params
from aajax.lm.training.fit import TokenBatch, make_step
from aajax.schema import Count, Natural, Positive, Seed, Share, check

_log = logging.getLogger(__name__)

PROGRAMS = "programs"  # folder of the cache, for compiled programs
_FORMAT = 4  # of the cached folder; to be raised when what is written into it changes
_TEXTS = 2000  # exchanges that a vocabulary is learned from
_WARM_UP = 20  # steps
_GAP = 2000  # positions at most between two exchanges of a dialogue
_SILENCE = 20.0  # seconds between two lines while one is trained
_END = 0.01  # of the learning rate, at the last step


@dataclasses.dataclass(frozen=True)
class PocketConfig:
    """A small chat model that is trained on the spot, and its training.

    The default takes 300 steps to answer 99 in 100 requests of `envs.dialogues` in
    the right format, over half a dozen turns; in much longer dialogues it gets worse.

    Attributes:
      family: architecture and format of the checkpoint folder
      vocab_size: vocabulary size of a tokenizer trained for it; 0: bytes
      hidden_size: hidden units
      layers: number of decoder layers
      heads: attention heads of a layer
      text: text file to train on; None: generated dialogues, whose answers alone are
        in the loss
      rules: game for which some generated dialogues are answered by rules, so that the
        model can compare what the game is about: values, or hands
      honesty: probability that a speaker that follows no rule says its own hand; None:
        a random hand
      steps: training steps
      batch: sequences per step
      length: tokens per sequence
      learning_rate: peak learning rate of Adam
      seed: random seed of weights and dialogues
    """

    family: Literal["qwen3", "llama"] = "qwen3"
    vocab_size: Natural = 0
    hidden_size: Count = 64
    layers: Count = 2
    heads: Count = 2
    text: Path | None = None
    rules: Rules | None = None
    honesty: Share | None = None
    steps: Count = 600
    batch: Count = 8
    length: Count = 384
    learning_rate: Positive = 0.015
    seed: Seed = 0

    __post_init__ = check

    def check_relations(self):
        if self.hidden_size % (2 * self.heads):
            raise InputError(
                f"hidden_size is {self.hidden_size}: an even number for each of "
                f"{self.heads} heads is needed"
            )
        if self.honesty is not None and self.rules != "trust-and-split":
            raise InputError(
                f"honesty is {self.honesty}: None is needed without rules of "
                "trust-and-split"
            )
        # Shorter pieces of a dialogue may have no answer in them.
        least = 256 if self.text is None else 2
        if self.length < least:
            raise InputError(f"length is {self.length}: at least {least} is needed")


def train_pocket(
    folder: str | os.PathLike,
    config: PocketConfig = PocketConfig(),
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """Trains a pocket model and saves it: weights, tokenizer, chat template.

    The folder appears when it is complete. It is the same for the same config on the
    same machine. `load_params`, `load_tokenizer` and the Auto classes of transformers
    read it.

    Args:
      folder: must not be there, or be empty.
      config: of the model and its training.
      on_step: called with the number of steps done and the loss of the last, in nats
        per token.

    Returns:
      The mean loss of the last tenth of the steps, on texts not seen before unless
      they are those of a file.

    Raises:
      InputError: if the folder has files or another process makes a model there, for a
        vocabulary too small for all bytes, and for a text that is no UTF-8 or too
        short.
      DivergenceError: if the loss or a weight is no longer finite; nothing is saved.
      OSError: if the text cannot be read or the folder not written.
    """
    label = f"folder is {str(folder)!r}"
    folder = Path(folder).resolve()
    _check_new(folder, label)
    with locked(_lock_file(folder), label):
        _check_new(folder, label)
        return _train_into(folder, config, on_step)


def _check_new(folder: Path, label: str) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{label}: one that is new or empty is needed")


def _lock_file(folder: Path) -> Path:
    """Beside a folder that is to appear when it is complete."""
    return folder.with_name(f".{folder.name}{LOCK}")


def _train_into(
    folder: Path,
    config: PocketConfig,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> float:
    """`train_pocket`, where nobody else does."""
    text = None if config.text is None else _read_text(config.text)
    if folder.exists():
        folder.rmdir()  # now, since it cannot be replaced where it is a mount point
    with (
        naming(folder),
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=PARTIAL) as name,
    ):
        made = Path(name) / folder.name
        # Schedules of optax mix types.
        with jax.numpy_dtype_promotion("standard"):
            loss = _train(made, config, text, on_step)
        os.rename(made, folder)
    return loss


def pocket_folder(
    cache_dir: str | os.PathLike | None = None, config: PocketConfig = PocketConfig()
) -> Path:
    """The folder of a pocket model, trained at the first call and cached.

    Of concurrent processes one trains it, holding an advisory lock; the others wait.

    Args:
      cache_dir: where such folders are kept; aajax in $XDG_CACHE_HOME or ~/.cache if
        None.
      config: of the model; each has a folder of its own.
    """
    folder = Path(cache_dir or user_cache()) / f"pocket-{_digest(config)}"
    if folder.exists():
        return folder
    with locked(_lock_file(folder), f"pocket model is {folder}", wait=True):
        try:
            if not folder.exists():
                _train_into(folder, config, _told(folder, config.steps))
        except OSError:
            # Where there are no locks: what another process has made is as good.
            if not folder.exists():
                raise
    return folder


def _told(folder: Path, steps: int) -> Callable[[int, float], None]:
    """Tells that a pocket model is trained, and how far it has come now and then."""
    _log.warning("a pocket model is trained, once: %d steps; kept in %s", steps, folder)
    told = time.monotonic()

    def on_step(done: int, loss: float) -> None:
        nonlocal told
        if time.monotonic() - told > _SILENCE:
            told = time.monotonic()
            _log.warning("pocket model: step %d/%d  loss %.3f", done, steps, loss)

    return on_step


def user_cache() -> Path:
    """The cache folder: aajax in $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aajax"


def decoder_config(config: PocketConfig, vocab_size: int) -> DecoderConfig:
    """The decoder's configuration, given the size of the tokenizer's vocabulary."""
    return DecoderConfig(
        family=config.family,
        vocab_size=vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=3 * config.hidden_size,
        num_layers=config.layers,
        num_heads=config.heads,
        num_kv_heads=config.heads,
        head_dim=config.hidden_size // config.heads,
        # Tied, the embeddings of what is equally likely come to be alike, and with them
        # what an adapter could tell apart.
        tie_embeddings=False,
        qk_norm=config.family == "qwen3",
    )


def _train(folder: Path, config: PocketConfig, text: str | None, on_step) -> float:
    # Heavy libraries, not needed to say what a pocket model is.
    from aajax.lm.checkpoints.weights import all_finite, save_params
    from aajax.lm.text.chat import find_template
    from aajax.lm.text.pocket_tokenizer import SMALLEST, pocket_tokenizer

    rng = numpy_stream(config.seed, "pocket model: texts")
    texts = None
    if config.vocab_size:
        texts = _exchange_texts(rng, config) if text is None else text.splitlines(True)
    size = config.vocab_size or SMALLEST
    tokens = pocket_tokenizer(folder, texts, size)
    if text is None:
        template = find_template(tokens)
        rows = _dialogue_rows(rng, template, config)
    elif len(tokens.encode(text[:100])) > 1:
        rows = _text_rows(rng, text, tokens, config.length)
    else:
        raise InputError(f"text is {config.text}: at least two tokens are needed")
    decoder = decoder_config(config, tokens.vocab_size)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, min(_WARM_UP, config.steps // 2),
        config.steps, _END * config.learning_rate,
    )  # fmt: skip
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate, b2=0.95))
    step = make_step(decoder, optimizer)
    weights = init_params(decoder, stream(config.seed, "pocket model: weights"))
    state = step.init(weights)
    losses = []
    for done in range(1, config.steps + 1):
        batch = _batch([next(rows) for _ in range(config.batch)], config.length)
        state, metrics = step.update(state, batch)
        losses.append(float(metrics["loss"]))
        if not math.isfinite(losses[-1]):
            raise DivergenceError(
                f"the pocket model diverged at step {done}: loss is {losses[-1]}"
            )
        on_step(done, losses[-1])
    if not all(all_finite(np.asarray(x)) for x in jax.tree.leaves(state.weights)):
        raise DivergenceError(
            f"the pocket model diverged at step {config.steps}: a weight is not finite"
        )
    save_params(folder, decoder, state.weights)
    generation = {
        "eos_token_id": sorted(tokens.stop_ids),
        "pad_token_id": tokens.pad_id,
        "do_sample": True,
    }
    write_json(folder / "generation_config.json", generation, indent=2)
    return float(np.mean(losses[-math.ceil(config.steps / 10) :]))


def _read_text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"text is {path}: UTF-8 is needed ({error})") from error


def _exchange_texts(rng: np.random.Generator, config: PocketConfig) -> Iterator[str]:
    for _ in range(_TEXTS):
        each = exchange(rng, config.rules, config.honesty)
        yield each.request
        yield each.answer


class _Row(NamedTuple):
    """Ids, length + 1 at most, since the last is a target only; for each, whether it
    counts as a target, and its position."""

    ids: list[int]
    counts: list[bool]
    positions: list[int]


def _dialogue_rows(rng, template, config: PocketConfig) -> Iterator[_Row]:
    """Dialogues of as many exchanges as fit, the last one truncated.

    Positions have random gaps between exchanges, so that the model generalises to
    longer dialogues (randomised positions, https://arxiv.org/abs/2305.16843).
    """
    length = config.length
    while True:
        ids, counts, positions, start = [], [], [], 0
        while len(ids) <= length:
            each = exchange(rng, config.rules, config.honesty)
            if ids:
                asked = template.next_turn(each.request, stopped=True)
            else:
                asked = template.opening(each.request)
            answer = template.tokens.encode(each.answer) + [template.end_of_turn]
            ids += asked + answer
            counts += [False] * len(asked) + [True] * len(answer)
            positions += range(start, start + len(asked + answer))
            start = positions[-1] + 1 + int(rng.integers(2) * rng.integers(_GAP))
        yield _Row(*(x[: length + 1] for x in (ids, counts, positions)))


def _text_rows(rng, text: str, tokens, length: int) -> Iterator[_Row]:
    """Random windows of a text."""
    last = max(len(text) - length, 1)
    while True:
        start = rng.integers(last)
        # Of a learned vocabulary, few tokens have more than 8 characters.
        ids = tokens.encode(text[start : start + 8 * (length + 1)])[: length + 1]
        yield _Row(ids, [True] * len(ids), list(range(len(ids))))


def _batch(rows: list[_Row], length: int) -> TokenBatch:
    shape = len(rows), length
    tokens, targets = np.zeros((2, *shape), np.int32)
    positions = np.full(shape, -1, np.int32)
    weights = np.zeros(shape, np.float32)
    for i, row in enumerate(rows):
        size = len(row.ids) - 1
        tokens[i, :size], targets[i, :size] = row.ids[:-1], row.ids[1:]
        positions[i, :size] = row.positions[:-1]
        weights[i, :size] = row.counts[1:]
    which = np.full(len(rows), -1, np.int32)
    return TokenBatch(tokens, positions, targets, weights, which)


def _digest(config: PocketConfig) -> str:
    fields = dataclasses.asdict(config)
    if config.text is not None:
        fields["text"] = hashlib.sha256(Path(config.text).read_bytes()).hexdigest()
    key = json.dumps([_FORMAT, fields], sort_keys=True)
    return hashlib.sha256(key.encode()).hexdigest()[:12]
