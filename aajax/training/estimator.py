"""From a config to what objectives are made of: advantages, credit, optimiser."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from aajax import references
from aajax.errors import InputError
from aajax.learners import advantages
from aajax.ops import alignment, surrogate
from aajax.schema import Refers
from aajax.types import Array

if TYPE_CHECKING:
    from aajax.training.config import RunConfig

Past = Literal[
    "discounted",
    "strict",
    "inclusive",
    "fading",
    "summed",
    "mean",
    "clipped",
    "positive",
    "sign",
]
PAST = "a function (a_t[T, ...], gamma, last_t[T]) -> [T, ...]"
PastName = Past | Annotated[str, Refers(PAST)]
Baseline = Literal["group", "critic"]
_NAMES = {"past": get_args(Past), "baseline": get_args(Baseline)}
PASTS = {
    "discounted": alignment.discounted_past,
    "strict": alignment.strict_past,
    "inclusive": alignment.inclusive_past,
    "fading": alignment.fading_past,
    "summed": alignment.summed_past,
    "mean": alignment.mean_past,
    "clipped": alignment.chain(alignment.discounted_past, alignment.clip(1.0)),
    "positive": alignment.chain(
        alignment.discounted_past, alignment.clip(1.0), alignment.positive
    ),
    "sign": alignment.chain(alignment.discounted_past, alignment.sign),
}


def choices(config: "RunConfig") -> dict[str, tuple[str, ...]]:
    """What is swept by name: all names there are, in the order of their numbers."""
    swept = config.sweep.past
    own = tuple(name for name in swept if references.is_reference(name))
    return {**_NAMES, "past": _NAMES["past"] + own}


def find_past(name: str) -> alignment.Past:
    """How the alignment term sums up the past: of the kind of `ops.alignment.Past`.

    Args:
      name: of `PASTS`, `package.module:NAME` or `file.py:NAME`.

    Raises:
      InputError: if there is no such function.
    """
    if name in PASTS:
        return PASTS[name]
    past = references.load(name, "past", PAST)
    a_t, last_t = (
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (((4, 2), jnp.float32), ((4,), bool))
    )
    try:
        shape = jax.eval_shape(past, a_t, jnp.float32(0.9), last_t).shape
    except Exception as error:  # of somebody else's code
        raise InputError(
            f"past is {name!r}: {PAST} is needed ({references.reason(error)})"
        ) from error
    if shape != a_t.shape:
        raise InputError(
            f"past is {name!r}: {PAST} is needed, and of [4, 2] it makes {list(shape)}"
        )
    return past


def make_optimizer(
    config: "RunConfig", hyperparameters: dict[str, Array]
) -> optax.GradientTransformation:
    """A rate for the actor and one for the critic."""
    make = {"adam": optax.adam, "sgd": optax.sgd}[config.optimizer]
    optimizer = optax.partition(
        {
            "actor": make(hyperparameters["learning_rate"]),
            "critic": make(hyperparameters["critic_learning_rate"]),
        },
        {"actor": "actor", "critic": "critic"},
    )
    if not config.max_gradient_norm:
        return optimizer
    return optax.chain(optax.clip_by_global_norm(config.max_gradient_norm), optimizer)


def make_estimation(
    config: "RunConfig", hyperparameters: dict[str, Array]
) -> dict[str, Any]:
    """What `learners.Objective` needs of every algorithm: arguments by name."""
    group = None
    if config.group_size > 1:
        group = jnp.arange(config.num_games) // config.group_size
    critic = advantages.critic(hyperparameters["gamma"], hyperparameters["gae_lambda"])
    estimators = {
        "group": advantages.group_relative(hyperparameters["gamma"], group),
        "critic": advantages.centred(critic, group),
    }
    parts: dict[str, Any] = {
        "advantage": estimators[config.baseline],
        "entropy_bonus": hyperparameters["entropy_bonus"],
        "whiten": _normaliser(config, config.baseline),
    }
    if "baseline" in hyperparameters:
        # One program for all lanes, each of which does what a plain run does.
        names, index = _NAMES["baseline"], hyperparameters["baseline"]
        parts |= {
            "advantage": advantages.selected([estimators[x] for x in names], index),
            "whiten": _chosen_normaliser(config, names, index),
            "value_weight": (index == names.index("critic")).astype(jnp.float32),
        }
    if config.learner == "ppo":
        parts["surrogate"] = surrogate.clipped(hyperparameters["clip"])
    return parts


def make_past(config: "RunConfig", hyperparameters: dict[str, Array]) -> alignment.Past:
    """How the alignment term sums up the past."""
    if "past" in hyperparameters:
        pasts = [find_past(name) for name in choices(config)["past"]]
        return alignment.selected(pasts, hyperparameters["past"])
    return find_past(config.past)


def _normaliser(config: "RunConfig", baseline: str) -> advantages.Normaliser:
    if not (config.whiten or baseline == "critic" or config.learner == "ppo"):
        return advantages.unchanged
    if config.whiten_over == "table":
        return advantages.jointly_whitened
    return advantages.whitened


def _chosen_normaliser(
    config: "RunConfig", names: tuple[str, ...], index: Array
) -> advantages.Normaliser:
    """That of the baseline numbered `index`, known only at run time."""

    def normalise(advantage: Array, seats: Sequence[int] | None) -> Array:
        each = [_normaliser(config, name)(advantage, seats) for name in names]
        return jnp.stack(each)[index]

    return normalise
