"""Sampling of multi-turn dialogues with a KV cache and grammar-constrained decoding."""
