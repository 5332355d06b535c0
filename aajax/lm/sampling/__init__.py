"""Turns of a dialogue, sampled under a grammar; nothing is read twice."""
