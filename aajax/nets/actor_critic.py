"""Actor-critic networks, with separate torsos or a shared one."""

import dataclasses
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.nets.initializers import orthogonal
from aajax.nets.torsos import Torso
from aajax.nets.transformer import Transformer
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
    """A network with a linear actor head, f32[..., S], and a linear critic head.

    Args:
      torso: architecture of the actor's torso, and of the critic's unless
        `critic_torso` is given.
      observation_size: length of the observation.
      num_scores: S, parameters of the action distribution: one per discrete action.
      critic: whether there is a critic; without one the value is 0.
      critic_torso: architecture of the critic's torso.
      shared: whether both heads read one torso, which then learns from both losses. A
        target network still keeps its own average of that torso.
      num_values: outputs of the critic, [..., num_values]; None for a scalar, [...].
      value_scale: factor of the critic's output; see `nets.tabular`.
    """
    if shared and critic_torso is not None:
        raise InputError("critic_torso is given: None is needed with a shared torso")
    heads = {"actor": nn.Dense(num_scores, kernel_init=orthogonal(0.01))}
    if critic:
        heads["critic"] = nn.Dense(num_values or 1, kernel_init=orthogonal(0.01))
    parts = _ActorCritic(
        torsos={"actor": torso, "critic": critic_torso or torso},
        heads=heads,
        observation_size=observation_size,
        value_shape=() if num_values is None else (num_values,),
        value_scale=value_scale,
        shared=shared and critic,
    )
    return Network(
        parts.init,
        parts.initial_memory,
        parts.step,
        parts.unroll,
        parts.critic_branch,
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _ActorCritic:
    """The parts of `actor_critic`, put together."""

    torsos: dict[str, Torso]
    heads: dict[str, nn.Dense]
    observation_size: int
    value_shape: tuple[int, ...]
    value_scale: float
    shared: bool

    def init(self, key: PRNGKey) -> PyTree:
        keys = jax.random.split(key, len(self.heads))
        params = {
            name: _init_branch(k, self.torsos[name], head, self.observation_size)
            for (name, head), k in zip(self.heads.items(), keys, strict=True)
        }
        if self.shared:
            params["critic"] = {"head": params["critic"]["head"]}
        return {"critic": {}, **params}

    def initial_memory(self, batch_shape: tuple[int, ...]) -> PyTree:
        return {
            name: cell.initial_memory(batch_shape)
            for name in self.heads
            if (cell := self.torsos[name].cell) is not None
        }

    def step(self, params, observation, memory):
        lead = observation.shape[:-1]
        # One list of rows: a CPU is slow to differentiate products over more axes.
        observation, memory = _as_rows((observation, dict(memory)), len(lead))
        features, carries = {}, {}
        for name in self.heads:
            if "encoder" in params[name]:
                features[name], carries[name] = _features(
                    self.torsos[name], params[name], observation, memory.get(name)
                )
            else:
                features[name], carries[name] = features["actor"], carries["actor"]
        carries = {name: carries[name] for name in memory}
        carries = jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), carries)
        return *self.read(params, features, lead), carries

    def read(self, params, features, lead):
        outputs = {
            name: _applied(head, params[name]["head"], features[name])
            for name, head in self.heads.items()
        }
        scores = outputs["actor"].reshape(*lead, self.heads["actor"].features)
        value = jnp.zeros((*lead, *self.value_shape))
        if "critic" in outputs:
            value = self.value_scale * outputs["critic"].reshape(value.shape)
        return scores, value

    def unroll(self, params, observation, last: Array, memory):
        if not memory:
            return self.step(params, observation, memory)[:2]
        cells = [self.torsos[name].cell for name in self.heads]
        if all(cell is None or isinstance(cell, Transformer) for cell in cells):
            return self.at_once(params, observation, last, memory)
        start = jax.tree.map(jnp.zeros_like, memory)

        # All layers of one step after the other, and again to differentiate it: what
        # they compute stays in a CPU's cache, and nothing but memories is stored.
        @partial(jax.checkpoint, prevent_cse=False)
        def body(memory, x):
            observation, last = x
            scores, value, memory = self.step(params, observation, memory)
            return reset_memory(memory, start, last), (scores, value)

        return jax.lax.scan(body, memory, (observation, last))[1]

    def at_once(self, params, observation, last: Array, memory):
        lead = observation.shape[:-1]
        last = last.reshape(*last.shape, *(1,) * (len(lead) - last.ndim))
        last = jnp.broadcast_to(last, lead).reshape(lead[0], -1)
        observation = _as_rows(observation, len(lead))
        memory = _as_rows(dict(memory), len(lead) - 1)
        features = {}
        for name in self.heads:
            if "encoder" in params[name]:
                features[name] = _all_features(
                    self.torsos[name], params[name], observation, last, memory.get(name)
                )
            else:
                features[name] = features["actor"]
        return self.read(params, features, lead)

    def critic_branch(self, params):
        if self.shared:
            actor = params["actor"]
            return {**{name: actor[name] for name in TORSO}, **params["critic"]}
        return params["critic"]


def _as_rows(x: PyTree, num_axes: int) -> PyTree:
    """Arrays with their first `num_axes` axes flattened into one."""
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[num_axes:]), x)


def _applied(module: nn.Module, params: PyTree, *inputs: PyTree, **options) -> Any:
    """What a module makes of inputs; nothing of it is mutable."""
    return module.apply(params, *inputs, **options)


def _features(
    torso: Torso, params: PyTree, observation: Array, carry: PyTree
) -> tuple[Array, PyTree]:
    """Features of observations [R, O], and the cell's next recurrent state."""
    features = _applied(torso.encoder, params["encoder"], observation)
    if torso.cell is not None:
        carry, features = _applied(
            torso.cell, params["cell"], carry, features, method="step"
        )
    return _applied(torso.readout, params["readout"], features), carry


def _all_features(
    torso: Torso, params: PyTree, observation: Array, last: Array, carry: PyTree
) -> Array:
    """Features of all steps at once, observations [T · R, O]; last is bool[T, R]."""
    features = _applied(torso.encoder, params["encoder"], observation)
    if torso.cell is not None:
        features = features.reshape(*last.shape, -1)
        features = _applied(
            torso.cell, params["cell"], carry, features, last, method="unroll"
        )
        features = features.reshape(last.size, -1)
    return _applied(torso.readout, params["readout"], features)


def _init_branch(
    key: PRNGKey, torso: Torso, head: nn.Module, observation_size: int
) -> PyTree:
    encoder_key, cell_key, readout_key, head_key = jax.random.split(key, 4)
    observation = jnp.zeros((1, observation_size))
    features, encoder = torso.encoder.init_with_output(encoder_key, observation)
    cell = {}
    if torso.cell is not None:
        carry = torso.cell.initial_memory((1,))
        (_, features), cell = torso.cell.init_with_output(
            cell_key, carry, features, method="step"
        )
    features, readout = torso.readout.init_with_output(readout_key, features)
    last = head.init(head_key, features)
    return {"encoder": encoder, "cell": cell, "readout": readout, "head": last}
