"""Runs of language models by name: lm-GAME-VARIANT of a pocket model, or of others.

A size, --size SIZE on the command line, is what goes with a model of that size: large
ones have the published settings (https://arxiv.org/abs/2511.19405), and `--model` says
where their checkpoint folder is; small chat models have those of a pocket model with
the changes of `SMALL`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from aajax import schema
from aajax.dialogue.play.seating import Seating
from aajax.dialogue.pocket import PocketConfig
from aajax.training.lm_config import (
    Evaluation,
    LmConfig,
    Lora,
    PastSelves,
    Speaking,
)

Change = Callable[[LmConfig], LmConfig]


def _with(**changes) -> Change:
    return lambda config: dataclasses.replace(config, **changes)


_NO_BONUS = {"entropy_bonus": 0.0, "final_entropy_bonus": None}
_BUFFER = Seating(learners="alternate", past_share=0.5)

# Name → what it is, and how it differs from Advantage Alignment with a buffer.
VARIANTS: dict[str, tuple[str, Change]] = {
    "aa": ("Advantage Alignment against itself and past selves", _with()),
    "naive": (
        "each for its own reward",
        _with(algorithm="naive", seating=Seating(), **_NO_BONUS),
    ),
    "sum": (
        "all for the sum of rewards",
        _with(algorithm="sum_of_rewards", seating=Seating(), **_NO_BONUS),
    ),
    "aa-no-buffer": (
        "Advantage Alignment against itself alone",
        _with(seating=Seating()),
    ),
    "aa-no-group": (
        "Advantage Alignment, all matches are one group",
        _with(baseline="batch"),
    ),
    "vs-frozen": (
        "naive, in seat 0 against an adapter: --guest FOLDER",
        _with(
            algorithm="naive",
            seating=Seating(learners="first", guest_share=1.0),
            **_NO_BONUS,
        ),
    ),
    "vs-api": (
        "naive, against an endpoint: --guest api:URL#MODEL",
        _with(
            algorithm="naive",
            seating=Seating(learners="first", guest_share=1.0),
            **_NO_BONUS,
        ),
    ),
}

# On one device a sequence at a time, on more as many of them as there are devices.
# Public goods has no published settings, and those that the others share.
_PUBLISHED = LmConfig(
    dtype="bfloat16",
    fsdp=None,
    num_microbatches=None,
    remat=True,
    seating=_BUFFER,
    num_iterations=3000,
    speaking=Speaking(max_tokens=400, free_tries=1, max_cache=10_240),
    learning_rate=3e-6,
    critic_learning_rate=3e-6,
)
PUBLISHED: dict[str, LmConfig] = {
    "ipd": dataclasses.replace(
        _PUBLISHED,
        game="ipd",
        num_matches=128,
        group_size=1,
        baseline="batch",
        reward_scale=5.0,
        gamma=0.9,
        past_gamma=0.9,
        beta=0.5,
        entropy_bonus=0.01,
    ),
    "split": dataclasses.replace(
        _PUBLISHED,
        game="split",
        num_matches=64,
        group_size=8,
        reward_scale=100.0,
        gamma=0.9,
        past_gamma=0.9,
        beta=1.0,
        kl=0.001,
        speaking=dataclasses.replace(_PUBLISHED.speaking, free_tries=3),
    ),
    "trust-and-split": dataclasses.replace(
        _PUBLISHED,
        game="trust-and-split",
        num_matches=64,
        group_size=8,
        reward_scale=100.0,
        gamma=0.96,
        past_gamma=0.96,
        beta=2.0,
        kl=0.001,
    ),
    "public-goods": dataclasses.replace(
        _PUBLISHED,
        game="public-goods",
        options=("multiplier=2",),
        num_matches=64,
        group_size=1,
        baseline="batch",
        reward_scale=10.0,
        gamma=0.9,
        past_gamma=0.9,
        beta=1.0,
        kl=0.001,
    ),
}

# Sizes that were published, and what they need besides.
_SHORT = {"split": _with(speaking=Speaking(max_tokens=20, max_cache=10_240))}
MODELS: dict[str, tuple[str, dict[str, Change]]] = {
    "qwen2.5-7b": ("Qwen2.5-7B-Instruct", {}),
    "llama3.1-8b": ("Llama-3.1-8B-Instruct", _SHORT),
    "qwen3-8b": ("Qwen3-8B", _SHORT),
    "gemma3-4b": ("gemma-3-4b-it", _SHORT),
}

_POCKET = LmConfig(
    prompts="short",
    pocket=PocketConfig(vocab_size=768),
    seating=_BUFFER,
    lora=Lora(rank=8, alpha=16.0),
    past_selves=PastSelves(every=10, most=3),
    num_matches=64,
    learning_rate=1e-3,
    critic_learning_rate=1e-3,
    speaking=Speaking(max_tokens=16, cache_size=256),
    save_every=25,
    matches_every=25,
)


def _ruled(game: str, **settings) -> PocketConfig:
    """Of a model that can compare what the game is about."""
    return dataclasses.replace(_POCKET.pocket, rules=game, steps=800, **settings)


POCKET: dict[str, LmConfig] = {
    "ipd": dataclasses.replace(
        _POCKET,
        game="ipd",
        group_size=1,
        baseline="batch",
        reward_scale=5.0,
        beta=3.0,
        entropy_bonus=0.3,
        final_entropy_bonus=0.02,
        num_iterations=150,
        speaking=Speaking(max_tokens=4, cache_size=128),
    ),
    "split": dataclasses.replace(
        _POCKET,
        game="split",
        pocket=_ruled("split"),
        reward_scale=100.0,
        beta=5.0,
        gamma=0.3,
        kl=0.08,  # a bonus for entropy drives it to unusual spellings
        final_kl=0.02,
        learning_rate=4e-3,
        num_microbatches=8,
        num_iterations=200,
    ),
    "trust-and-split": dataclasses.replace(
        _POCKET,
        game="trust-and-split",
        options=("messages=hands",),
        pocket=_ruled("trust-and-split", honesty=0.9),
        reward_scale=40.0,
        beta=1.0,
        kl=0.08,
        final_kl=0.005,
        learning_rate=4e-3,
        final_learning_rate=1e-3,
        max_gradient_norm=0.02,  # late ones are longer than Adam expects
        num_microbatches=8,
        num_iterations=200,
    ),
    "public-goods": dataclasses.replace(
        _POCKET,
        game="public-goods",
        options=("multiplier=2",),
        pocket=_ruled("public-goods"),
        group_size=1,
        baseline="batch",
        reward_scale=5.0,
        beta=3.0,
        entropy_bonus=0.05,  # one coin is worth little beside a larger one
        final_entropy_bonus=0.01,
        learning_rate=2e-3,
        final_learning_rate=5e-4,
        num_iterations=120,
        speaking=Speaking(max_tokens=8, cache_size=256),
    ),
}


# Small chat models: size → its model, and what changes for it of a pocket model's
# settings, in every game and in each. Higher rates and bonuses for entropy drive them
# from what they know to defection within a few iterations. In long dialogues the
# activations of all layers are gigabytes, and computed again.
_CHAT = _with(
    prompts="full",
    pocket=PocketConfig(),
    num_matches=16,
    num_microbatches=2,
    matmul_precision="bfloat16",
    learning_rate=2e-4,
    critic_learning_rate=2e-4,
    final_learning_rate=None,
    num_iterations=80,
    save_every=5,
    matches_every=5,
    eval=Evaluation(matches=32),
)
SMALL: dict[str, tuple[str, dict[str, Change]]] = {
    "smollm2": (
        "SmolLM2-135M-Instruct",
        {
            "ipd": _with(
                options=("num_rounds=5",),
                gamma=0.7,
                entropy_bonus=0.6,  # with less it defects before it looks at the past
                num_iterations=110,
                final_num_iterations=80,  # with little bonus the first move is learned
                speaking=Speaking(max_tokens=4, free_tries=None, cache_size=512),
            ),
            "split": _with(
                options=("num_rounds=4",),
                group_size=4,
                num_microbatches=4,
                speaking=Speaking(max_tokens=18, free_tries=None, cache_size=1024),
            ),
            "trust-and-split": _with(
                options=("messages=hands", "num_rounds=4"),
                group_size=4,
                num_microbatches=4,
                final_learning_rate=5e-5,
                speaking=Speaking(max_tokens=16, free_tries=None, cache_size=1024),
            ),
            "public-goods": _with(
                options=("multiplier=2", "num_rounds=4"),
                gamma=0.7,
                num_microbatches=4,
                speaking=Speaking(max_tokens=8, free_tries=None, cache_size=1024),
            ),
        },
    ),
}
SIZES = (*SMALL, *MODELS)
LEAST_CHAT, LEAST_LARGE = 20_000_000, 1_000_000_000  # parameters


def pocket_name(game: str, variant: str) -> str:
    """The preset of a pocket model."""
    return f"lm-{game}" if variant == "aa" else f"lm-{game}-{variant}"


def _sized(game: str, size: str) -> LmConfig:
    """Of Advantage Alignment with a buffer, by a model of a size of SIZES."""
    if size in SMALL:
        change = SMALL[size][1][game]
        return _with(model=Path(size))(change(_CHAT(POCKET[game])))
    folder, needs = MODELS[size]
    return needs.get(game, _with())(_with(model=Path(folder))(PUBLISHED[game]))


def _varied(config: LmConfig, change: Change, settled: bool) -> LmConfig:
    """A variant; where they have settled halfway, others than Alignment end there."""
    whole = change(config)
    if settled and whole.algorithm != "advantage_alignment":
        whole = _with(num_iterations=config.num_iterations // 2)(whole)
    return whole


def _presets() -> dict[str, tuple[str, LmConfig]]:
    presets = {}
    for game, config in POCKET.items():
        for variant, (about, change) in VARIANTS.items():
            presets[pocket_name(game, variant)] = (
                f"{game} in words, a pocket model: {about}",
                _varied(config, change, settled=True),
            )
    for size in SIZES:
        model = (SMALL if size in SMALL else MODELS)[size][0]
        for game in PUBLISHED:
            for variant, (about, change) in VARIANTS.items():
                presets[f"lm-{game}-{variant}-{size}"] = (
                    f"{game} in words, {model}: {about}",
                    _varied(_sized(game, size), change, settled=size in SMALL),
                )
    return presets


# Tests check them: it takes a good part of a second.
with schema.deferred():
    LM_PRESETS = _presets()
# Name of a pocket model's preset, and size → name of the sized model's.
SIZED = {
    (pocket_name(game, variant), size): f"lm-{game}-{variant}-{size}"
    for game in PUBLISHED
    for variant in VARIANTS
    for size in SIZES
}


def size_named(preset: str, model: str | Path | None) -> str | None:
    """The size that a model is called like, where a pocket model's preset has it.

    A folder of that name is any model.
    """
    name = str(model)
    known = name in SMALL and (preset, name) in SIZED and not Path(name).is_dir()
    return name if known else None


def fitting_size(num_params: int) -> str | None:
    """The size whose settings are for models of so many parameters; None: pocket."""
    if num_params < LEAST_CHAT:
        return None
    return next(iter(SMALL if num_params < LEAST_LARGE else MODELS))
