"""Several processes that train one run together, on one machine or on many.

Every process runs the same program on its own devices; what is counted, written and said is done by the first
one. With a single process, everything here is an identity.
"""

from __future__ import annotations

import os
from typing import Any

import jax
import numpy as np

from shoal.baselines.config import DistributedConfig
from shoal.envs.core import PyTree, UserError

COORDINATOR = "JAX_COORDINATOR_ADDRESS"


def join(config: DistributedConfig) -> None:
    """Connects this process to the others, where the configuration or JAX's environment variable says so.

    What is not said is found out by `jax.distributed.initialize` where it knows the cluster (Slurm, Open MPI,
    Kubernetes, Cloud TPU).

    Raises:
        UserError: when the others cannot be reached, or this cluster is not one that JAX knows.
    """
    if not (config.auto or config.coordinator or COORDINATOR in os.environ):
        return
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    try:
        jax.distributed.initialize(config.coordinator, config.num_processes, config.process_id)
    except (RuntimeError, ValueError) as error:
        line = str(error).splitlines()[0][:200]
        raise UserError(
            f"distributed: the processes did not find each other ({line}); give distributed.coordinator="
            "HOST:PORT, distributed.num_processes and distributed.process_id"
        ) from error


def is_first() -> bool:
    """Whether this process does what only one may do."""
    return jax.process_index() == 0


def any_of(flag: bool) -> bool:
    """Whether ``flag`` is true in any process; all must ask."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def from_first(text: str) -> str:
    """Returns the first process's text; all must ask."""
    if jax.process_count() == 1:
        return text
    from jax.experimental import multihost_utils

    sent = np.zeros(4096, np.uint8)
    data = np.frombuffer(text.encode(), np.uint8)
    sent[: len(data)] = data
    received = np.asarray(multihost_utils.broadcast_one_to_all(sent), np.uint8)
    return bytes(received).rstrip(b"\0").decode()


def gathered(tree: PyTree) -> PyTree:
    """Returns a tree of arrays on one mesh with a whole copy of each on every process; all must ask."""
    if jax.process_count() == 1:
        return tree
    from jax.sharding import NamedSharding, PartitionSpec

    mesh = next(leaf.sharding.mesh for leaf in jax.tree.leaves(tree))
    return jax.jit(_same, out_shardings=NamedSharding(mesh, PartitionSpec()))(tree)


def _same(tree: PyTree) -> PyTree:
    return tree


def placed(tree: PyTree, shardings: PyTree) -> PyTree:
    """Lays a tree of whole host arrays, the same on every process, out over all devices."""
    if jax.process_count() == 1:
        return jax.device_put(tree, shardings)

    def place(sharding: Any, leaf: Any) -> Any:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = place(sharding, np.asarray(jax.random.key_data(leaf)))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        value = np.asarray(leaf)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    # The shardings are a prefix of the tree.
    return jax.tree.map(
        lambda sharding, part: jax.tree.map(lambda leaf: place(sharding, leaf), part), shardings, tree
    )
