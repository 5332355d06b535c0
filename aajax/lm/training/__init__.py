"""Log-probabilities of tokens, and the training step."""
