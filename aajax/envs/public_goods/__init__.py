"""Public goods with amounts: N agents contribute parts of what they have to a pot."""

from aajax.envs.public_goods.env import (
    MOST_AGENTS,
    PublicGoods,
    PublicGoodsState,
    best_total,
    others_of,
    public_goods_amounts,
)

__all__ = [
    "MOST_AGENTS",
    "PublicGoods",
    "PublicGoodsState",
    "best_total",
    "others_of",
    "public_goods_amounts",
]
