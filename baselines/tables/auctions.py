"""One-shot auctions of resources to requests: MOHAF (arXiv 2508.14830) and its three baselines, as a table.

i counts requests (N), j resources (M). A resource serves at most one request and a request takes at most one;
a pair is compatible if the types agree and C_j >= d_i. Ties go to the pair listed first, requests outer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shoal.envs.core import UserError
from shoal.envs.core.errors import nearest

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Weights = tuple[float, float, float, float]

WEIGHTS: Weights = (0.3, 0.3, 0.2, 0.2)
"""Of cost, quality of service, energy and fairness, as the published table was made."""
MECHANISMS = ("mohaf", "greedy", "first-price", "random")
SCORINGS = ("same", "published")
GOOGLE_CLASSES = (680, 1022, 1123, 728)
"""Requests of scheduling class 0 to 3: a proxy, since those of the trace sample are unknown."""
SCENARIOS = {  # M, N, and the bounds of C, c, d, B
    "balanced": (50, 30, (20, 100), (0.3, 1.5), (15, 60), (30, 100)),
    "high_demand": (40, 60, (10, 50), (0.5, 2), (30, 80), (50, 150)),
    "low_resource": (25, 40, (5, 20), (1, 3), (10, 30), (20, 60)),
}
TYPES = ("compute", "storage", "bandwidth", "energy")
MAX_DISTANCE = 200.0
IDLE_FACTOR = 1.0 - 0.01 * 0.8  # price update of what was never used: learning rate, target use
BLOCK = 4096


@dataclass(frozen=True)
class Resources:
    """What is sold; [M] each."""

    type_id: Ints  # index into TYPES
    capacity: Floats  # C
    cost: Floats  # c, per unit of demand
    x: Floats
    y: Floats
    availability: Floats  # a, 0 to 1
    reliability: Floats  # rho, 0 to 1
    energy: Floats  # e, efficiency, 0 to 1


@dataclass(frozen=True)
class Requests:
    """Who wants it; [N] each. Minima of quality are left out: no published mechanism reads them."""

    type_id: Ints  # index into TYPES
    demand: Floats  # d
    budget: Floats  # B, for all of the demand
    priority: Floats  # p, 1 to 10
    x: Floats
    y: Floats


@dataclass(frozen=True)
class Instance:
    """One market.

    Raises:
        UserError: columns of unlike lengths, none at all, or numbers that are not finite.
    """

    resources: Resources
    requests: Requests

    def __post_init__(self) -> None:
        for name, rows in (("resources", self.resources), ("requests", self.requests)):
            columns = [np.asarray(getattr(rows, field.name)) for field in fields(rows)]
            if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1 or not columns[0].size:
                raise UserError(f"{name} need columns of one length, at least 1")
            if not all(np.isfinite(column).all() for column in columns):
                raise UserError(f"{name} hold a number that is not finite; give finite numbers")

    @property
    def shape(self) -> tuple[int, int]:
        """(N, M)."""
        return len(self.requests.demand), len(self.resources.capacity)


@dataclass(frozen=True)
class Allocation:
    """Who got what, in the order in which it was given; [served] each."""

    request: Ints
    resource: Ints
    price: Floats  # for the whole demand
    recorded: Floats  # what the published code notes as the mechanism's utility


@dataclass(frozen=True)
class Scores:
    """The published measures of an allocation."""

    efficiency: float  # sum of utilities / N
    revenue: float
    satisfaction: float  # served / N
    utilization: float  # used resources / M
    jain: float  # of the served requests' utilities; NaN where nobody is served
    energy: float  # mean e of the used resources; NaN likewise


def google_instance(seed: int = 0, classes: Sequence[int] = GOOGLE_CLASSES) -> Instance:
    """Returns the market of the published table: N / 4 resources for jobs of the Google trace.

    Resources and places are those of the authors' run, whose generator was seeded with 42. Which job is of
    which scheduling class was read from the trace: here the classes are shuffled.

    Args:
        seed: of the order of classes.
        classes: how many requests of class 0 to 3, which ask for 0, 1/3, 2/3 and 1.

    Raises:
        UserError: not four counts of at least 4 requests in all, or a negative seed.
    """
    if len(classes) != 4 or min(classes) < 0 or sum(classes) < 4:
        raise UserError(f"classes must be four counts of at least 4 requests in all, not {tuple(classes)}")
    kinds = [kind for kind, count in enumerate(classes) for _ in range(count)]
    random.Random(_checked(seed)).shuffle(kinds)
    rng = random.Random(42)
    bounds = ((0.5, 1), (0.3, 0.8), (-100, 100), (-100, 100), (0.95, 1), (0.95, 1), (0.6, 0.9))
    columns = np.array([[rng.uniform(*b) for b in bounds] for _ in range(len(kinds) // 4)]).T
    places = np.array([[rng.uniform(-100, 100) for _ in range(2)] for _ in kinds]).T
    demand = np.array(kinds) / 3.0
    priority = np.full(len(kinds), 8.0)
    return Instance(
        Resources(np.zeros(len(kinds) // 4, np.int64), *columns),
        Requests(np.zeros(len(kinds), np.int64), demand, 20 * demand + 5 * priority, priority, *places),
    )


def synthetic_instance(scenario: str = "balanced", seed: int = 42) -> Instance:
    """Returns a market of random types, drawn in the published order.

    Args:
        scenario: of `SCENARIOS`.
        seed: 42 and "balanced" give the authors' own; their other scenarios were drawn after it was played.

    Raises:
        UserError: an unknown scenario or a negative seed.
    """
    if scenario not in SCENARIOS:
        raise UserError(f"unknown scenario {scenario!r}{nearest(scenario, SCENARIOS)}")
    rng = random.Random(_checked(seed))
    n_resources, n_requests, capacity, cost, demand, budget = SCENARIOS[scenario]
    bounds = (capacity, cost, (-50, 50), (-50, 50), (0.7, 1.0), (0.6, 0.95), (0.5, 0.9))
    sold = [[rng.choice(range(4)), *(rng.uniform(*b) for b in bounds)] for _ in range(n_resources)]
    wanted = []
    for _ in range(n_requests):
        row: list[float] = [rng.choice(range(4)), rng.uniform(*demand), rng.uniform(*budget)]
        rng.uniform(300, 1800)  # deadline
        row += [rng.randint(1, 10), rng.uniform(-50, 50), rng.uniform(-50, 50)]
        for bounds_of_quality in ((0.5, 0.9), (10, 100), (0.6, 0.95)):
            rng.uniform(*bounds_of_quality)
        wanted.append(row)
    offer, ask = np.array(sold, np.float64).T, np.array(wanted, np.float64).T
    return Instance(
        Resources(offer[0].astype(np.int64), *offer[1:]), Requests(ask[0].astype(np.int64), *ask[1:])
    )


def compatible(instance: Instance) -> NDArray[np.bool_]:
    """Returns which resource could serve which request, [N, M]."""
    requests, resources = instance.requests, instance.resources
    same_type = requests.type_id[:, None] == resources.type_id[None]
    return same_type & (resources.capacity[None] >= requests.demand[:, None])


def utility(instance: Instance, request: Ints, resource: Ints, weights: Weights = WEIGHTS) -> Floats:
    """Returns U_ij of pairs (request[k], resource[k]) without history; [pairs].

    Raises:
        UserError: not four weights, or one that is negative or not finite.
    """
    if len(weights) != 4 or not all(math.isfinite(weight) and weight >= 0 for weight in weights):
        raise UserError(f"weights must be four finite numbers, none negative, not {tuple(weights)}")
    sold, wanted = instance.resources, instance.requests
    budget = wanted.budget[request]
    share = np.full(budget.shape, np.inf)  # nobody without a budget finds anything cheap
    np.divide(_cost(instance, request, resource), budget, out=share, where=budget > 0)
    distance = np.hypot(sold.x[resource] - wanted.x[request], sold.y[resource] - wanted.y[request])
    near = np.maximum(0.0, 1.0 - distance / MAX_DISTANCE)
    quality = 0.5 * (sold.reliability[resource] + sold.availability[resource]) + 0.5 * near
    cost, qos, energy, fairness = weights
    return (
        cost * np.maximum(0.0, 1.0 - share)
        + qos * quality
        + energy * sold.energy[resource]
        + fairness * wanted.priority[request] / 10.0
    )


def mohaf_price(instance: Instance, request: Ints, resource: Ints, utilities: Floats) -> Floats:
    """Returns what MOHAF charges pairs of these utilities: at most the budget; [pairs]."""
    price = _cost(instance, request, resource) * IDLE_FACTOR * (0.8 + 0.4 * utilities)
    return np.minimum(price, instance.requests.budget[request])


def run(mechanism: str, instance: Instance, seed: int = 0, weights: Weights = WEIGHTS) -> Allocation:
    """Holds one auction.

    ``mohaf``: pairs by U_ij, highest first. ``first-price``: pairs by c_j d_i, highest first. ``greedy``:
    requests by priority, then budget; each takes the cheapest resource. ``random``: requests in random order,
    each offered one random compatible resource. All but MOHAF charge c_j d_i, which must be in the budget.

    Args:
        mechanism: of `MECHANISMS`.
        instance: the market.
        seed: of what ``first-price`` (recorded utilities only) and ``random`` draw.
        weights: of MOHAF's U_ij.

    Raises:
        UserError: an unknown mechanism, wrong weights or a negative seed.
    """
    rng = np.random.default_rng(_checked(seed))
    if mechanism == "mohaf":
        i, j = (index.astype(np.int64) for index in np.nonzero(compatible(instance)))
        scores = utility(instance, i, j, weights)
        won = _take_best(scores, i, j, instance.shape)
        i, j, recorded = i[won], j[won], scores[won]
        return Allocation(i, j, mohaf_price(instance, i, j, recorded), recorded)
    if mechanism == "first-price":
        i, j = (index.astype(np.int64) for index in np.nonzero(compatible(instance)))
        bids = _cost(instance, i, j)
        affordable = bids <= instance.requests.budget[i]
        i, j = i[affordable], j[affordable]
        won = _take_best(bids[affordable], i, j, instance.shape)
        return Allocation(i[won], j[won], bids[affordable][won], rng.uniform(0.3, 0.8, len(won)))
    if mechanism == "greedy":
        wanted = instance.requests
        i, j = _in_turn(instance, np.lexsort((-wanted.budget, -wanted.priority)), None)
        return Allocation(i, j, _cost(instance, i, j), 0.5 + 0.3 * wanted.priority[i] / 10.0)
    if mechanism == "random":
        i, j = _in_turn(instance, rng.permutation(instance.shape[0]), rng)
        return Allocation(i, j, _cost(instance, i, j), rng.uniform(0.2, 0.6, len(i)))
    raise UserError(f"unknown mechanism {mechanism!r}{nearest(mechanism, MECHANISMS)}")


def score(
    instance: Instance, allocation: Allocation, scoring: str = "same", weights: Weights = WEIGHTS
) -> Scores:
    """Scores an allocation.

    Args:
        instance: the market.
        allocation: from `run`.
        scoring: ``same``: by U_ij whatever the mechanism, revenue the sum of prices. ``published``: by what
            each mechanism records, revenue the sum of price times demand (once more: it is in the price).
        weights: of U_ij.

    Raises:
        UserError: an unknown scoring or wrong weights.
    """
    if scoring not in SCORINGS:
        raise UserError(f"unknown scoring {scoring!r}{nearest(scoring, SCORINGS)}")
    i, j = allocation.request, allocation.resource
    published = scoring == "published"
    utilities = allocation.recorded if published else utility(instance, i, j, weights)
    paid = allocation.price * instance.requests.demand[i] if published else allocation.price
    n_requests, n_resources = instance.shape
    return Scores(
        efficiency=float(utilities.sum()) / n_requests,
        revenue=float(paid.sum()),
        satisfaction=len(i) / n_requests,
        utilization=len(np.unique(j)) / n_resources,
        jain=jain(utilities),
        energy=float(instance.resources.energy[j].mean()) if len(j) else math.nan,
    )


def jain(values: Floats) -> float:
    """Returns Jain's index: 1 where all are equal, 1 / n where one has everything, NaN of nothing."""
    if not len(values):
        return math.nan
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / (len(values) * squares) if squares > 0 else 1.0


