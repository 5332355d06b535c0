"""The decoder: configuration, layers, KV cache and LoRA adapters."""
