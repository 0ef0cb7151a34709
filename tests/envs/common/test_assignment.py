"""The assignment problem beside scipy's solver: square and rectangular, with ties, one and many at a time."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from shoal.envs.common.assignment import assign

PROBLEMS = 60


def least(cost: np.ndarray) -> float:
    rows, columns = linear_sum_assignment(cost)
    return float(cost[rows, columns].sum())


def costs(rows: int, columns: int, kind: str) -> np.ndarray:
    """Problems [rows, columns, P]: real costs, few whole ones (many ties), or distances on a grid."""
    rng = np.random.default_rng(rows * 100 + columns)
    if kind == "real":
        return rng.normal(0.0, 10.0, (rows, columns, PROBLEMS)).astype(np.float32)
    if kind == "ties":
        return rng.integers(0, 4, (rows, columns, PROBLEMS)).astype(np.float32)
    here, there = rng.integers(0, 10, (2, rows, 1, PROBLEMS)), rng.integers(0, 10, (2, 1, columns, PROBLEMS))
    return np.abs(here - there).sum(axis=0).astype(np.float32)


@pytest.mark.parametrize("kind", ["real", "ties", "grid"])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (7, 7), (4, 9), (12, 12)])
def test_the_sum_is_the_least(program: Any, rows: int, columns: int, kind: str) -> None:
    cost = costs(rows, columns, kind)
    chosen = np.asarray(program(cost))
    assert chosen.shape == (rows, PROBLEMS) and chosen.dtype == np.int32
    for p in range(PROBLEMS):
        column = chosen[:, p]
        assert len(set(column.tolist())) == rows and set(column.tolist()) <= set(range(columns))
        ours = float(cost[np.arange(rows), column, p].sum())
        assert ours == pytest.approx(least(cost[..., p]), rel=1e-5, abs=1e-5 if kind == "real" else 0.0)


def test_one_problem_is_solved_as_among_many(program: Any) -> None:
    cost = costs(7, 7, "real")
    chosen = np.asarray(program(cost))
    for p in range(3):
        np.testing.assert_array_equal(program(cost[..., p]), chosen[:, p])


@pytest.fixture(scope="module")
def program() -> Any:
    """`assign`, compiled once per shape."""

    def strict(cost: jax.Array) -> jax.Array:
        with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
            return assign(cost)

    jitted = jax.jit(strict)
    return lambda cost: jitted(jnp.asarray(cost))
