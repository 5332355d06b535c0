"""What the `aajax` command does: one file per subcommand, each with a `main`."""
