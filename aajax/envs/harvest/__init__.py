"""Commons Harvest: Open, of Melting Pot, as a pure environment; see `harvest.env`."""

from aajax.envs.harvest.env import CommonsHarvest, HarvestState, commons_harvest

__all__ = ["CommonsHarvest", "HarvestState", "commons_harvest"]
