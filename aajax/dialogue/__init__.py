"""Games in words between players; no game is known here."""
