"""The Coin Game."""

from aajax.envs.coin.env import CoinGame, CoinState, Pickups, coin_game, pickups

__all__ = ["CoinGame", "CoinState", "Pickups", "coin_game", "pickups"]
