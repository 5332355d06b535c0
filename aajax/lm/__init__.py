"""A decoder language model: it knows no game, and nothing of text above its tokens.

What reads or writes files of others (`weights`, `peft_folder`, `tokens`, `chat`) is
imported by name, as `from aajax.lm import weights`, so that this package needs none of
the libraries that those do.
"""

from aajax.lm import lora
from aajax.lm.cache import Cache, grow, init_cache
from aajax.lm.config import DecoderConfig, Rope
from aajax.lm.decoder import Adapters, forward, init_params, logits
from aajax.lm.fit import Fit, FitState, Sums, TokenBatch, make_step, token_loss
from aajax.lm.hf_config import config_from_hf, config_to_hf
from aajax.lm.lora import LoraConfig, init_adapters
from aajax.lm.sampler import Sampler
from aajax.lm.scoring import Scores, score
from aajax.lm.session import Sample, Session
from aajax.lm.sharding import make_mesh, shard, shard_batch, start_distributed

__all__ = [
    "Adapters",
    "Cache",
    "DecoderConfig",
    "Fit",
    "FitState",
    "LoraConfig",
    "Rope",
    "Sample",
    "Sampler",
    "Scores",
    "Session",
    "Sums",
    "TokenBatch",
    "config_from_hf",
    "config_to_hf",
    "forward",
    "grow",
    "init_adapters",
    "init_cache",
    "init_params",
    "logits",
    "lora",
    "make_mesh",
    "make_step",
    "score",
    "shard",
    "shard_batch",
    "start_distributed",
    "token_loss",
]
