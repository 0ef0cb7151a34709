"""The benchmark: environments and training, ours beside a peer's, each suite in a process of its own."""
