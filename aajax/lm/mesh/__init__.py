"""Many devices and many processes: meshes, shardings, rows of each process."""
