"""From a config to the parts of a run: world, policy, learners, trainer."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optax

from aajax import envs, nets
from aajax.envs.matrix import IteratedMatrixGame, matrix_game
from aajax.learners import advantages, policy_gradient, ppo, presets
from aajax.learners.base import Learner
from aajax.ops import alignment, surrogate
from aajax.policies.base import Policy, categorical_policy
from aajax.training.config import PPO_EPOCHS, PPO_MINIBATCHES, RunConfig
from aajax.training.self_play import Trainer, self_play
from aajax.types import Array

PASTS = {
    "discounted": alignment.discounted_past,
    "strict": alignment.strict_past,
    "inclusive": alignment.inclusive_past,
    "fading": alignment.fading_past,
    "summed": alignment.summed_past,
    "mean": alignment.mean_past,
}


def make_env(config: RunConfig) -> IteratedMatrixGame:
    """The world of a run.

    Raises:
      ValueError: for an unknown game, or a payoff tensor that is none.
    """
    if config.payoff is None:
        return envs.make(config.game, num_steps=config.num_steps)
    return matrix_game(_read_payoff(config.payoff), num_steps=config.num_steps)


def make_policy(
    config: RunConfig, env: IteratedMatrixGame, epsilon: Array | float | None = None
) -> Policy:
    """The policy of a run, ε-soft as while training, or (None) as it is."""
    (num_states,) = env.observation_shape
    num_actions = _equal_actions(config, env)
    scale = float(config.num_steps)
    if config.policy == "tabular":
        network = nets.tabular(num_states, num_actions, value_scale=scale)
    else:
        torsos = {
            "mlp": lambda: nets.mlp(config.hidden_size, config.hidden_size),
            "gru": lambda: nets.gru(config.hidden_size),
        }
        torso = torsos[config.policy]()
        network = nets.actor_critic(
            torso,
            num_states,
            num_actions,
            critic=config.baseline == "critic",
            value_scale=scale,
        )
    return categorical_policy(network, epsilon)


def seat_groups(config: RunConfig, env: IteratedMatrixGame) -> list[list[int]]:
    """For each learner, the seats that it plays.

    Raises:
      ValueError: if one policy is to play seats that earn differently: it could not
        tell which it is in.
    """
    seats = list(range(env.num_agents))
    if config.parameters == "separate":
        return [[seat] for seat in seats]
    if not env.is_symmetric:
        raise ValueError(
            "parameters is 'shared': 'separate' is needed in a game whose seats earn "
            "differently"
        )
    return [seats]


def make_trainer(config: RunConfig) -> Callable[[dict[str, Array]], Trainer]:
    """A trainer for given knobs, numbers or traced: name -> f32[]."""
    env = make_env(config)
    _equal_actions(config, env)
    groups = seat_groups(config, env)

    def make(swept: dict[str, Array]) -> Trainer:
        knobs = {**vars(config.knobs), **swept}
        policy = make_policy(config, env, knobs["exploration"])
        learners = [_make_learner(config, policy, knobs, group) for group in groups]
        return self_play(
            env,
            [policy] * len(groups),
            learners,
            groups,
            num_games=config.num_games,
            num_steps=config.num_steps,
        )

    return make


def _make_learner(
    config: RunConfig, policy: Policy, knobs: dict[str, Array], seats: list[int]
) -> Learner:
    if config.baseline == "critic":
        critic = advantages.critic(knobs["gamma"], knobs["lambda_"])
        advantage = advantages.centred(critic)
    else:
        advantage = advantages.group_relative(knobs["gamma"])
    options = {
        "entropy_bonus": knobs["entropy_bonus"],
        "whiten": config.baseline == "critic" or config.learner == "ppo",
    }
    if config.learner == "ppo":
        options["surrogate"] = surrogate.clipped(knobs["clip"])
    if config.algorithm == "advantage_alignment":
        options |= {
            "gamma": knobs["past_gamma"],
            "beta": knobs["beta"],
            "past": PASTS[config.past],
        }
    objective = getattr(presets, config.algorithm)(advantage, **options)
    optimizer = optax.partition(
        {
            "actor": optax.adam(knobs["learning_rate"]),
            "critic": optax.adam(knobs["critic_learning_rate"]),
        },
        {"actor": "actor", "critic": "critic"},
    )
    if config.learner == "policy_gradient":
        return policy_gradient(policy, objective, optimizer, seats)
    return ppo(
        policy,
        objective,
        optimizer,
        seats,
        num_epochs=PPO_EPOCHS,
        num_minibatches=PPO_MINIBATCHES,
    )


def _equal_actions(config: RunConfig, env: IteratedMatrixGame) -> int:
    counts = {space.num_actions for space in env.action_spaces}
    if len(counts) > 1:
        raise ValueError(
            f"payoff gives the agents of {config.game!r} {sorted(counts)} actions: "
            "equal counts are needed, for one kind of policy in every seat"
        )
    return counts.pop()


def _read_payoff(text: str) -> np.ndarray:
    """A payoff tensor from JSON, or from a .json or .npy file."""
    try:
        if text.endswith(".npy"):
            return np.load(text, allow_pickle=False)
        source = Path(text).read_text() if text.endswith(".json") else text
        return np.asarray(json.loads(source), np.float32)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"payoff is {text!r}: nested JSON lists of numbers, or a .json or .npy "
            f"file of them, are needed ({reason})"
        ) from None
