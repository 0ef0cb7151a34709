"""Published tables that need no training run: fixtures, and ours beside what was printed."""
