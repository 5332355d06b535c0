"""The same work done by torch and transformers, on the same checkpoint, on the CPU."""

import os
from typing import Any

import torch
import transformers

from aajax.bench.lm_work import UNIT, Work
from aajax.bench.timing import rate


def measure_again(repeats: int, work: Work) -> dict:
    """Dialogues by `generate` on the whole history in every round, as is common."""
    return {"dialogue": _dialogue(repeats, work, is_kept=False)}


def measure_kept(repeats: int, work: Work) -> dict:
    """Dialogues by `generate` with the keys and values of earlier rounds."""
    return {"dialogue": _dialogue(repeats, work, is_kept=True)}


def measure_prefill(repeats: int, work: Work) -> dict:
    """Prompts read into an empty cache."""
    model = _model(work)

    def read(i: int) -> None:
        prompts = torch.from_numpy(work.tokens(i, work.batch, work.prompt)).long()
        with torch.inference_mode():
            model(prompts, use_cache=True, logits_to_keep=1)

    return {"prefill": rate(read, repeats, work.batch * work.prompt, UNIT)}


def measure_training(repeats: int, work: Work) -> dict:
    """Steps of Adam on all weights."""
    model = _model(work).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    shape = work.training_batch, work.training_length

    def train(i: int) -> None:
        tokens = torch.from_numpy(work.tokens(i, shape[0], shape[1] + 1)).long()
        score = model(tokens[:, :-1], use_cache=False).logits.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(score.float(), tokens[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return {"training": rate(train, repeats, shape[0] * shape[1], UNIT)}


def _dialogue(repeats: int, work: Work, is_kept: bool) -> dict:
    model = _model(work)
    options = {
        "do_sample": True,
        "temperature": 1.0,
        "top_k": 0,
        "min_new_tokens": work.turn,
        "max_new_tokens": work.turn,
        "pad_token_id": 0,
        "eos_token_id": None,
        "return_dict_in_generate": True,
    }

    def dialogue(i: int) -> None:
        history, kept = torch.zeros((work.batch, 0), dtype=torch.long), {}
        for heard in work.heard(i):
            history = torch.cat([history, torch.from_numpy(heard).long()], 1)
            seen = torch.ones_like(history)
            with torch.inference_mode():
                told = model.generate(history, attention_mask=seen, **options, **kept)
            history = told.sequences
            kept = {"cache": told.past_key_values} if is_kept else {}
        if history.shape[1] != 2 * work.rounds * work.turn:
            raise RuntimeError("a dialogue ended early")

    return rate(dialogue, repeats, work.batch * work.rounds * work.turn, UNIT)


def load_model(folder: str, dtype: str) -> Any:
    """The model of a checkpoint, on all cores, in the mode of evaluation."""
    torch.set_num_threads(os.cpu_count() or 1)
    torch.manual_seed(0)
    transformers.utils.logging.disable_progress_bar()
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype)
    )
    return model.eval()


def _model(work: Work) -> Any:
    assert work.folder is not None  # of a checkpoint that both read
    return load_model(work.folder, work.dtype)
