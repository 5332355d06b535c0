"""Estimates of memory and time of published models on a mesh, without devices."""
