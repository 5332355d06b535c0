"""From a config to its learner: estimator, credit, surrogate, optimiser, replay."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import optax

from aajax.learners import advantages, policy_gradient, ppo, presets
from aajax.learners.base import Learner
from aajax.learners.loqa import loqa
from aajax.ops import alignment, surrogate
from aajax.policies.base import Policy
from aajax.training.config import CHOICES, RunConfig
from aajax.types import Array

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


def make_learner(
    config: RunConfig,
    policy: Policy,
    hyperparameters: dict[str, Array],
    seats: list[int],
) -> Learner:
    """The learner of some seats, for given hyper-parameters."""
    optimizer = make_optimizer(config, hyperparameters)
    options = {
        "target_rate": config.target_rate or None,
        "num_chunks": config.num_chunks,
    }
    if config.algorithm == "loqa":
        return loqa(
            policy,
            optimizer,
            seats,
            gamma=hyperparameters["gamma"],
            dice_lambda=hyperparameters["dice_lambda"],
            weight=hyperparameters["beta"],
            entropy_bonus=hyperparameters["entropy_bonus"],
            **options,
        )
    objective = _make_objective(config, hyperparameters)
    if config.learner == "ppo":
        return ppo(
            policy,
            objective,
            optimizer,
            seats,
            num_epochs=config.num_epochs,
            num_minibatches=config.num_minibatches,
            **options,
        )
    return policy_gradient(policy, objective, optimizer, seats, **options)


def make_optimizer(
    config: RunConfig, hyperparameters: dict[str, Array]
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


def _make_objective(config: RunConfig, hyperparameters: dict[str, Array]):
    group = None
    if config.group_size > 1:
        group = jnp.arange(config.num_games) // config.group_size
    critic = advantages.critic(hyperparameters["gamma"], hyperparameters["gae_lambda"])
    estimators = {
        "group": advantages.group_relative(hyperparameters["gamma"], group),
        "critic": advantages.centred(critic, group),
    }
    advantage = estimators[config.baseline]
    options: dict[str, Any] = {
        "entropy_bonus": hyperparameters["entropy_bonus"],
        "whiten": _normaliser(config, config.baseline),
    }
    if "baseline" in hyperparameters:
        # One program for all lanes, each of which does what a plain run does.
        names, index = CHOICES["baseline"], hyperparameters["baseline"]
        advantage = advantages.chosen([estimators[name] for name in names], index)
        options |= {
            "whiten": _chosen_normaliser(config, names, index),
            "value_weight": (index == names.index("critic")).astype(jnp.float32),
        }
    past = PASTS[config.past]
    if "past" in hyperparameters:
        past = alignment.chosen(
            [PASTS[name] for name in CHOICES["past"]], hyperparameters["past"]
        )
    if config.learner == "ppo":
        options["surrogate"] = surrogate.clipped(hyperparameters["clip"])
    if config.algorithm == "advantage_alignment":
        options |= {
            "gamma": hyperparameters["past_gamma"],
            "beta": hyperparameters["beta"],
            "past": past,
        }
    return getattr(presets, config.algorithm)(advantage, **options)


def _normaliser(config: RunConfig, baseline: str) -> advantages.Normaliser:
    if not (config.whiten or baseline == "critic" or config.learner == "ppo"):
        return advantages.unchanged
    if config.whiten_over == "table":
        return advantages.jointly_whitened
    return advantages.whitened


def _chosen_normaliser(
    config: RunConfig, names: tuple[str, ...], index: Array
) -> advantages.Normaliser:
    """That of the baseline numbered `index`, known only at run time."""

    def normalise(advantage: Array, seats: Sequence[int] | None) -> Array:
        each = [_normaliser(config, name)(advantage, seats) for name in names]
        return jnp.stack(each)[index]

    return normalise
