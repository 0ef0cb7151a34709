"""Published tables: what they claim, how their cells are measured again, and what ours are worth."""
