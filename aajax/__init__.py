"""Advantage Alignment in JAX, for small networks and for LLMs."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aajax import (
        dialogue,
        envs,
        learners,
        lm,
        nets,
        ops,
        policies,
        report,
        rollout,
        tournament,
        training,
    )
    from aajax.api.export import export
    from aajax.api.games import play
    from aajax.api.leagues import league, text_league
    from aajax.api.presets import presets
    from aajax.api.runs import LmRun, Run, SmallRun, evaluate, load, train
    from aajax.envs import EnvSpec, Players, TextSpec, make, register
    from aajax.errors import DivergenceError, InputError
    from aajax.types import Episodes, TimeStep, Trajectory

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

# Read when they are first asked for: the command line answers without JAX, which takes
# seconds.
_LATER = {
    **{
        name: f"aajax.{name}"
        for name in (
            *("dialogue", "envs", "learners", "lm", "nets", "ops", "policies"),
            *("report", "rollout", "tournament", "training"),
        )
    },
    **dict.fromkeys(("LmRun", "Run", "SmallRun"), "aajax.api.runs"),
    **dict.fromkeys(("evaluate", "load", "train"), "aajax.api.runs"),
    "export": "aajax.api.export",
    **dict.fromkeys(("league", "text_league"), "aajax.api.leagues"),
    "play": "aajax.api.games",
    "presets": "aajax.api.presets",
    **dict.fromkeys(("EnvSpec", "Players", "TextSpec"), "aajax.envs"),
    **dict.fromkeys(("make", "register"), "aajax.envs"),
    **dict.fromkeys(("DivergenceError", "InputError"), "aajax.errors"),
    **dict.fromkeys(("Episodes", "TimeStep", "Trajectory"), "aajax.types"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(_LATER[name])
    return module if module.__name__ == f"{__name__}.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
