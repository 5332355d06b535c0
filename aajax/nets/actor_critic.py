"""An actor and a critic, with torsos of their own or one for both, for a policy."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import orthogonal

from aajax.nets.torsos import GRU, Torso
from aajax.policies.base import Network, reset_memory
from aajax.types import Array, PRNGKey, PyTree

TORSO = ("encoder", "cell", "readout")


def actor_critic(
    torso: Torso,
    observation_size: int,
    num_scores: int,
    *,
    critic: bool = True,
    critic_torso: Torso | None = None,
    shared: bool = False,
    num_values: int | None = None,
    value_scale: float = 1.0,
) -> Network:
    """Scores [..., S] from the actor, and a value from the critic.

    Args:
      torso: the architecture of the actor, and of the critic if it has no other.
      observation_size: length of the observation.
      num_scores: S, what a distribution needs: one per discrete action.
      critic: whether there is a critic; without one the value is 0.
      critic_torso: another architecture for the critic.
      shared: whether the critic reads the actor's features; the torso then learns
        from both. A target critic still averages a torso of its own.
      num_values: numbers of the critic, [..., num_values]; None for one, [...].
      value_scale: what the critic's output is multiplied by; see `nets.tabular`.
    """
    if shared and critic_torso is not None:
        raise ValueError("critic_torso is given: None is needed with a shared torso")
    torsos = {"actor": torso, "critic": critic_torso or torso}
    heads = {"actor": nn.Dense(num_scores, kernel_init=orthogonal(0.01))}
    if critic:
        heads["critic"] = nn.Dense(num_values or 1, kernel_init=orthogonal(0.01))
    value_shape = () if num_values is None else (num_values,)

    def init(key: PRNGKey) -> PyTree:
        keys = jax.random.split(key, len(heads))
        params = {
            name: _init_branch(k, torsos[name], head, observation_size)
            for (name, head), k in zip(heads.items(), keys, strict=True)
        }
        if shared and critic:
            params["critic"] = {"head": params["critic"]["head"]}
        return {"critic": {}, **params}

    def initial_memory(batch_shape: tuple[int, ...]) -> PyTree:
        return {
            name: jnp.zeros((*batch_shape, torsos[name].cell.features))
            for name in heads
            if torsos[name].cell is not None
        }

    def read(params, memory, run):
        """Runs every branch: outputs by name, and the new memory."""
        memory, outputs, new_memory, features = dict(memory), {}, {}, {}
        for name, head in heads.items():
            if "encoder" in params[name]:
                new_memory[name], features[name] = run(
                    torsos[name], params[name], memory.get(name)
                )
            else:
                new_memory[name], features[name] = (
                    new_memory["actor"],
                    features["actor"],
                )
            outputs[name] = head.apply(params[name]["head"], features[name])
        scores = outputs["actor"]
        value = jnp.zeros((*scores.shape[:-1], *value_shape))
        if critic:
            value = value_scale * outputs["critic"].reshape(value.shape)
        new_memory = {
            name: carry for name, carry in new_memory.items() if name in memory
        }
        return scores, value, new_memory

    def step(params, observation, memory):
        def run(torso, branch, carry):
            features = torso.encoder.apply(branch["encoder"], observation)
            if torso.cell is not None:
                features = carry = torso.cell.apply(branch["cell"], carry, features)
            return carry, torso.readout.apply(branch["readout"], features)

        return read(params, memory, run)

    def unroll(params, observation, last: Array, memory):
        def run(torso, branch, carry):
            features = torso.encoder.apply(branch["encoder"], observation)
            if torso.cell is not None:
                carry, features = _scan_cell(
                    torso.cell, branch["cell"], carry, features, last
                )
            return carry, torso.readout.apply(branch["readout"], features)

        return read(params, memory, run)[:2]

    def critic_branch(params):
        if shared and critic:
            actor = params["actor"]
            return {**{name: actor[name] for name in TORSO}, **params["critic"]}
        return params["critic"]

    return Network(init, initial_memory, step, unroll, critic_branch)


def _scan_cell(
    cell: GRU, params: PyTree, carry: Array, features: Array, last: Array
) -> tuple[Array, Array]:
    projected = cell.apply(params, features, method=cell.project)
    start = jnp.zeros_like(carry)

    def body(carry, x):
        projected, last = x
        output = cell.apply(params, carry, projected, method=cell.recur)
        return reset_memory(output, start, last), output

    return jax.lax.scan(body, carry, (projected, last))


def _init_branch(
    key: PRNGKey, torso: Torso, head: nn.Module, observation_size: int
) -> PyTree:
    encoder_key, cell_key, readout_key, head_key = jax.random.split(key, 4)
    observation = jnp.zeros(observation_size)
    features, encoder = torso.encoder.init_with_output(encoder_key, observation)
    cell = {}
    if torso.cell is not None:
        carry = jnp.zeros(torso.cell.features)
        features, cell = torso.cell.init_with_output(cell_key, carry, features)
    features, readout = torso.readout.init_with_output(readout_key, features)
    head = head.init(head_key, features)
    return {"encoder": encoder, "cell": cell, "readout": readout, "head": head}
