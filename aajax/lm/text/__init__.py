"""Tokenizers and chat templates, at the edge of the model."""
