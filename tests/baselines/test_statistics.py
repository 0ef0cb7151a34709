"""Statistics against values worked out by hand, and intervals against distributions that are known."""

import numpy as np
import pytest
from scipy import stats

from shoal.baselines.statistics import (
    bootstrap_interval,
    iqm,
    mann_whitney,
    performance_profile,
    probability_of_improvement,
    stratified_interval,
    summarise,
)


def test_summarise_by_hand():
    # Sorted 0..8 without the outer quarters (2 of 9 on each side): the mean of 2..6.
    values = [8, 0, 7, 1, 6, 2, 5, 3, 4 + 9 * 10]
    result = summarise(values)
    assert result["mean"] == pytest.approx(sum(values) / 9)
    assert result["iqm"] == pytest.approx((2 + 3 + 5 + 6 + 7) / 5)
    low, high = result["ci95"]
    assert low < result["mean"] < high


def test_summarise_interval_is_that_of_the_mean():
    values = np.random.default_rng(1).normal(3.0, 2.0, 400)
    low, high = summarise(values)["ci95"]
    half = 1.96 * np.std(values) / 20
    assert low == pytest.approx(np.mean(values) - half, abs=0.1 * half)
    assert high == pytest.approx(np.mean(values) + half, abs=0.1 * half)


def test_summarise_constants_and_nothing():
    assert summarise(np.ones(256)) == {"mean": 1.0, "iqm": 1.0, "ci95": [1.0, 1.0]}
    assert summarise([float("nan")]) == {"mean": None, "iqm": None, "ci95": None}
    assert summarise([]) == {"mean": None, "iqm": None, "ci95": None}


def test_iqm_by_hand():
    assert iqm([0, 1, 2, 100]) == 1.5  # one value on each side is a quarter
    assert iqm([0, 1, 100]) == pytest.approx(101 / 3)  # a quarter of three is no value
    assert iqm([[0, 1, 2, 100], [4, 4, 4, 4]], axis=-1).tolist() == [1.5, 4.0]
    assert iqm([[0, 1], [2, 100]]) == 1.5  # all values at once


def test_bootstrap_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    samples = rng.exponential(2.0, (300, 40))
    intervals = [bootstrap_interval(sample) for sample in samples]
    covered = np.mean([low <= 2.0 <= high for low, high in intervals])
    # A percentile interval of 40 skewed values covers a little less than 95 %; one of 90 % would cover 0.87.
    assert 0.90 <= covered <= 0.97


def test_bootstrap_interval_is_of_the_statistic_asked_for():
    values = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 70.0]
    assert bootstrap_interval(values, np.median) == (0.0, 0.0)
    low, high = bootstrap_interval(values, np.mean)
    assert low == 0.0 and high > 8.75


def test_stratified_interval_resamples_within_tasks():
    # Runs of one task agree, tasks do not: only a resample that mixes tasks could vary.
    tasks = [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [5.0, 5.0, 5.0]]
    assert stratified_interval(tasks, np.mean) == (2.0, 2.0)
    low, high = stratified_interval([[0.0, 1.0, 5.0]] * 3, np.mean)
    assert low < 2.0 < high


def test_stratified_interval_is_as_wide_as_the_variances_within_tasks_say():
    rng = np.random.default_rng(9)
    tasks = [rng.normal(centre, std, 200) for centre, std in ((0.0, 1.0), (30.0, 2.0))]
    low, high = stratified_interval(tasks, np.mean)
    half = 1.96 * np.sqrt(np.var(tasks[0]) + np.var(tasks[1])) / np.sqrt(200) / 2
    assert (high - low) / 2 == pytest.approx(half, rel=0.08)
    assert (high + low) / 2 == pytest.approx(np.mean(tasks), abs=0.1 * half)


