"""How a seat acts.

A policy is a tuple of pure functions over plain pytrees. Unlike worlds, policies are
batched by nature: `observation` and `memory` carry any leading axes, usually [B, N],
so that one matrix product and one key serve all games and seats.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.ops import categorical
from aajax.types import Array, PRNGKey, PyTree


class PolicyOutput(NamedTuple):
    """One action of each seat, and what goes with it.

    Attributes:
      action: i32[...].
      log_prob: f32[...], of the action.
      value: f32[...], estimated at the observation; 0 without a critic.
      memory: what to pass to the next `act`.
    """

    action: Array
    log_prob: Array
    value: Array
    memory: PyTree


class Evaluation(NamedTuple):
    """A policy read again along a trajectory, each f32[T, ...]."""

    log_prob: Array
    entropy: Array
    value: Array


class Policy(NamedTuple):
    """How a seat acts, and how it is read again for learning.

    Attributes:
      init: `key -> params`.
      initial_memory: `batch_shape -> memory`, with batch_shape leading.
      act: `(params, key, observation, memory) -> PolicyOutput`.
      value: `(params, observation, memory) -> f32[...]`, without acting.
      evaluate: `(params, observation, action, last, memory) -> Evaluation` of
        [T, B, ...] arrays; None for a policy that does not learn. `last` is
        bool[T, B] and clears a game's memory after the step that it marks.
    """

    init: Callable[[PRNGKey], PyTree]
    initial_memory: Callable[[tuple[int, ...]], PyTree]
    act: Callable[[PyTree, PRNGKey, Array, PyTree], PolicyOutput]
    value: Callable[[PyTree, Array, PyTree], Array]
    evaluate: Callable[[PyTree, Array, Array, Array, PyTree], Evaluation] | None = None


class Network(NamedTuple):
    """What a network gives a policy.

    Attributes:
      init: `key -> params`, a dict with the subtrees "actor" and "critic".
      initial_memory: `batch_shape -> memory`.
      step: `(params, observation, memory) -> (scores, value, memory)`.
      unroll: `(params, observation, last, memory) -> (scores, value)` of
        [T, B, ...], clearing a game's memory after `last`, bool[T, B].
    """

    init: Callable[[PRNGKey], PyTree]
    initial_memory: Callable[[tuple[int, ...]], PyTree]
    step: Callable[[PyTree, Array, PyTree], tuple[Array, Array, PyTree]]
    unroll: Callable[[PyTree, Array, Array, PyTree], tuple[Array, Array]]


def categorical_policy(
    network: Network, epsilon: Array | float | None = None
) -> Policy:
    """One discrete action from the network's scores, read as logits f32[..., A].

    Args:
      network: torso and heads.
      epsilon: ε of the ε-soft policy (1 − ε) π + ε · uniform, which then acts and
        learns; None for π itself. A trembling hand keeps every history in view.
    """

    def soften(scores):
        return scores if epsilon is None else categorical.epsilon_soft(scores, epsilon)

    def act(params, key, observation, memory):
        scores, value, memory = network.step(params, observation, memory)
        logits = soften(scores)
        action = categorical.sample(key, logits)
        log_prob = categorical.log_prob(logits, action)
        return PolicyOutput(action, log_prob, value, memory)

    def value(params, observation, memory):
        return network.step(params, observation, memory)[1]

    def evaluate(params, observation, action, last, memory):
        scores, value = network.unroll(params, observation, last, memory)
        logits = soften(scores)
        return Evaluation(
            categorical.log_prob(logits, action), categorical.entropy(logits), value
        )

    return Policy(network.init, network.initial_memory, act, value, evaluate)


def reset_memory(memory: PyTree, initial: PyTree, last: Array) -> PyTree:
    """`initial` for the games where `last`, bool[B], else the memory [B, ...]."""

    def select(now, start):
        mask = last.reshape(last.shape + (1,) * (now.ndim - last.ndim))
        return jnp.where(mask, start, now)

    return jax.tree.map(select, memory, initial)
