"""adapter_config.json of the PEFT library: which linear layers have which adapter."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aajax.errors import InputError
from aajax.lm.config import DecoderConfig
from aajax.lm.hf_config import read_json
from aajax.lm.hf_names import stored
from aajax.lm.lora import BLOCKS, LoraConfig

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


class Place(NamedTuple):
    """A linear layer with an adapter: its name, where it is, and the adapter's size."""

    name: str
    target: str
    layer: int
    rank: int
    alpha: float


def modules(config: DecoderConfig, target: str) -> list[str]:
    """Names of a linear layer in all layers, such as model.layers.0.mlp.up_proj."""
    path = f"layers/{BLOCKS[target]}/{target}/kernel"
    return [name.removesuffix(".weight") for name in stored(config, path).names]


def write_options(
    config: DecoderConfig, lora: LoraConfig, base_model_name: str
) -> dict[str, Any]:
    """What adapter_config.json says of an adapter."""
    names = [modules(config, target)[0].rsplit(".", 1)[1] for target in lora.targets]
    is_whole = lora.alpha == int(lora.alpha)
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model_name,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if is_whole else lora.alpha,
        "target_modules": names,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "rank_pattern": {},
        "alpha_pattern": {},
        "use_dora": False,
        "use_rslora": False,
    }


def read_options(folder: Path) -> Mapping[str, Any]:
    """The adapter_config.json of a folder.

    Raises:
      InputError: if it cannot be read, or asks for more than low-rank adapters of
        linear layers.
    """
    options = read_json(folder, CONFIG)
    _check(options)
    return options


def places(
    config: DecoderConfig, options: Mapping[str, Any], root: str = ROOT
) -> list[Place]:
    """The linear layers that `read_options` gives an adapter, target by target.

    Args:
      config: of the base.
      options: as read.
      root: instead of `ROOT`, what the names began with where the adapter was made.

    Raises:
      InputError: if there are none, or for ranks and alphas that are no numbers.
    """
    rank, alpha = _rank("r", options.get("r", 8)), options.get("lora_alpha", 8)
    found = []
    for target in BLOCKS:
        for layer, name in enumerate(modules(config, target)):
            seen = root + name.removeprefix(ROOT)
            if not _is_target(options, seen, layer):
                continue
            own_rank = _of_pattern(options, "rank_pattern", seen, rank)
            own_alpha = _of_pattern(options, "alpha_pattern", seen, alpha)
            found.append(
                Place(
                    name,
                    target,
                    layer,
                    _rank("rank_pattern", own_rank),
                    _number("lora_alpha", own_alpha),
                )
            )
    if not found:
        raise InputError(
            f"target_modules is {options.get('target_modules')!r}: names of linear "
            "layers of the decoder are needed"
        )
    return found


def _check(options: Mapping[str, Any]) -> None:
    if options.get("peft_type") != "LORA":
        raise InputError(f"peft_type is {options.get('peft_type')!r}: LORA is needed")
    if options.get("bias", "none") != "none":
        raise InputError(f"bias is {options['bias']!r}: none is needed")
    for name in _REFUSED:
        if options.get(name):
            raise InputError(
                f"{name} is {options[name]!r}: only low-rank adapters of linear layers "
                "are supported"
            )
    beginning = options.get("init_lora_weights")
    if beginning not in _BEGINNINGS:
        raise InputError(
            f"init_lora_weights is {beginning!r}: an adapter that leaves the base's "
            "weights as they are is needed"
        )
    if options.get("layers_pattern") not in (None, "", [], "layers", ["layers"]):
        raise InputError(
            f"layers_pattern is {options['layers_pattern']!r}: layers is needed"
        )
    for name in ("rank_pattern", "alpha_pattern"):
        if not isinstance(options.get(name) or {}, dict):
            raise InputError(f"{name} is {options[name]!r}: an object is needed")


def _is_target(options: Mapping[str, Any], name: str, layer: int) -> bool:
    if _matches(options, "exclude_modules", name):
        return False
    only = options.get("layers_to_transform")
    only = [only] if isinstance(only, int) else only
    if only and layer not in only:
        return False
    targets = options.get("target_modules")
    if isinstance(targets, str) and targets.lower() == "all-linear":
        return True
    return _matches(options, "target_modules", name)


def _matches(options: Mapping[str, Any], option: str, name: str) -> bool:
    """Whether a name is in a list, whole or its end, or all that an expression says."""
    value = options.get(option) or []
    if isinstance(value, str):
        return _match(option, value, name)
    if not isinstance(value, list) or not all(isinstance(x, str) for x in value):
        raise InputError(f"{option} is {value!r}: names or one expression are needed")
    return any(f".{name}".endswith(f".{end}") for end in value)


def _of_pattern(options: Mapping[str, Any], option: str, name: str, default: Any):
    """What the first expression found at the end of a name stands for."""
    for pattern, value in (options.get(option) or {}).items():
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


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} is {value!r}: a number is needed")
    return value


def _rank(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{name} is {value!r}: ranks of at least 1 are needed")
    return value
