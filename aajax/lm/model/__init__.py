"""A decoder: its shape, layers, cache, and low-rank adapters."""
