"""What `aajax` offers by name: runs, evaluations, leagues and games of presets."""
