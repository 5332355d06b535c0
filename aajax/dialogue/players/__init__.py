"""Players of text games: language models, scripted players, people."""
