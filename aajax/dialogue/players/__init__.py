"""Who answers at a table: language models, scripted players, people."""
