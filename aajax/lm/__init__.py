"""A decoder language model: it knows no game, and nothing of text above its tokens."""

from aajax.lm.cache import Cache, grow, init_cache
from aajax.lm.config import DecoderConfig, Rope
from aajax.lm.decoder import Adapters, forward, init_params, logits
from aajax.lm.hf_config import config_from_hf, config_to_hf

__all__ = [
    "Adapters",
    "Cache",
    "DecoderConfig",
    "Rope",
    "config_from_hf",
    "config_to_hf",
    "forward",
    "grow",
    "init_cache",
    "init_params",
    "logits",
]
