"""A checkpoint folder of a tiny chat model that mostly answers <A> or <B>."""

import jax
import numpy as np

from aajax import lm
from aajax.lm.checkpoints.weights import save_params
from aajax.lm.model.lora import LoraConfig, init_adapters
from aajax.lm.text.pocket_tokenizer import SMALLEST, pocket_tokenizer

TINY = lm.DecoderConfig(
    "llama",
    vocab_size=SMALLEST,
    hidden_size=32,
    intermediate_size=32,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    head_dim=16,
    max_length=512,
)
LORA = LoraConfig(rank=2, alpha=4.0, targets=("query", "value", "output", "down"))

_HABIT = 11.0  # logit of what usually follows


def tiny_params(tokens, habit=_HABIT):
    """Random weights, with a head that writes one letter after the other of an answer.

    The last token reaches the head past all layers, so that a head of embeddings is a
    table of what follows what; the layers add what came before it.
    """
    params = lm.init_params(TINY, jax.random.key(1))
    layers = jax.tree.map(lambda x: 4 * x if x.ndim == 3 else x, params["layers"])
    keys = jax.random.split(jax.random.key(2))
    embedding = np.array(jax.random.normal(keys[0], (SMALLEST, 32)))
    embedding /= np.linalg.norm(embedding, axis=1, keepdims=True)
    head = 0.1 * np.array(jax.random.normal(keys[1], (SMALLEST, 32)))
    begin, stop = tokens.markers["<|assistant|>"], tokens.markers["<|done|>"]
    follows = [(begin, "<"), ("<", "AB"), ("A", ">"), ("B", ">"), (">", [stop])]
    for before, after in follows:
        before = before if isinstance(before, int) else ord(before)
        for token in after:
            token = token if isinstance(token, int) else ord(token)
            # A norm makes the last hidden state √32 long.
            head[token] += habit / np.sqrt(32) * embedding[before]
    return {**params, "layers": layers, "embedding": embedding, "head": head}


@jax.jit
def tiny_hidden(params, batch, adapters=None):
    """[S, L, D], what a `SpeechBatch` leaves before the head."""
    adapter_id = None if adapters is None else batch.adapter_id
    return lm.forward(
        TINY, params, batch.tokens, batch.positions, None, adapters, adapter_id
    )[0]


def tiny_folder(folder, **options):
    """Writes the folder, weights and tokenizer, and returns it."""
    tokens = pocket_tokenizer(folder)
    save_params(folder, TINY, tiny_params(tokens, **options))
    return folder


def tiny_adapters(count, size=0.3):
    """Adapters that differ, and change something."""
    adapters = init_adapters(TINY, LORA, jax.random.key(3), count)
    leaves, tree = jax.tree.flatten(adapters.weights)
    keys = jax.random.split(jax.random.key(4), len(leaves))
    leaves = [
        size * jax.random.normal(key, leaf.shape)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return adapters._replace(weights=jax.tree.unflatten(tree, leaves))
