"""From matches to a step of an adapter."""
