"""Configs of runs by the names of presets."""

import difflib
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from aajax import schema
from aajax.errors import InputError
from aajax.training.config import RunConfig
from aajax.training.lm_config import LmConfig
from aajax.training.lm_presets import LM_PRESETS, SIZED, size_named
from aajax.training.presets import PRESETS

_log = logging.getLogger(__name__)

Config = RunConfig | LmConfig


def find_preset(name: str) -> tuple[str, Config]:
    """What a preset is about, and its config.

    Raises:
      InputError: if there is no preset of that name.
    """
    every: dict[str, tuple[str, Config]] = {**PRESETS, **LM_PRESETS}
    if name not in every:
        likely = difflib.get_close_matches(str(name), every, n=3)
        advice = f"; is {' or '.join(likely)} meant?" if likely else ""
        raise InputError(
            f"preset is {name!r}: one of those that aajax train --help lists is "
            f"needed{advice}"
        )
    return every[name]


def presets() -> dict[str, str]:
    """What can be trained by name, and what each is about."""
    every: dict[str, tuple[str, Config]] = {**PRESETS, **LM_PRESETS}
    return {name: about for name, (about, _) in every.items()}


def make_config(preset: str | Config, changes: Mapping[str, Any]) -> tuple[str, Config]:
    """A preset's name and its config, with some options changed.

    Where a pocket model's preset is given a model that there are settings for, such as
    lm-ipd with model="smollm2", these are taken, which is told.

    Args:
      preset: a name, or a config, whose name is that of its game.
      changes: as of `schema.replaced`; a payoff may be an array.

    Raises:
      InputError: for an unknown preset or option, or a value that is not accepted.
    """
    if isinstance(preset, RunConfig | LmConfig):
        name, config = preset.game, preset
    else:
        size = size_named(preset, changes.get("model"))
        name = preset if size is None else SIZED[preset, size]
        if size is not None:
            _log.warning("%s with model=%r is %s", preset, size, name)
        config = find_preset(name)[1]
    payoff = changes.get("payoff")
    if payoff is not None and not isinstance(payoff, str):
        changes = {**changes, "payoff": json.dumps(np.asarray(payoff).tolist())}
    return name, schema.replaced(config, changes)
