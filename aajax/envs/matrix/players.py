"""Scripted players of iterated matrix games, all of them memory-one.

A player is a table of the next action's probabilities, for the start and for every last
joint action, own action first. By convention action 0 cooperates and the last action
defects. The tables are the parameters of one policy, `memory_one`, so that players can
be stacked and vmapped over.
"""

import itertools
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from aajax.envs.matrix.env import IteratedMatrixGame
from aajax.envs.spec import Players
from aajax.errors import InputError
from aajax.ops import categorical
from aajax.policies.base import Policy, PolicyOutput, scripted_policy
from aajax.types import Array


def memory_one() -> Policy:
    """The policy of a table of probabilities, `params`, f32[1 + A^N, A]."""

    def act(params, key, observation, memory):
        logits = jnp.log(observation @ params)
        action = categorical.sample(key, logits)
        log_prob = categorical.log_prob(logits, action)
        return PolicyOutput(action, log_prob, jnp.zeros_like(log_prob), memory)

    return scripted_policy(act)


def memory_one_table(p_cooperate: Array) -> Array:
    """The table f32[S, 2] of P(cooperate) after START, CC, CD, DC, DD (own first)."""
    p_cooperate = jnp.asarray(p_cooperate, jnp.float32)
    return jnp.stack([p_cooperate, 1 - p_cooperate], axis=-1)


def always_cooperate(own: int, others: tuple[int, ...], num_actions: int) -> int:
    """Always action 0."""
    return 0


def always_defect(own: int, others: tuple[int, ...], num_actions: int) -> int:
    """Always the last action."""
    return num_actions - 1


def tit_for_tat(own: int, others: tuple[int, ...], num_actions: int) -> int:
    """Repeats the co-player's last action, or the least cooperative one of several."""
    return max(others)


def grim(own: int, others: tuple[int, ...], num_actions: int) -> int:
    """Cooperates until any player, itself included, has defected once."""
    return 0 if own == 0 and max(others) == 0 else num_actions - 1


def win_stay_lose_shift(own: int, others: tuple[int, ...], num_actions: int) -> int:
    """Cooperates if all did the same last time (Nowak & Sigmund 1993)."""
    return 0 if set(others) == {own} else num_actions - 1


RESPONSES: dict[str, Callable[[int, tuple[int, ...], int], int]] = {
    "always_cooperate": always_cooperate,
    "always_defect": always_defect,
    "tit_for_tat": tit_for_tat,
    "grim": grim,
    "win_stay_lose_shift": win_stay_lose_shift,
}
SCRIPTED = (*RESPONSES, "random")


def scripted_table(name: str, num_agents: int, num_actions: int) -> Array:
    """The table of a named player for a game with equal action counts.

    All but always-defect and random open by cooperating.

    Raises:
      InputError: if there is no such player.
    """
    num_states = 1 + num_actions**num_agents
    if name == "random":
        return jnp.full((num_states, num_actions), 1 / num_actions)
    if name not in RESPONSES:
        raise InputError(f"player is {name!r}: one of {', '.join(SCRIPTED)} is needed")
    table = np.zeros((num_states, num_actions), np.float32)
    table[0, num_actions - 1 if name == "always_defect" else 0] = 1
    joints = itertools.product(range(num_actions), repeat=num_agents)
    for state, (own, *others) in enumerate(joints, start=1):
        table[state, RESPONSES[name](own, tuple(others), num_actions)] = 1
    return jnp.asarray(table)


def players(env: IteratedMatrixGame) -> Players:
    """The scripted players; none where seats have different numbers of actions."""
    counts = env.action_counts
    return Players(
        memory_one(),
        SCRIPTED if len(set(counts)) == 1 else (),
        lambda name: scripted_table(name, len(counts), counts[0]),
    )
