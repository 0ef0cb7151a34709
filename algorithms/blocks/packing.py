"""Trees of small arrays as one vector per dtype.

XLA makes a kernel of its own for each array that is added up, scanned or averaged: some milliseconds to
compile and microseconds to call, a hundred times over for metrics and parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from shoal.envs.core import PyTree


@partial(jax.tree_util.register_dataclass, data_fields=["vectors"], meta_fields=["treedef", "shapes"])
@dataclass(frozen=True)
class Packed:
    """A tree whose leaves of equal dtype lie end to end; elementwise work on it is a `jax.tree.map`."""

    vectors: dict[str, Array]  # dtype -> [*B, entries], leading axes added by scan or vmap
    treedef: Any
    shapes: tuple[tuple[str, tuple[int, ...]], ...]  # of each leaf: dtype, shape

    @classmethod
    def of(cls, tree: PyTree) -> Packed:
        """Packs a tree of arrays."""
        leaves, treedef = jax.tree.flatten(tree)
        leaves = [jnp.asarray(leaf) for leaf in leaves]
        shapes = tuple((str(leaf.dtype), leaf.shape) for leaf in leaves)
        vectors = {
            dtype: jnp.concatenate([leaf.reshape(-1) for leaf in leaves if str(leaf.dtype) == dtype])
            for dtype in sorted({dtype for dtype, _ in shapes})
        }
        return cls(vectors, treedef, shapes)

    def tree(self) -> PyTree:
        """Returns the tree, its leaves with whatever leading axes the vectors have."""
        leaves, begins = [], dict.fromkeys(self.vectors, 0)
        for dtype, shape in self.shapes:
            vector, begin = self.vectors[dtype], begins[dtype]
            begins[dtype] = begin + math.prod(shape)
            leaves.append(vector[..., begin : begins[dtype]].reshape(*vector.shape[:-1], *shape))
        return self.treedef.unflatten(leaves)


def means(metrics: Packed) -> dict[str, Array]:
    """Returns the means over a leading axis of a packed dictionary of scalars."""
    averaged: dict[str, Array] = jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics).tree()
    return averaged
