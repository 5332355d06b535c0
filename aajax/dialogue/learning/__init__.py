"""Learning from matches: token batches, credit, losses, the critic."""
