"""adapter_config.json of the PEFT library: rank and alpha of each layer's LoRA."""

import dataclasses
import re
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aajax import schema
from aajax.errors import InputError
from aajax.lm.checkpoints.hf_config import read_json
from aajax.lm.checkpoints.hf_names import siblings, stored
from aajax.lm.model.config import DecoderConfig
from aajax.lm.model.lora import (
    PLACES,
    LoraConfig,
    linear_layers,
    module,
    targets_of,
)
from aajax.schema import Count, Natural, Positive, check

CONFIG = "adapter_config.json"
ROOT = "model."  # what the names of all layers begin with

# With these a layer is not x W + scale x A B, or others than linear layers change.
_REFUSED = (
    "use_dora",
    "lora_bias",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "layer_replication",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "monteclora_config",
    "use_bdlora",
    "use_qalora",
    "velora_config",
)
# Other beginnings of A and B subtract them from the base.
_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")

Modules = str | tuple[str, ...] | None  # one expression, or names


@dataclasses.dataclass(frozen=True)
class PeftOptions:
    """The keys of adapter_config.json that are read; None for absent ones.

    Attributes:
      r, lora_alpha: rank and alpha of layers that match no pattern.
      use_rslora: whether the scale is alpha / √r instead of alpha / r.
      target_modules, exclude_modules: names of layers with and without an adapter.
      layers_to_transform: indices of layers that may have one; None for all.
      rank_pattern, alpha_pattern: regular expression → rank or alpha of matching
        layers.
    """

    peft_type: Literal["LORA"]
    r: Count | None = None
    lora_alpha: Positive | None = None
    use_rslora: bool | None = None
    bias: Literal["none"] | None = None
    target_modules: Modules = None
    exclude_modules: Modules = None
    layers_to_transform: Natural | tuple[Natural, ...] | None = None
    rank_pattern: dict[str, Count] | None = None
    alpha_pattern: dict[str, Positive] | None = None
    layers_pattern: Modules = None
    init_lora_weights: bool | str | None = None

    __post_init__ = check

    def check_relations(self):
        if self.init_lora_weights not in _BEGINNINGS:
            raise InputError(
                f"init_lora_weights is {self.init_lora_weights!r}: an adapter that "
                "leaves the base's weights as they are is needed"
            )
        if self.layers_pattern not in (None, "", (), "layers", ("layers",)):
            raise InputError(
                f"layers_pattern is {self.layers_pattern!r}: layers is needed"
            )


def adapter_folder(path: Path) -> Path | None:
    """The PEFT folder that a path leads to: itself, or adapter/ of a run; None else."""
    places = path, path / "adapter"
    return next((place for place in places if (place / CONFIG).is_file()), None)


class Place(NamedTuple):
    """A linear layer with an adapter: its name, where it is, and the adapter's size.

    `target` is a name of `lora.PLACES`; `layer` counts the layers that have it.
    """

    name: str
    target: str
    layer: int
    rank: int
    alpha: float


def modules(config: DecoderConfig, target: str) -> list[str]:
    """Names of a linear layer in all layers, such as model.layers.0.mlp.up_proj."""
    path = f"layers/{module(target)}/kernel"
    return [name.removesuffix(".weight") for name in stored(config, path).names]


def together(config: DecoderConfig, target: str) -> tuple[str, ...]:
    """The linear layers that are one in the checkpoint, in the order of its rows."""
    parts = siblings(config, module(target))
    names = {module(name): name for name in PLACES}
    return tuple(names[part] for part in parts)


def write_options(
    config: DecoderConfig, lora: LoraConfig, base_model_name: str
) -> dict[str, Any]:
    """The contents of adapter_config.json for an adapter."""
    ends = {
        modules(config, name)[0].rsplit(".", 1)[1]: len(together(config, name))
        for name in linear_layers(config, lora.targets)
    }
    is_whole = lora.alpha == int(lora.alpha)
    alpha = int(lora.alpha) if is_whole else lora.alpha
    fused = {name: count for name, count in ends.items() if count > 1}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model_name,
        "r": lora.rank,
        "lora_alpha": alpha,
        "target_modules": list(ends),
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "rank_pattern": {name: count * lora.rank for name, count in fused.items()},
        "alpha_pattern": {name: count * alpha for name, count in fused.items()},
        "use_dora": False,
        "use_rslora": False,
    }


def read_options(folder: Path) -> PeftOptions:
    """The adapter_config.json of a folder.

    Raises:
      InputError: if it cannot be read, or asks for anything but LoRA of linear layers.
    """
    record = read_json(folder, CONFIG)
    with schema.within(f"file is {folder / CONFIG}: "):
        for name in _REFUSED:
            if record.get(name):
                raise InputError(
                    f"{name} is {schema.shown(record[name])}: only low-rank adapters "
                    "of linear layers are supported"
                )
        return schema.build(PeftOptions, record, others=True)


def places(
    config: DecoderConfig, options: PeftOptions, root: str = ROOT
) -> list[Place]:
    """All linear layers with an adapter, ordered by target.

    Args:
      config: of the base.
      options: from `read_options`.
      root: prefix of layer names in the model for which the adapter was made.

    Raises:
      InputError: if there are none.
    """
    rank, alpha = options.r or 8, options.lora_alpha or 8.0
    found = []
    for target in linear_layers(config, targets_of(config)):
        for layer, name in enumerate(modules(config, target)):
            seen = root + name.removeprefix(ROOT)
            if not _is_target(options, seen, int(name.split(".")[2])):
                continue
            own_rank = _of_pattern(options, "rank_pattern", seen, rank)
            own_alpha = _of_pattern(options, "alpha_pattern", seen, alpha)
            found.append(Place(name, target, layer, own_rank, own_alpha))
    if not found:
        targets = options.target_modules
        targets = list(targets) if isinstance(targets, tuple) else targets
        raise InputError(
            f"target_modules is {schema.shown(targets)}: names of linear layers of the "
            "decoder are needed"
        )
    return found


def _is_target(options: PeftOptions, name: str, layer: int) -> bool:
    if _matches(options, "exclude_modules", name):
        return False
    only = options.layers_to_transform
    only = (only,) if isinstance(only, int) else only
    if only and layer not in only:
        return False
    targets = options.target_modules
    if isinstance(targets, str) and targets.lower() == "all-linear":
        return True
    return _matches(options, "target_modules", name)


def _matches(options: PeftOptions, option: str, name: str) -> bool:
    """PEFT's matching: full match of an expression, or a name or suffix in a list."""
    value = getattr(options, option) or ()
    if isinstance(value, str):
        return _match(option, value, name)
    return any(f".{name}".endswith(f".{end}") for end in value)


def _of_pattern(options: PeftOptions, option: str, name: str, default: Any):
    """The value of the first pattern that matches at the end of a name."""
    for pattern, value in (getattr(options, option) or {}).items():
        if _match(option, rf"(.*\.)?({pattern})", name):
            return value
    return default


def _match(option: str, pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise InputError(
            f"{option} has {pattern!r}: a regular expression is needed ({error})"
        ) from error
