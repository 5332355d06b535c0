"""Text games: play between language models, scripted players and people; learning."""