def test_stratified_interval_covers_the_mean_of_tasks():
    rng = np.random.default_rng(7)
    centres = np.array([0.0, 3.0, 10.0])
    covered = []
    for _ in range(200):
        low, high = stratified_interval(list(rng.normal(centres, 1.0, (20, 3)).T), np.mean)
        covered.append(low <= np.mean(centres) <= high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_probability_of_improvement_by_hand():
    # Pairs of the first task: 3 > 1, 3 > 2, 1 = 1, 1 < 2: 2.5 of 4. Of the second: 9 beats 0 and 8.
    value, (low, high) = probability_of_improvement([[3, 1], [9]], [[1, 2], [0, 8]])
    assert value == pytest.approx((2.5 / 4 + 1.0) / 2)
    assert low < value < high
    assert probability_of_improvement([[1, 1]], [[1, 1, 1]]) == (0.5, (0.5, 0.5))


def test_probability_of_improvement_is_mann_whitneys_u():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, 9), rng.integers(1, 7, 5)
    u = stats.mannwhitneyu(x, y).statistic
    assert probability_of_improvement([x], [y])[0] == pytest.approx(u / 45)


def test_probability_of_improvement_is_symmetric():
    rng = np.random.default_rng(1)
    x = [rng.integers(0, 5, 6), rng.integers(0, 5, 4)]
    y = [rng.integers(0, 5, 3), rng.integers(2, 5, 7)]
    forth, back = probability_of_improvement(x, y), probability_of_improvement(y, x)
    assert forth[0] + back[0] == pytest.approx(1.0)
    assert forth[1][0] + back[1][1] == pytest.approx(1.0, abs=0.03)  # other resamples
    assert forth[0] != pytest.approx(0.5, abs=0.05)


def test_probability_of_improvement_covers_the_truth():
    rng = np.random.default_rng(4)
    truth = stats.norm.cdf(0.5 / np.sqrt(2))  # of two normals half a standard deviation apart
    covered = []
    for _ in range(200):
        x, y = rng.normal(0.5, 1.0, (2, 15)), rng.normal(0.0, 1.0, (2, 15))
        low, high = probability_of_improvement(list(x), list(y))[1]
        covered.append(low <= truth <= high)
    assert 0.90 <= np.mean(covered) <= 0.98


def test_performance_profile_by_hand():
    tasks = [[0.0, 1.0, 1.0, 2.0], [1.0, 3.0]]  # a run at the threshold has reached it
    shares, low, high = performance_profile(tasks, [0.0, 1.0, 1.5, 2.5, 4.0])
    expected = [1.0, (0.75 + 1.0) / 2, (0.25 + 0.5) / 2, (0.0 + 0.5) / 2, 0.0]
    assert shares.tolist() == pytest.approx(expected)
    assert (low[0], high[0]) == (1.0, 1.0)
    assert (low[-1], high[-1]) == (0.0, 0.0)
    assert (low[3], high[3]) == (0.0, 0.5)  # of the two runs of the second task none, or both, are the better
    assert low[1] < shares[1] < high[1]


def test_mann_whitney_by_hand():
    # All of three above all of three: one of the 20 orders, and its mirror.
    assert mann_whitney([[4, 5, 6]], [[1, 2, 3]]) == pytest.approx(0.1)
    # Two such tasks: z of 1/20 is 1.6449, their sum over the root of 2 is 2.326, whose tail is 0.0100.
    assert mann_whitney([[4, 5, 6]] * 2, [[1, 2, 3]] * 2) == pytest.approx(0.02, abs=1e-3)
    assert mann_whitney([[1, 2, 3]] * 2, [[4, 5, 6]] * 2) == pytest.approx(0.02, abs=1e-3)
    assert mann_whitney([[4, 5, 6], [1, 2, 3]], [[1, 2, 3], [4, 5, 6]]) == 1.0  # each wins once


@pytest.mark.parametrize("tasks", [[], [[]], [[1.0, float("nan")]], [[[1.0], [2.0]]]])
def test_scores_that_are_none_are_refused(tasks):
    with pytest.raises(ValueError, match=r"there are no tasks|must be finite numbers, one for each run"):
        stratified_interval(tasks)
    with pytest.raises(ValueError, match=r"there are no tasks|must be finite numbers"):
        probability_of_improvement(tasks, [[1.0]])
