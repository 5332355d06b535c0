"""Policies: tuples of pure functions over plain pytrees.

Unlike environments, policies are batched: `observation` and `memory` carry any leading
axes, usually [B, N], so that one matrix product and one key serve all games and seats.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.policies.distributions import Distribution, categorical
from aajax.types import Array, PRNGKey, PyTree


class PolicyOutput(NamedTuple):
    """What `Policy.act` returns: one action per seat, its log-probability and value.

    Attributes:
      action: i32[...] or f32[...], with the action space's own axes last.
      log_prob: f32[...], of the action.
      value: f32[...], V(observation); 0 without a critic.
      memory: recurrent state, to pass to the next `act`.
      action_value: f32[..., A], Q(observation, ·); None if the critic estimates V
        alone.
    """

    action: Array
    log_prob: Array
    value: Array
    memory: PyTree
    action_value: Array | None = None


class Evaluation(NamedTuple):
    """What `Policy.evaluate` returns for a recorded trajectory, each f32[T, ...].

    Attributes:
      log_prob: of the recorded actions.
      entropy: of the action distribution, in nats.
      value: V at each step.
      action_value: f32[T, ..., A], Q at each step; None if the critic estimates V
        alone.
      log_probs: f32[T, ..., A], of all actions; None if they cannot be enumerated.
    """

    log_prob: Array
    entropy: Array
    value: Array
    action_value: Array | None = None
    log_probs: Array | None = None


class Policy(NamedTuple):
    """A policy: acts step by step in play, and evaluates recorded steps in training.

    Attributes:
      init: `key -> params`.
      initial_memory: `batch_shape -> memory`, the recurrent state at the start of an
        episode, with batch_shape as its leading axes; () for a policy without one.
      act: `(params, key, observation, memory) -> PolicyOutput`.
      value: `(params, observation, memory) -> f32[...]`, V without sampling an action.
      evaluate: `(params, observation, action, last, memory) -> Evaluation` of [T, B,
        ...] arrays; None for a policy that does not learn. `last`, bool[T, B], is true
        at the last step of an episode, after which memory is reset.
      critic_branch: `params -> subtree`, the critic's parameters, shared layers
        included, which a target network averages; None for a policy that does not
        learn.
    """

    init: Callable[[PRNGKey], PyTree]
    initial_memory: Callable[[tuple[int, ...]], PyTree]
    act: Callable[[PyTree, PRNGKey, Array, PyTree], PolicyOutput]
    value: Callable[[PyTree, Array, PyTree], Array]
    evaluate: Callable[[PyTree, Array, Array, Array, PyTree], Evaluation] | None = None
    critic_branch: Callable[[PyTree], PyTree] | None = None

    def read_again(
        self, params: PyTree, observation: Array, action: Array, last: Array, memory
    ) -> Evaluation:
        """`evaluate`; raises InputError for a policy that does not learn."""
        if self.evaluate is None:
            raise InputError("policy is scripted: one that learns is needed")
        return self.evaluate(params, observation, action, last, memory)


def scripted_policy(
    act: Callable[[PyTree, PRNGKey, Array, PyTree], PolicyOutput],
    initial_memory: Callable[[tuple[int, ...]], PyTree] = lambda batch_shape: (),
) -> Policy:
    """A hand-written policy that does not learn: `value` is 0, `evaluate` is None.

    Its `params` may choose between players, as an index from `player_number`.
    """

    def init(key: PRNGKey) -> PyTree:
        raise InputError(
            "params of scripted players are not drawn: scripted_params are needed"
        )

    def value(params: PyTree, observation: Array, memory: PyTree) -> Array:
        return jnp.zeros(observation.shape[:-1])

    return Policy(init, initial_memory, act, value)


def player_number(name: str, names: Sequence[str]) -> Array:
    """Index of a scripted player in its environment's list of names, i32[].

    Raises:
      InputError: if `name` is not in `names`.
    """
    if name not in names:
        raise InputError(f"player is {name!r}: one of {', '.join(names)} is needed")
    return jnp.int32(names.index(name))


class Network(NamedTuple):
    """An actor-critic network as pure functions, from which a `Policy` is made.

    Its scores are the parameters of an action distribution, such as logits.

    Attributes:
      init: `key -> params`, a dict with the subtrees "actor" and "critic".
      initial_memory: `batch_shape -> memory`.
      step: `(params, observation, memory) -> (scores, value, memory)`.
      unroll: `(params, observation, last, memory) -> (scores, value)` of
        [T, B, ...], all steps at once; memory is reset after `last`, bool[T, B].
      critic_branch: as in `Policy`.
    """

    init: Callable[[PRNGKey], PyTree]
    initial_memory: Callable[[tuple[int, ...]], PyTree]
    step: Callable[[PyTree, Array, PyTree], tuple[Array, Array, PyTree]]
    unroll: Callable[[PyTree, Array, Array, PyTree], tuple[Array, Array]]
    critic_branch: Callable[[PyTree], PyTree] = lambda params: params["critic"]


def network_policy(network: Network, distribution: Distribution) -> Policy:
    """The policy that samples from `distribution`, given the network's scores."""
    all_log_probs = distribution.log_probs

    def act(params, key, observation, memory):
        scores, value, memory = network.step(params, observation, memory)
        action, log_prob = distribution.sample(key, scores)
        return PolicyOutput(action, log_prob, value, memory)

    def value(params, observation, memory):
        return network.step(params, observation, memory)[1]

    def evaluate(params, observation, action, last, memory):
        scores, value = network.unroll(params, observation, last, memory)
        return Evaluation(
            distribution.log_prob(scores, action),
            distribution.entropy(scores),
            value,
            log_probs=None if all_log_probs is None else all_log_probs(scores),
        )

    return Policy(
        network.init,
        network.initial_memory,
        act,
        value,
        evaluate,
        network.critic_branch,
    )