def played(
    mechanism: str, seeds: Iterable[int], classes: Sequence[int], weights: Weights, scoring: str
) -> list[Scores]:
    """Returns the scores of one auction on the Google instance of each seed; arguments as in `score`."""
    found = []
    for seed in seeds:
        instance = google_instance(seed, classes)
        found.append(score(instance, run(mechanism, instance, seed, weights), scoring, weights))
    return found


def table(
    scoring: str = "same", seeds: Sequence[int] = (0, 1, 2), weights: Weights | None = None
) -> list[dict[str, Any]]:
    """Returns the mechanisms on the Google instance beside the published table, means over seeds.

    Args:
        scoring: as in `score`.
        seeds: of the order of classes and of what mechanisms draw.
        weights: of U_ij; by default those of the preset, configs/table/mohaf-google.yaml.

    Returns:
        A row for each mechanism: ``mechanism``, ``utilization``, ``energy``, and for each published column a
        cell with ``published``, ``ours``, ``within`` and ``verdict`` (``pass``, ``fail``, or None where the
        scoring measures something else than the published number).

    Raises:
        UserError: no seeds, or as in `run` and `score`.
    """
    from shoal.baselines.tables.catalogue import read_table

    if not len(seeds):
        raise UserError("the table needs at least one seed")
    published: dict[str, dict[str, Any]] = {}
    for cell in read_table("mohaf-google").cells:
        published.setdefault(cell.row, {})[cell.column] = cell
    rows: list[dict[str, Any]] = []
    for name, cells in published.items():
        preset = next(iter(cells.values())).settings
        used: Weights = tuple(preset["weights"]) if weights is None else weights
        found = played(name, seeds, preset["classes"], used, scoring)
        mean = {f.name: float(np.mean([getattr(one, f.name) for one in found])) for f in fields(Scores)}
        row: dict[str, Any] = {key: mean[key] for key in ("utilization", "energy")}
        for column, cell in cells.items():
            # The other scoring shares with the published one what counts heads, and MOHAF's own utilities.
            alike = scoring == "published" or column == "satisfaction"
            alike = alike or (name == "mohaf" and column != "revenue")
            good = "pass" if abs(mean[column] - cell.published) <= cell.within else "fail"
            row[column] = {
                "published": cell.published,
                "ours": mean[column],
                "within": cell.within,
                "verdict": good if alike else None,
            }
        rows.append({"mechanism": name, **row})
    return rows


