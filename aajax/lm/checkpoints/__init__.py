"""Reads and writes checkpoints of Hugging Face transformers and adapters of PEFT."""
