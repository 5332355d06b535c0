"""User-defined Flax modules as a policy's network."""

from collections.abc import Callable
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

from aajax.errors import InputError
from aajax.policies.base import Network, reset_memory
from aajax.references import reason
from aajax.types import Array, PRNGKey, PyTree

MakeModule = Callable[[int], nn.Module]


def flax_network(
    make: MakeModule,
    observation_size: int,
    num_scores: int,
    *,
    critic: bool = True,
    num_values: int | None = None,
    value_scale: float = 1.0,
) -> Network:
    """A network with separate actor and critic modules, both made by `make`.

    Args:
      make: `num_outputs -> module`, a Flax Linen module from observations f32[R, O] to
        f32[R, num_outputs]; or a recurrent one, a `flax.linen.RNNCellBase` from
        (carry, f32[R, O]) to (carry, f32[R, num_outputs]), whose carry is reset by
        `initialize_carry` at the start of each episode.
      observation_size: O.
      num_scores: S, parameters of the action distribution: one per discrete action.
      critic: whether there is a critic; without one the value is 0.
      num_values: outputs of the critic, [..., num_values]; None for a scalar, [...].
      value_scale: factor of the critic's output; see `nets.tabular`.

    Raises:
      InputError: if the modules are not of this kind.
    """
    outputs = {"actor": num_scores}
    if critic:
        outputs["critic"] = num_values or 1
    modules = {name: _made(make, count) for name, count in outputs.items()}
    value_shape = () if num_values is None else (num_values,)

    def init(key: PRNGKey) -> PyTree:
        keys = jax.random.split(key, len(modules))
        row, memory = jnp.zeros((1, observation_size)), initial_memory((1,))
        params = {
            name: module.init(own, *_inputs(memory, name, row))
            for (name, module), own in zip(modules.items(), keys, strict=True)
        }
        return {"critic": {}, **params}

    def initial_memory(batch_shape: tuple[int, ...]) -> PyTree:
        shape = *batch_shape, observation_size
        return {
            name: module.initialize_carry(jax.random.key(0), shape)
            for name, module in modules.items()
            if isinstance(module, nn.RNNCellBase)
        }

    def step(params, observation, memory):
        lead = observation.shape[:-1]
        rows, carries = jax.tree.map(
            lambda x: x.reshape(-1, *x.shape[len(lead) :]), (observation, dict(memory))
        )
        found = {}
        for name, module in modules.items():
            found[name] = module.apply(params[name], *_inputs(carries, name, rows))
            if name in carries:
                carries[name], found[name] = found[name]
        carries = jax.tree.map(lambda x: x.reshape(*lead, *x.shape[1:]), carries)
        scores = found["actor"].reshape(*lead, num_scores)
        value = jnp.zeros((*lead, *value_shape))
        if critic:
            value = value_scale * found["critic"].reshape(value.shape)
        return scores, value, carries

    def unroll(params, observation, last: Array, memory):
        if not memory:
            return step(params, observation, memory)[:2]
        start = initial_memory(observation.shape[1:-1])
        one = partial(step, params)
        return _scanned(one, start, memory, observation, last)

    network = Network(init, initial_memory, step, unroll)
    _check_outputs(network, observation_size)
    return network


def _scanned(
    step: Callable, start: PyTree, memory: PyTree, observation: Array, last: Array
) -> tuple[Array, Array]:
    """Scores and values of [T, B, ...]; the memory is `start` after `last`."""

    def body(memory, x):
        observation, last = x
        scores, value, memory = step(observation, memory)
        return reset_memory(memory, start, last), (scores, value)

    return jax.lax.scan(body, memory, (observation, last))[1]


def _made(make: MakeModule, num_outputs: int) -> nn.Module:
    try:
        module = make(num_outputs)
    except Exception as error:  # of somebody else's code
        raise InputError(
            f"a function num_outputs -> flax.linen.Module is needed ({reason(error)})"
        ) from error
    if not isinstance(module, nn.Module):
        raise InputError(
            "a function num_outputs -> flax.linen.Module is needed, and it returns "
            f"{type(module).__name__}"
        )
    return module


def _inputs(memory: PyTree, name: str, rows: Array) -> tuple:
    return (memory[name], rows) if name in memory else (rows,)


def _check_outputs(network: Network, observation_size: int) -> None:
    """Whether a row of observations gives as many numbers as are needed."""

    def once(key: PRNGKey) -> PyTree:
        row = jnp.zeros((1, observation_size))
        return network.step(network.init(key), row, network.initial_memory((1,)))[:2]

    try:
        jax.eval_shape(once, jax.random.key(0))
    except Exception as error:  # of somebody else's code
        raise InputError(
            f"a module that reads f32[R, {observation_size}] and returns f32[R, "
            f"num_outputs] is needed ({reason(error)})"
        ) from error
