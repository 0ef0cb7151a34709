"""Registered environments that are others in another size: checked less, as there are so many."""

from shoal.envs.swarm.grid.scenarios import HARD, TASKS, scenarios

SWEEPS = frozenset(f"swarm/{name}-v1" for name in scenarios() if name not in TASKS and name not in HARD)
"""Grid swarms of the benchmark's sweeps, and crowds: other counts, views, boards, or noisy tokens."""
