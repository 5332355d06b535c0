"""An actor and a critic with separate torsos, as a network for a policy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import orthogonal

from aajax.nets.torsos import Torso
from aajax.policies.base import Network, reset_memory
from aajax.types import Array, PRNGKey, PyTree


def actor_critic(
    torso: Torso,
    observation_size: int,
    num_actions: int,
    *,
    critic: bool = True,
    value_scale: float = 1.0,
) -> Network:
    """Scores [..., A] from one copy of the torso and a value from another.

    Args:
      torso: the architecture of both.
      observation_size: length of the observation.
      num_actions: A.
      critic: whether there is a critic; without one the value is 0.
      value_scale: what the critic's output is multiplied by; see `nets.tabular`.
    """
    heads = {"actor": nn.Dense(num_actions, kernel_init=orthogonal(0.01))}
    if critic:
        heads["critic"] = nn.Dense(1, kernel_init=orthogonal(0.01))

    def init(key: PRNGKey) -> PyTree:
        keys = jax.random.split(key, len(heads))
        params = {
            name: _init_branch(k, torso, head, observation_size)
            for (name, head), k in zip(heads.items(), keys, strict=True)
        }
        return {"critic": {}, **params}

    def initial_memory(batch_shape: tuple[int, ...]) -> PyTree:
        if torso.cell is None:
            return ()
        shape = (*batch_shape, torso.cell.features)
        return {name: jnp.zeros(shape) for name in heads}

    def read(params, memory, run):
        """Runs every branch: outputs by name, and the new memory."""
        outputs, new_memory = {}, {}
        for name, head in heads.items():
            carry = memory[name] if torso.cell else None
            new_memory[name], features = run(params[name], carry)
            outputs[name] = head.apply(params[name]["head"], features)
        scores = outputs["actor"]
        value = jnp.zeros(scores.shape[:-1])
        if critic:
            value = value_scale * outputs["critic"][..., 0]
        return scores, value, new_memory if torso.cell else ()

    def step(params, observation, memory):
        def run(branch, carry):
            features = torso.encoder.apply(branch["encoder"], observation)
            if torso.cell is None:
                return None, features
            return torso.cell.apply(branch["cell"], carry, features)

        return read(params, memory, run)

    def unroll(params, observation, last: Array, memory):
        def run(branch, carry):
            features = torso.encoder.apply(branch["encoder"], observation)
            if torso.cell is None:
                return None, features
            start = jnp.zeros_like(carry)

            def body(carry, x):
                features, last = x
                carry, output = torso.cell.apply(branch["cell"], carry, features)
                return reset_memory(carry, start, last), output

            return jax.lax.scan(body, carry, (features, last))

        return read(params, memory, run)[:2]

    return Network(init, initial_memory, step, unroll)


def _init_branch(
    key: PRNGKey, torso: Torso, head: nn.Module, observation_size: int
) -> PyTree:
    encoder_key, cell_key, head_key = jax.random.split(key, 3)
    observation = jnp.zeros(observation_size)
    features, encoder = torso.encoder.init_with_output(encoder_key, observation)
    branch = {"encoder": encoder}
    if torso.cell is not None:
        carry = jnp.zeros(torso.cell.features)
        (_, features), cell = torso.cell.init_with_output(cell_key, carry, features)
        branch["cell"] = cell
    return {**branch, "head": head.init(head_key, features)}
