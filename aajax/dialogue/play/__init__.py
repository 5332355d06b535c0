"""Play of text games: batched matches, seating, records and measures."""

from aajax.dialogue.play.lockstep import Matchup, Seat, play

__all__ = ["Matchup", "Seat", "play"]
