"""The grid world that the swarm tasks share: bodies, messages, windows, group metrics."""
