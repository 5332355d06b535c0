"""Decoder language models in JAX: model, LoRA adapters, sampling, training, sharding.

It works on token ids and knows no game. Modules that need optional libraries
(`checkpoints.weights`, `checkpoints.peft_folder`, `text.tokens`, `text.chat`) are
imported by name and not from here.
"""

from aajax.lm.checkpoints.hf_config import config_from_hf, config_to_hf
from aajax.lm.mesh.sharding import make_mesh, shard, shard_batch, start_distributed
from aajax.lm.model import lora
from aajax.lm.model.cache import Cache, grow, init_cache
from aajax.lm.model.config import DecoderConfig, Rope
from aajax.lm.model.decoder import Adapters, forward, init_params, logits
from aajax.lm.model.lora import LoraConfig, init_adapters
from aajax.lm.sampling.sampler import Sampler
from aajax.lm.sampling.session import Sample, Sampling, Session
from aajax.lm.training.fit import Fit, FitState, Sums, TokenBatch, make_step, token_loss
from aajax.lm.training.scoring import Scores, score

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
    "Sampling",
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