def _cost(instance: Instance, request: Ints, resource: Ints) -> Floats:
    return instance.resources.cost[resource] * instance.requests.demand[request]


def _take_best(scores: Floats, request: Ints, resource: Ints, shape: tuple[int, int]) -> Ints:
    """Returns the pairs taken, highest score first, while both sides are free: indices into the pairs."""
    order = np.argsort(-scores, kind="stable")
    waiting, free = np.ones(shape[0], bool), np.ones(shape[1], bool)
    won: list[int] = []
    # In blocks, so that NumPy drops the pairs of those already served: nearly all of two million.
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        for pair in block[waiting[request[block]] & free[resource[block]]].tolist():
            i, j = request[pair], resource[pair]
            if waiting[i] and free[j]:
                waiting[i] = free[j] = False
                won.append(pair)
        if not free.any() or not waiting.any():
            break
    return np.array(won, np.int64)


def _in_turn(instance: Instance, order: Ints, rng: np.random.Generator | None) -> tuple[Ints, Ints]:
    """Serves requests one after the other: with the cheapest free resource, or one offered at random."""
    sold, wanted = instance.resources, instance.requests
    free = np.ones(len(sold.capacity), bool)
    served: list[tuple[int, int]] = []
    for i in order.tolist():
        fit = free & (sold.type_id == wanted.type_id[i]) & (sold.capacity >= wanted.demand[i])
        price = sold.cost * wanted.demand[i]
        candidates = np.flatnonzero(fit)
        if not len(candidates):
            continue
        j = int(candidates[np.argmin(price[candidates])] if rng is None else rng.choice(candidates))
        if price[j] <= wanted.budget[i]:
            free[j] = False
            served.append((i, j))
    pairs = np.array(served, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _checked(seed: int) -> int:
    if seed < 0:
        raise UserError(f"seed must be 0 or more, not {seed}")
    return seed
