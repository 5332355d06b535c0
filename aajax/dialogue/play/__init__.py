"""Matches in lockstep, who sits where, what is recorded and measured."""

from aajax.dialogue.play.lockstep import Matchup, Seat, play

__all__ = ["Matchup", "Seat", "play"]
