"""The same iteration by torch, transformers and peft, on the same tokens and CPU."""

import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import peft
import torch
import transformers

from aajax.bench.lm_iteration import Again, Times
from aajax.bench.lm_torch import load_model
from aajax.dialogue.learning.batch import places_of, speech_batch
from aajax.dialogue.play.matches import Match
from aajax.dialogue.players.base import Tokens
from aajax.lm.checkpoints.peft_config import write_options
from aajax.lm.checkpoints.weights import read_config
from aajax.training.lm_config import LmConfig

# torch's word for factors of products, by that of ours.
PRECISIONS = {None: "highest", "float32": "highest", "bfloat16": "medium"}
_UNUSED = "base_model_name_or_path", "peft_type", "inference_mode"


def prepare(config: LmConfig, folder: str) -> Mapping[str, Again]:
    """An iteration of torch's on matches that were played: (matches) -> times.

    In float32, and, where ours rounds factors of products to bfloat16, in that too.
    What was sampled is put in place of what torch samples, so that all that is read and
    learned from is the same.

    Args:
      config: of the run.
      folder: of the model's checkpoint.
    """
    model = _adapted(config, folder)
    trained = [x for x in model.parameters() if x.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)

    def iterate(matches: Sequence[Match], precision: str) -> Times:
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision(precision)
        try:
            began = time.perf_counter()
            _play(model, matches)
            played = time.perf_counter()
            _learn(model, optimizer, matches, config)
            return Times(played - began, time.perf_counter() - played)
        finally:
            torch.set_float32_matmul_precision(before)

    def in_precision(name: str) -> Again:
        return lambda matches: iterate(matches, name)

    found = {"torch": in_precision(PRECISIONS[None])}
    if config.matmul_precision == "bfloat16":
        found["torch, bfloat16"] = in_precision(PRECISIONS["bfloat16"])
    return found


def _adapted(config: LmConfig, folder: str) -> Any:
    """The model with an adapter of the run's size."""
    base = load_model(folder, config.dtype)
    options = write_options(read_config(folder), config.lora_config, folder)
    options = {name: x for name, x in options.items() if name not in _UNUSED}
    with warnings.catch_warnings():
        # peft asks transformers by a name that is older than its own.
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        return peft.get_peft_model(base, peft.LoraConfig(**options))


def _play(model: Any, matches: Sequence[Match]) -> None:
    """Reads the prompts and samples as many tokens, with a cache, all rows at once."""
    model.eval()
    rows = [match.turns[seat] for match in matches for seat in range(len(match.turns))]
    cache, mask = transformers.DynamicCache(), torch.zeros(len(rows), 0).long()

    def read(tokens: np.ndarray, seen: np.ndarray) -> torch.Tensor:
        """The logits after the last tokens; i64[rows, L], and which are there."""
        nonlocal mask
        mask = torch.cat([mask, torch.from_numpy(seen)], 1)
        places = (mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        return model(
            torch.from_numpy(tokens),
            attention_mask=mask,
            position_ids=places,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]

    with torch.inference_mode():
        each = list(zip(*rows, strict=True))
        last = each[-1]
        for turns in each:
            said = [turn.tokens or Tokens([], [], [], [], []) for turn in turns]
            logits = read(*_aligned([x.prompt for x in said]))
            ids, seen = _aligned([x.ids for x in said], at_end=False)
            for i in range(ids.shape[1]):
                torch.multinomial(torch.softmax(logits.float(), -1), 1)
                # The very last of all are sampled, and read by nobody.
                if turns is not last or i + 1 < ids.shape[1]:
                    logits = read(ids[:, i : i + 1], seen[:, i : i + 1])


def _learn(
    model: Any, optimizer: Any, matches: Sequence[Match], config: LmConfig
) -> None:
    """One step of a policy gradient with a bonus for entropy, credits being at hand."""
    model.train()
    batch = speech_batch(matches, places_of(matches), _credits(matches))

    def as_torch(x: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(x, np.int64))

    tokens, targets = as_torch(batch.tokens), as_torch(batch.targets)
    mask, places = as_torch(batch.positions >= 0), as_torch(batch.places)
    inner = model.get_base_model()
    hidden = inner.get_decoder()(tokens, attention_mask=mask, use_cache=False)
    hidden = hidden.last_hidden_state
    places = places[:, :, None].expand(-1, -1, hidden.shape[-1])
    said = targets >= 0
    logits = inner.get_output_embeddings()(hidden.gather(1, places)[said]).float()
    log_prob = torch.log_softmax(logits, -1)
    own = log_prob.gather(1, targets[said][:, None])[:, 0]
    credit = torch.from_numpy(np.array(batch.credit))[said]
    entropy = -(log_prob.exp() * log_prob).sum(-1)
    loss = -(own * credit).mean() - config.entropy_bonus * entropy.mean()
    optimizer.zero_grad()
    loss.backward()
    trained = [x for x in model.parameters() if x.requires_grad]
    torch.nn.utils.clip_grad_norm_(trained, config.max_gradient_norm)
    optimizer.step()


def _credits(matches: Sequence[Match]) -> np.ndarray:
    return np.array([match.credits for match in matches], np.float32)


def _aligned(
    rows: Sequence[Sequence[int]], at_end: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of unequal rows, i64[rows, L], and which are there, as 0 and 1."""
    width = max(map(len, rows))
    tokens = np.zeros((len(rows), width), np.int64)
    seen = np.zeros((len(rows), width), np.int64)
    for row, there, ids in zip(tokens, seen, rows, strict=True):
        own = slice(width - len(ids), None) if at_end else slice(len(ids))
        row[own], there[own] = ids, 1
    return tokens, seen
