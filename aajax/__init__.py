"""Advantage Alignment in JAX, for small networks and for LLMs."""

import importlib
from typing import TYPE_CHECKING, Any

from aajax import envs, learners, nets, ops, policies, rollout
from aajax.envs import EnvSpec, Players, TextSpec, make, register
from aajax.errors import DivergenceError, InputError
from aajax.types import Episodes, TimeStep, Trajectory

if TYPE_CHECKING:
    from aajax import dialogue, lm, report, tournament, training
    from aajax.api.export import export
    from aajax.api.games import play
    from aajax.api.leagues import league, text_league
    from aajax.api.presets import presets
    from aajax.api.runs import LmRun, Run, SmallRun, evaluate, load, train

__version__ = "0.1.0"

__all__ = [
    "DivergenceError",
    "EnvSpec",
    "Episodes",
    "InputError",
    "LmRun",
    "Players",
    "Run",
    "SmallRun",
    "TextSpec",
    "TimeStep",
    "Trajectory",
    "dialogue",
    "envs",
    "evaluate",
    "export",
    "league",
    "learners",
    "lm",
    "load",
    "make",
    "nets",
    "ops",
    "play",
    "policies",
    "presets",
    "register",
    "report",
    "rollout",
    "text_league",
    "tournament",
    "train",
    "training",
]

# Read when they are first asked for: they need more than JAX, Flax and Optax.
_LATER = {
    **{name: f"aajax.{name}" for name in ("dialogue", "lm", "report")},
    **{name: f"aajax.{name}" for name in ("tournament", "training")},
    **dict.fromkeys(("LmRun", "Run", "SmallRun"), "aajax.api.runs"),
    **dict.fromkeys(("evaluate", "load", "train"), "aajax.api.runs"),
    "export": "aajax.api.export",
    **dict.fromkeys(("league", "text_league"), "aajax.api.leagues"),
    "play": "aajax.api.games",
    "presets": "aajax.api.presets",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    return module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
