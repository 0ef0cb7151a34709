"""How far a swarm is from the hollow square: beside brute force over translations and assignments."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from shoal.envs.common.batching import batch_last
from shoal.envs.swarm.flocking.dynamics import distance, ring
from shoal.envs.swarm.flocking.env import PUBLISHED_START

SWARMS = 24


def brute(cells: np.ndarray, shape: np.ndarray) -> int:
    """The least distance over every translation that puts a cell of the shape onto an agent."""
    best = np.inf
    for down, right in {tuple(step) for step in (cells[:, None] - shape[None]).reshape(-1, 2).tolist()}:
        apart = np.abs(cells[:, None] - (shape + np.array([down, right]))[None]).sum(axis=2)
        best = min(best, apart[linear_sum_assignment(apart)].sum())
    return int(best)


def swarms(agents: int, side: int) -> np.ndarray:
    """Different cells inside the walls, [S, A, 2]; every second swarm stands near the shape itself."""
    rng, found = np.random.default_rng(agents), []
    inner = np.array(list(np.ndindex(side - 2, side - 2))) + 1
    for number in range(SWARMS):
        weight = rng.random(len(inner))
        if number % 2:
            shape = ring(agents) + rng.integers(1, side - ring(agents).max() - 1, 2)
            weight += 2.0 * (inner[:, None] == shape[None]).all(axis=2).any(axis=1) * (rng.random() < 0.9)
        found.append(inner[np.argsort(-weight)[:agents]])
    return np.stack(found)


@pytest.fixture(scope="module")
def measured() -> Any:
    """(agents, exact) -> swarms and their distances by our program."""
    known: dict[tuple[int, bool], tuple[np.ndarray, np.ndarray]] = {}

    def call(agents: int, exact: bool) -> tuple[np.ndarray, np.ndarray]:
        if (agents, exact) not in known:
            cells = swarms(agents, 10)
            program = batch_last(lambda i, j: distance(i, j, ring(agents), exact))
            found = jax.jit(jax.vmap(program))(*map(jnp.asarray, np.moveaxis(cells, -1, 0).astype(np.int32)))
            known[agents, exact] = cells, np.asarray(found)
        return known[agents, exact]

    return call


AGENTS = [8, 12, 14]  # as many as cells, twice; two more than cells


@pytest.mark.parametrize("agents", AGENTS)
def test_the_exact_distance_is_that_of_brute_force(measured: Any, agents: int) -> None:
    cells, found = measured(agents, True)
    expected = [brute(swarm, ring(agents)) for swarm in cells]
    np.testing.assert_array_equal(found, expected)
    assert min(expected) == 0 and max(expected) > 10, "swarms near and far"


@pytest.mark.parametrize("agents", AGENTS)
def test_the_distance_along_axes_never_exceeds_the_exact_one(measured: Any, agents: int) -> None:
    (_, exact), (_, axes) = measured(agents, True), measured(agents, False)
    assert (axes <= exact).all() and (axes >= 0).all()
    assert (axes < exact).any(), "else it would be no shortcut"
    if agents == len(ring(agents)):  # with agents to spare it is far below
        assert np.corrcoef(axes, exact)[0, 1] > 0.8


@pytest.mark.parametrize(
    ("agents", "side", "cells"), [(4, 2, 4), (8, 3, 8), (10, 3, 8), (12, 4, 12), (16, 5, 16)]
)
def test_the_shape_is_a_hollow_square(agents: int, side: int, cells: int) -> None:
    shape = ring(agents)
    assert len({tuple(cell) for cell in shape.tolist()}) == len(shape) == cells
    assert shape.min() == 0 and shape.max() == side - 1
    assert all(0 in cell or side - 1 in cell for cell in shape.tolist())


def test_the_published_start_is_24_cells_away() -> None:
    assert brute(np.array(PUBLISHED_START), ring(12)) == 24
