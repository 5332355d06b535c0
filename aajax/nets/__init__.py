"""Small networks as policies."""

from aajax.nets.actor_critic import actor_critic
from aajax.nets.tabular import tabular
from aajax.nets.torsos import Torso, gru, mlp

__all__ = ["Torso", "actor_critic", "gru", "mlp", "tabular"]
