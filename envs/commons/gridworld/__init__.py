"""Grid worlds of social dilemmas: agents walk, turn, and fire beams among things that grow."""
