"""Small networks for policies: MLP, convolutions, GRU, transformer, tables."""

from aajax.nets.actor_critic import actor_critic
from aajax.nets.flax_network import flax_network
from aajax.nets.planes import Planes
from aajax.nets.tabular import tabular
from aajax.nets.torsos import Torso, gru, mlp, transformer

__all__ = [
    "Planes",
    "Torso",
    "actor_critic",
    "flax_network",
    "gru",
    "mlp",
    "tabular",
    "transformer",
]
