"""One policy for all seats, made of different policies in different seats."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from aajax.errors import InputError
from aajax.policies.base import Policy, PolicyOutput


def seated(policies: Sequence[Policy], seats: Sequence[Sequence[int]]) -> Policy:
    """A policy of all N seats, over observations [B, N, ...], made of several policies.

    Its parameters and memory are tuples with one entry per policy.

    Args:
      policies: the policies; one may play several seats.
      seats: for each policy, the seats that it plays.

    Raises:
      InputError: if the seats are not 0, ..., N − 1, each once.
    """
    taken = [seat for group in seats for seat in group]
    covered = sorted(taken) == list(range(len(taken)))
    if len(policies) != len(seats) or not covered:
        raise InputError(
            f"seats is {[list(group) for group in seats]} for {len(policies)} "
            "policies: one group each, covering 0, ..., N - 1 once, is needed"
        )
    places = [np.asarray(group) for group in seats]
    order = np.argsort(taken)

    def initial_memory(batch_shape):
        *games, _ = batch_shape
        return tuple(
            policy.initial_memory((*games, len(place)))
            for policy, place in zip(policies, places, strict=True)
        )

    def pick(observation, place):
        return observation if len(policies) == 1 else observation[:, place]

    def merge(parts):
        if len(parts) == 1:
            return parts[0]
        return jnp.concatenate(parts, axis=1)[:, order]

    def act(params, key, observation, memory):
        keys = jax.random.split(key, len(policies))
        outputs = [
            policy.act(params[i], keys[i], pick(observation, place), memory[i])
            for i, (policy, place) in enumerate(zip(policies, places, strict=True))
        ]
        return PolicyOutput(
            merge([o.action for o in outputs]),
            merge([o.log_prob for o in outputs]),
            merge([o.value for o in outputs]),
            tuple(o.memory for o in outputs),
            _merge_action_values(outputs, merge),
        )

    def value(params, observation, memory):
        parts = [
            policy.value(params[i], pick(observation, place), memory[i])
            for i, (policy, place) in enumerate(zip(policies, places, strict=True))
        ]
        return merge(parts)

    def init(key):
        keys = jax.random.split(key, len(policies))
        return tuple(policy.init(k) for policy, k in zip(policies, keys, strict=True))

    return Policy(init, initial_memory, act, value)


def by_group(policy: Policy, num_groups: int) -> Policy:
    """`policy` with parameters [G, ...], a set for each of G groups of games.

    Observations are [B, n, ...]; games 0, ..., B/G − 1 use the first set, and so on.
    """

    def split(x):
        return jax.tree.map(lambda y: y.reshape(num_groups, -1, *y.shape[1:]), x)

    def join(x):
        return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:]), x)

    def act(params, key, observation, memory):
        keys = jax.random.split(key, num_groups)
        return join(
            jax.vmap(policy.act)(params, keys, split(observation), split(memory))
        )

    def value(params, observation, memory):
        return join(jax.vmap(policy.value)(params, split(observation), split(memory)))

    return policy._replace(act=act, value=value, evaluate=None, critic_branch=None)


def _merge_action_values(outputs, merge):
    values = [output.action_value for output in outputs]
    return None if any(value is None for value in values) else merge(values)
