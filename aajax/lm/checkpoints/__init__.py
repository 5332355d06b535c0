"""Weights and adapters in the folders of Hugging Face and PEFT."""
