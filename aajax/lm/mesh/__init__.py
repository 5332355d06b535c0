"""Sharding over devices and processes: meshes, partition rules, per-process batches."""