def categorical_policy(
    network: Network, epsilon: Array | float | None = None
) -> Policy:
    """A policy over A discrete actions; the network's scores are logits f32[..., A].

    Args:
      network: actor and critic.
      epsilon: ε of the ε-soft policy (1 − ε) π + ε · uniform, which both acts and is
        trained; None for π itself.
    """
    return network_policy(network, categorical(epsilon))


def action_value_policy(network: Network, distribution: Distribution) -> Policy:
    """A policy over discrete actions whose critic estimates Q(s, ·), f32[..., A].

    Its value is V(s) = Σ_a π(a | s) Q(s, a).

    Args:
      network: with A values, one per action.
      distribution: `distributions.categorical`.
    """

    probs, all_log_probs = distribution.probs, distribution.log_probs
    if probs is None:
        raise InputError("distribution has no probabilities: a categorical is needed")

    def expected(scores, action_value):
        return jnp.sum(probs(scores) * action_value, axis=-1)

    def act(params, key, observation, memory):
        scores, action_value, memory = network.step(params, observation, memory)
        action, log_prob = distribution.sample(key, scores)
        value = expected(scores, action_value)
        return PolicyOutput(action, log_prob, value, memory, action_value)

    def value(params, observation, memory):
        return expected(*network.step(params, observation, memory)[:2])

    def evaluate(params, observation, action, last, memory):
        scores, action_value = network.unroll(params, observation, last, memory)
        return Evaluation(
            distribution.log_prob(scores, action),
            distribution.entropy(scores),
            expected(scores, action_value),
            action_value,
            None if all_log_probs is None else all_log_probs(scores),
        )

    return Policy(
        network.init,
        network.initial_memory,
        act,
        value,
        evaluate,
        network.critic_branch,
    )


def with_memory_resets(policy: Policy, num_steps: int) -> Policy:
    """`policy` with its recurrent memory reset after every `num_steps` steps.

    For a policy that was trained on segments of `num_steps` steps and plays longer
    episodes. Its memory is `(policy's memory, steps since the reset i32[...])`.
    """

    def initial_memory(batch_shape):
        return policy.initial_memory(batch_shape), jnp.zeros(batch_shape, jnp.int32)

    def current(memory):
        inner, count = memory
        full = count == num_steps
        inner = reset_memory(inner, policy.initial_memory(count.shape), full)
        return inner, jnp.where(full, 0, count)

    def act(params, key, observation, memory):
        inner, count = current(memory)
        output = policy.act(params, key, observation, inner)
        return output._replace(memory=(output.memory, count + 1))

    def value(params, observation, memory):
        return policy.value(params, observation, current(memory)[0])

    def evaluate(params, observation, action, last, memory):
        inner, count = current(memory)

        def advance(count, last):
            last |= count + 1 == num_steps
            return jnp.where(last, 0, count + 1), last

        # All seats of a game have remembered equally many steps.
        _, last = jax.lax.scan(advance, count[..., 0], last)
        return policy.read_again(params, observation, action, last, inner)

    return policy._replace(
        initial_memory=initial_memory, act=act, value=value, evaluate=evaluate
    )


def reset_memory(memory: PyTree, initial: PyTree, last: Array) -> PyTree:
    """`initial` for games where `last`, bool[B], is true, else `memory` [B, ...]."""

    def select(now, start):
        mask = last.reshape(last.shape + (1,) * (now.ndim - last.ndim))
        return jnp.where(mask, start, now)

    return jax.tree.map(select, memory, initial)
