"""Non-cooperative navigation: three unlike agents, paid each for itself, look for landmarks."""
