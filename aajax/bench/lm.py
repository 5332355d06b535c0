"""Speed of a language model beside transformers and torch, with random weights."""

import functools
from collections.abc import Callable
from typing import Literal

import jax

from aajax.bench import lm_work
from aajax.bench.lm_work import Work
from aajax.bench.timing import in_new_process
from aajax.lm.model.config import DecoderConfig, Rope
from aajax.lm.model.decoder import init_params

SMALL = DecoderConfig(
    "qwen2",
    vocab_size=16_384,
    hidden_size=512,
    intermediate_size=2048,
    num_layers=8,
    num_heads=8,
    num_kv_heads=2,
    head_dim=64,
    tie_embeddings=True,
    attention_bias=True,
    rope=Rope(theta=1e6),
)
Name = Literal["dialogue", "prefill", "training"]
OURS: dict[Name, Callable] = {
    "dialogue": lm_work.measure_dialogue,
    "prefill": lm_work.measure_prefill,
    "training": lm_work.measure_training,
}


def measure(
    work: Work, only: tuple[Name, ...], repeats: int, beside_torch: bool = False
) -> dict:
    """All measurements, each in a process of its own.

    Args:
      work: what is measured.
      only: names of `OURS`.
      repeats: of each.
      beside_torch: whether torch is measured too, which needs a checkpoint folder.

    Returns:
      "device", what it was measured to do; "bounds", in tokens per second; and
      "results", by what and by whom.
    """
    device = in_new_process(_bound(lm_work.measure_device, work), repeats)
    results = {}
    for name in only:
        for who, run in {"aajax": OURS[name], **_torch(name, beside_torch)}.items():
            found = in_new_process(_bound(run, work), repeats)
            host = found.pop("peak_bytes")
            peak = found.pop("device_peak_bytes", host)
            for what, rate in found.items():
                results.setdefault(what, {})[who] = rate | {"peak_bytes": peak}
    bounds = lm_work.bounds(work, device)
    return {"device": device, "bounds": bounds, "results": results}


def _torch(name: str, is_wanted: bool) -> dict[str, Callable]:
    if not is_wanted:
        return {}
    # A library that only this comparison needs.
    from aajax.bench import lm_torch

    return {
        "dialogue": {
            "torch, generate": lm_torch.measure_again,
            "torch, cache kept": lm_torch.measure_kept,
        },
        "prefill": {"torch": lm_torch.measure_prefill},
        "training": {"torch": lm_torch.measure_training},
    }[name]


def _bound(run: Callable, work: Work) -> Callable[[int], dict]:
    return functools.partial(run, work=work)


def checkpoint(config: DecoderConfig, folder: str) -> str:
    """A Hugging Face folder of random weights; returns its name."""
    from aajax.lm.checkpoints.weights import save_params

    save_params(folder, config, init_params(config, jax.random.key(0)))
    return folder
