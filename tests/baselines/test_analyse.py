"""Restraint, mixed play and Schelling diagrams, against payoffs known in closed form."""

import dataclasses
import json
import math
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.baselines.analysis.mixed import Seating, play_models, seat_kinds, seat_models
from shoal.baselines.analysis.play import Terms
from shoal.baselines.analysis.published import compare, published_restraint
from shoal.baselines.analysis.restraint import (
    COOPERATOR,
    DEFECTOR,
    UNLABELLED,
    Judged,
    Model,
    Thresholds,
    changed,
    check_alike,
    check_restraint,
    judge,
    with_raw_rewards,
)
from shoal.baselines.analysis.runs import column_of, families, read_models, restraint_table
from shoal.baselines.analysis.schelling import conditions, equilibria, of_means, payoff_table, schelling
from shoal.envs.core import UserError, make

STEPS = 12
TAKES = np.asarray([[1, 2, 3, 4], [10, 9, 8, 7]])  # of each model's agents in STEPS steps
RESTRAINT = 1 - TAKES / STEPS


@pytest.fixture(scope="module")
def plenty():
    """Water that never runs out, so that everybody can take as often as it likes."""
    return make("commons/water", max_steps=STEPS, start=1.0, regeneration=1.0)


class Quota:
    """Agent j takes from its own step ``delay[j]`` on, until its own view shows ``quota[j]`` takes."""

    needs_state = False
    traced = 0

    def __init__(self, params):
        self.params = params

    def initial_carry(self, batch=()):
        return jnp.zeros((*batch, 4), jnp.int32)

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        Quota.traced += 1
        age = jnp.where(first, 0, carry)
        hungry = observation.view[..., 1] < self.params["quota"] * 0.025 - 0.01
        return age + 1, ((age >= self.params["delay"]) & hungry).astype(jnp.int32)


def quota_model(env, number, name="quota"):
    """Model 0's agents are held back by what they have, model 1's by their memory."""
    takes = jnp.asarray(TAKES[number], jnp.float32)
    full, none = jnp.full(4, 99.0), jnp.zeros(4, jnp.int32)
    params = [
        {"quota": takes, "delay": none},
        {"quota": full, "delay": STEPS - takes.astype(jnp.int32)},
    ][number]
    return Model(f"{name}@{number}", name, number, {}, env, Quota, params, "quota")


# Who holds back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes", "steps", "restraint", "label"),
    [(30, 100, 0.7, COOPERATOR), (80, 100, 0.2, DEFECTOR), (7, 10, 0.3, UNLABELLED), (6, 6, 0.0, DEFECTOR)],
)
def test_water_by_lived_steps(takes, steps, restraint, label, strict_numerics):
    env = make("commons/water", num_agents=1)
    state = env.initial_state(env.sample_level(jax.random.key(0), env.params))
    found = env.restraint(dataclasses.replace(state, takes=jnp.asarray([takes]), t=jnp.int32(steps)))
    np.testing.assert_allclose(found, [restraint], atol=1e-6)
    assert Thresholds().classify(found).tolist() == [label]


def test_govsim_by_months_with_the_newcomers_absence_left_out(strict_numerics):
    env = make("commons/govsim-fishery", newcomer=True, newcomer_month=3)
    state = env.initial_state(env.sample_level(jax.random.key(0), env.params))
    lived = dataclasses.replace(state, kept=jnp.asarray([9, 0, 6, 3, 3]), t=jnp.int32(9))
    np.testing.assert_allclose(env.restraint(lived), [1, 0, 2 / 3, 1 / 3, 1 / 2], atol=1e-6)


def test_thresholds_are_choices():
    found = Thresholds(0.1, 0.2).classify([0.05, 0.1, 0.2, 0.3])
    assert found.tolist() == [DEFECTOR, UNLABELLED, UNLABELLED, COOPERATOR]
    with pytest.raises(UserError, match="would be both"):
        Thresholds(0.5, 0.4)


def test_payoffs_are_what_everybody_earned_for_itself():
    water = with_raw_rewards(make("commons/water", coop_gamma=0.1, reward_norm=0.0325, regeneration=0.1))
    assert [float(getattr(water.params, n)) for n in ("coop_gamma", "reward_norm")] == [0.0, 1.0]
    assert float(water.params.regeneration) == np.float32(0.1)
    for id in ("commons/govsim-fishery", "commons/govsim-trash"):
        assert with_raw_rewards(make(id, reward="common")).options.reward == "individual"


def test_models_are_judged_in_their_own_worlds(plenty):
    scarce = changed(plenty, {"regeneration": 0.0, "start": 0.05, "coop_gamma": 1.0})
    models = [quota_model(plenty, 0), quota_model(plenty, 1), quota_model(scarce, 1)]
    judged = judge(models, Terms(episodes=2, steps=STEPS), Thresholds(0.4, 0.5))
    for number in (0, 1):
        np.testing.assert_allclose(judged[number].restraint, RESTRAINT[number], atol=1e-6)
        np.testing.assert_allclose(judged[number].payoff, TAKES[number] * 0.025, atol=1e-6)
    # From step 2 one takes, from step 3 two: the pool of two takes is empty, and that step paid nobody.
    np.testing.assert_allclose(judged[2].restraint, [1 / 2, 3 / 4, 1, 1], atol=1e-6)
    np.testing.assert_allclose(judged[2].payoff, [0.025, 0, 0, 0], atol=1e-6)
    assert judged[1].labels.tolist() == [DEFECTOR, DEFECTOR, DEFECTOR, UNLABELLED]
    cut = judge(models[1:2], Terms(episodes=1, steps=4), Thresholds())[0]
    np.testing.assert_allclose(cut.restraint, [1 / 2, 3 / 4, 1, 1], atol=1e-6)


# Who plays with whom ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("apart", [True, False])
def test_everybody_plays_where_it_is_said_to(plenty, apart):
    models = [dataclasses.replace(quota_model(plenty, number), apart=apart) for number in range(2)]
    labels = Thresholds(0.45, 0.45).classify(RESTRAINT)
    rng = np.random.default_rng(0)
    seatings = [seat_models(labels, count, 6, rng) for count in range(5)]
    Quota.traced = 0
    found = play_models(plenty, models, seatings, Terms(steps=STEPS))
    once = Quota.traced
    for count, seating in enumerate(seatings):
        np.testing.assert_allclose(found.restraint[count], RESTRAINT[seating.model, seating.slot], atol=1e-6)
        np.testing.assert_allclose(found.payoff[count], TAKES[seating.model, seating.slot] / 40, atol=1e-6)
        assert np.all(seating.cooperates.sum(axis=1) == count)
    moved = np.concatenate([seating.slot for seating in seatings]) != np.arange(4)
    assert moved.any()
    Quota.traced = 0
    play_models(plenty, models, seatings[1:2], Terms(steps=STEPS))
    assert once == Quota.traced  # one program, however many mixtures


class Whisper:
    """Everybody does what the agent before it says."""

    needs_state = False

    def __init__(self, params):
        self.params = params

    def initial_carry(self, batch=()):
        return ()

    def act(self, key, carry, observation, state=None, greedy=True, first=None):
        said = jnp.broadcast_to(self.params["says"], observation.alive.shape)
        return carry, jnp.roll(said, 1, axis=-1)


def test_agents_of_several_models_hear_each_other(plenty):
    says = np.asarray([[0, 1, 1, 0], [1, 0, 1, 1]], np.int32)
    models = [
        Model(str(k), "w", k, {}, plenty, Whisper, {"says": jnp.asarray(says[k])}, "w", apart=True)
        for k in range(2)
    ]
    model, slot = np.asarray([[0, 0, 1, 1], [1, 0, 1, 0]], np.int32), np.asarray([[0, 1, 2, 3], [3, 1, 1, 0]])
    seating = Seating(np.zeros((2, 4), bool), model, slot.astype(np.int32))
    found = play_models(plenty, models, [seating], Terms(steps=STEPS))
    np.testing.assert_allclose(found.restraint[0], 1 - np.roll(says[model, slot], 1, axis=1), atol=1e-6)


def test_a_team_in_its_own_places_plays_as_it_does_alone(run_folder):
    models = read_models([str(run_folder)])
    terms = Terms(episodes=2, greedy=True)
    alone = judge(models, terms, Thresholds())
    numbers = np.asarray([[1] * 4, [0] * 4], np.int32)
    seating = Seating(numbers == 1, numbers, np.tile(np.arange(4, dtype=np.int32), (2, 1)))
    found = play_models(with_raw_rewards(models[0].env), models, [seating], terms)
    for run, number in enumerate((1, 0)):
        np.testing.assert_allclose(found.payoff[0][run], alone[number].payoff, atol=1e-6)
        np.testing.assert_allclose(found.restraint[0][run], alone[number].restraint, atol=1e-6)


def test_cooperators_come_from_one_model_and_keep_their_places():
    c, u, d = COOPERATOR, UNLABELLED, DEFECTOR
    labels = np.asarray([[c, c, u, d], [d, c, c, c], [u, d, u, u]])
    rng = np.random.default_rng(1)
    for count in range(5):
        seating = seat_models(labels, count, 40, rng)
        mine = seating.cooperates
        if count == 4:  # no model has so many
            assert seating.runs == 0
            continue
        assert np.all(mine.sum(axis=1) == count)
        assert np.all(labels[seating.model, seating.slot][mine] == c)
        assert np.all(labels[seating.model, seating.slot][~mine] == d)
        assert np.all(seating.slot[mine] == np.nonzero(mine)[1])
        for model, cooperates in zip(seating.model, mine, strict=True):
            assert len(set(model[cooperates])) <= 1
        drawn = set(zip(seating.model[~mine].tolist(), seating.slot[~mine].tolist(), strict=True))
        assert drawn == {(0, 3), (1, 0), (2, 1)}
    assert seat_models(labels[2:], 1, 5, rng).runs == 0  # nobody cooperates
    assert seat_models(np.full((1, 4), c), 4, 5, rng).runs == 5
    assert seat_models(np.full((1, 4), c), 3, 5, rng).runs == 0  # nobody defects


def test_two_policies_take_places_by_chance():
    seating = seat_kinds(5, 2, 200, np.random.default_rng(0))
    assert np.all(seating.cooperates.sum(axis=1) == 2)
    assert np.all(seating.slot == np.arange(5))
    assert len({tuple(row) for row in seating.cooperates.tolist()}) == 10


# What it amounts to ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "cooperator", "defector", "dilemma", "even"),
    [
        ("prisoner's dilemma", [0.0, 3.0], [1.0, 4.0], True, [0]),
        ("stag hunt", [0.0, 4.0], [1.0, 3.0], True, [0, 2]),
        ("chicken", [1.0, 3.0], [0.0, 4.0], True, [1]),
        ("harmony", [2.0, 4.0], [1.0, 3.0], False, [2]),
    ],
)
def test_games_of_two(pattern, cooperator, defector, dilemma, even):
    diagram = of_means(cooperator, defector)
    found = conditions(diagram)
    lone, both = cooperator
    assert (found["c1"], found["c2"]) == (both - defector[0], both - lone)
    assert (found["fear"], found["greed"]) == (defector[0] - lone, defector[1] - both)
    assert (found["pattern"], found["dilemma"], found["published_dilemma"]) == (pattern, dilemma, dilemma)
    assert equilibria(diagram) == even
    assert payoff_table(diagram)[1] == {
        "others": 1, "cooperate": both, "defect": defector[1], "temptation": defector[1] - both,
    }  # fmt: skip


def test_the_published_third_condition_is_the_last_positive_gap():
    assert conditions(of_means([1, 1, 1], [4, 3, 0]))["c3"] == 2
    assert conditions(of_means([1, 1, 1], [0, -1, -3]))["c3"] == -1
    middle = conditions(of_means([1, 2, 3], [0, 4, 2]))  # neither fear nor greed
    assert (middle["c3"], middle["published_dilemma"], middle["dilemma"]) == (2, True, False)


def test_diagram_of_runs():
    payoffs = [np.asarray([[1.0, 3.0], [5.0, 7.0]]), np.asarray([[2.0, 6.0], [4.0, 0.0]]), np.zeros((0, 2))]
    kinds = [np.zeros((2, 2), bool), np.asarray([[True, False], [False, True]]), np.zeros((0, 2), bool)]
    found = schelling(payoffs, kinds)
    np.testing.assert_allclose(found.defector, [4, 5, math.nan])
    np.testing.assert_allclose(found.defector_std, [2, 1, math.nan])
    np.testing.assert_allclose(found.cooperator, [math.nan, 1, math.nan])
    np.testing.assert_allclose(found.overall, [4, 3, math.nan])
    np.testing.assert_allclose(found.overall_std, [2, 1, math.nan])
    assert found.runs.tolist() == [2, 2, 0]
    unknown = conditions(found)
    assert (unknown["fear"], unknown["c1"], unknown["dilemma"]) == (3, None, None)
    assert equilibria(found) == [0]


# Rows, columns and readings --------------------------------------------------------------------------------


def judged_water(learner, rate, restraint, gamma=0.0, seed=0):
    env = make("commons/water", regeneration=rate, coop_gamma=gamma)
    model = Model(f"{learner}@{rate}{gamma}{seed}", learner, seed, {}, env, Quota, (), "quota")
    held = np.asarray(restraint, np.float64)
    return Judged(model, held, held, Thresholds().classify(held))


def test_table_of_restraint():
    found = [
        judged_water("ia2c", 0.1, [0.1, 0.3, 0.2, 0.2]),
        judged_water("ia2c", 0.1, [0.4, 0.4, 0.4, 0.4], seed=1),
        judged_water("ia2c", 0.03, [0.6, 0.6, 0.6, 0.6]),
        judged_water("ia2c", 0.03, [0.5, 0.5, 0.5, 0.5], gamma=0.1),
    ]
    models = [j.model for j in found]
    assert column_of(models[:2], None) is None
    assert column_of(models[:3], None) == "regeneration"
    assert column_of(models, "coop_gamma") == "coop_gamma"
    with pytest.raises(UserError, match="did you mean 'coop_gamma'"):
        column_of(models, "coop_gama")
    rows = families(models, "regeneration")
    assert [family.row for family in rows] == ["ia2c [coop_gamma=0]", "ia2c [coop_gamma=0.1]"]
    columns, table = restraint_table({rows[0].row: found[:3], rows[1].row: found[3:]}, "regeneration")
    assert columns == [0.1, 0.03]
    first, second = table["ia2c [coop_gamma=0]"]
    assert (first["mean"], first["std"], first["models"]) == pytest.approx((0.3, 0.1, 2))
    assert (first["cooperators"], first["defectors"], second["cooperators"]) == (4, 3, 4)
    assert table["ia2c [coop_gamma=0.1]"][0]["mean"] is None


def test_readings_and_verdicts():
    table = published_restraint("commons/water-v1", "regeneration")
    assert published_restraint("commons/water-v1", "start") is None

    def cells(*means):
        return [{"value": v, "mean": m} for v, m in zip((0.1, 0.053, 0.042), means, strict=True)]

    rows = {"ia2c": cells(0.9, 0.52, 0.61), "commnet": cells(0.1, 0.51, 0.62), "ours": cells(0.0, 0.0, 0.0)}
    found = compare(table, rows, {name: name for name in rows})
    assert set(found) == {"ia2c", "commnet"}
    assert [cell["published"] for cell in found["ia2c"]] == [0.20, 0.47, 0.54]
    assert [cell["verdict"] for cell in found["ia2c"]] == [None, "pass", "fail"]
    assert [cell["verdict"] for cell in found["commnet"]] == [None, "pass", "fail"]
    alone = compare(table, {"dial": cells(0.1, 0.48, 0.5)}, {"dial": "dial"})["dial"]
    assert [cell["verdict"] for cell in alone] == [None, "fail", "pass"]  # beside the reading of ia2c


# The command -----------------------------------------------------------------------------------------------


def test_pure_strategies_on_water(shoal_cli, tmp_path):
    pytest.importorskip("matplotlib")
    status, out, _ = shoal_cli(
        "analyse", "commons/water", "env.regeneration=0.055", "--cooperator", "idle",
        "--defector", "defector", "--episodes", 3, "--json", "--output", tmp_path / "plots",
    )  # fmt: skip
    assert status == 0
    report = json.loads(out)
    (diagram,) = report["mixed"]
    assert diagram["cooperator"] == [None, 0, 0, 0, 0]
    assert diagram["defector"] == pytest.approx([0.225, 0.55, 2.5, 2.5, None], abs=1e-5)
    assert diagram["overall"] == pytest.approx([0.225, 0.4125, 1.25, 0.625, 0], abs=1e-5)
    assert diagram["overall_std"] == pytest.approx([0] * 5, abs=1e-6)
    assert diagram["cooperator_restraint"] == [None, 1, 1, 1, 1]
    assert diagram["defector_restraint"] == pytest.approx([0, 0, 0, 0, None], abs=1e-6)
    found = diagram["conditions"]
    assert [found[name] for name in ("c1", "c2", "c3", "fear", "greed")] == pytest.approx(
        [-0.225, 0, 2.5, 0.225, 2.5], abs=1e-5
    )
    assert not found["dilemma"] and diagram["equilibria"] == [0]
    names = {path.name for path in (tmp_path / "plots").iterdir()}
    assert names == {"schelling-idle-and-defector.png", "schelling-idle-and-defector.svg", "analysis.json"}
    assert {str(tmp_path / "plots" / name) for name in names} == set(report["files"])
    kept = json.loads((tmp_path / "plots" / "analysis.json").read_text())
    assert kept["mixed"] == report["mixed"]


def test_pure_strategies_on_the_fishery(shoal_cli):
    words = ["--cooperator", "restrained", "--defector", "greedy", "--episodes", 2]
    status, out, _ = shoal_cli("analyse", "commons/govsim-fishery", "env.reward=common", *words)
    assert status == 0
    assert "120.000 ± 0.000" in out  # ten a month for twelve months, not the sum that is paid
    assert "stag hunt" in out


def test_members_of_a_run(run_folder, tmp_path, shoal_cli):
    """Two members, of which the configuration is made to say that they differ in the inflow."""
    folder = tmp_path / "run"
    shutil.copytree(run_folder, folder)
    text = (folder / "config.yaml").read_text()
    assert "num_seeds: 2" in text and "sweep: {}" in text
    text = text.replace("num_seeds: 2", "num_seeds: 1")
    text = text.replace("sweep: {}", "sweep:\n  env.regeneration: [0.1, 0.053]")
    (folder / "config.yaml").write_text(text)
    words = ["analyse", f"ia2c={folder}", "--episodes", 4]
    status, out, _ = shoal_cli(*words, "--no-mixed", "--json")
    assert status == 0
    report = json.loads(out)
    assert (report["column"], report["restraint"]["columns"], report["mixed"]) == (
        "regeneration",
        [0.1, 0.053],
        [],
    )
    each = [agent for model in report["models"] for agent in model["restraint"]]
    assert len(each) == 8 and all(0 <= agent <= 1 for agent in each)
    cells = report["restraint"]["rows"]["ia2c"]
    assert np.mean([cell["mean"] for cell in cells]) == pytest.approx(np.mean(each))
    assert [cell["published"] for cell in report["published"]["rows"]["ia2c"]] == [0.20, 0.47]
    ordered = sorted(each)
    middle = (ordered[3] + ordered[4]) / 2
    bounds = ["--defector-below", middle, "--cooperator-above", middle]
    status, out, _ = shoal_cli(*words, *bounds)
    assert status == 0
    for said in (
        "mean restraint by regeneration",
        "verdict",
        "R_c(c)",
        "regeneration 0.055",
        "fear",
        "equilibria",
    ):
        assert said in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["commons/water", "--cooperator", "idle", "--defector", "defectr"], "did you mean 'defector'"),
        (["commons/watr", "--cooperator", "idle", "--defector", "random"], "did you mean 'commons/water'"),
        (["commons/water", "--cooperator", "idle"], "go together"),
        (["commons/water"], "no run folder 'commons/water'"),
        (["env.start=1"], "analyse what?"),
        (["commons/water", "env.start=0,1", "--cooperator", "idle", "--defector", "random"], "one value"),
        (["RUN", "--cooperator", "idle", "--defector", "random"], "policies of one environment"),
        (["commons/water", "--cooperator", "RUN", "--defector", "idle"], "trained with env.max_steps=12"),
        (
            ["commons/govsim-trash", "--cooperator", "RUN", "--defector", "idle"],
            "not in commons/govsim-trash",
        ),
        (["RUN", "--cooperator-above", "2"], "no cooperators"),
        (["RUN", "--defector-below", "-1"], "no defectors"),
        (["RUN", "RUN@0"], "named twice"),
        (["RUN", "--episodes", "0"], "at least 1"),
        (["RUN", "--no-mixed", "env.start=1"], "--no-mixed leaves out"),
        (["RUN@7"], "no member 7"),
        (["RUN", "--by", "start_"], "did you mean 'start'"),
    ],
)
def test_mistakes_are_one_line(words, said, run_folder, shoal_cli):
    words = [word.replace("RUN", str(run_folder)) for word in words]
    status, out, err = shoal_cli("analyse", *words)
    assert (status, out) == (2, "")
    assert said in err
    assert len(err.splitlines()) == 1


def test_trained_policies_as_kinds(run_folder, shoal_cli):
    status, out, _ = shoal_cli(
        "analyse", "commons/water", "env.max_steps=12", "env.reward_norm=0.1", "--cooperator", "idle",
        "--defector", f"{run_folder}@1", "--episodes", 2, "--json",
    )  # fmt: skip
    assert status == 0
    (diagram,) = json.loads(out)["mixed"]
    assert diagram["cooperator"] == [None, 0, 0, 0, 0]
    restraint = np.asarray(diagram["defector_restraint"][:4])
    assert np.all((restraint > 0) & (restraint < 1))
    # No pool is empty after 12 steps of which many are waited in, so takes are what was paid.
    np.testing.assert_allclose(diagram["defector"][:4], (1 - restraint) * 12 * 0.025, atol=1e-5)


def test_without_a_notion_of_restraint(shoal_cli):
    with pytest.raises(UserError, match="does not say what restraint is"):
        check_restraint(make("particle/simple-spread"))
    words = ["--cooperator", "idle", "--defector", "random", "--episodes", 2, "--steps", 3, "--json"]
    status, out, _ = shoal_cli("analyse", "particle/simple-spread", *words)
    assert status == 0
    (diagram,) = json.loads(out)["mixed"]
    assert diagram["runs"] == [2] * 4 and None not in diagram["overall"]
    assert diagram["cooperator_restraint"] == diagram["defector_restraint"] == [None] * 4


def test_agents_that_cannot_stand_in_for_each_other():
    class Torn(type(make("commons/water"))):
        def make_metadata(self):
            return dataclasses.replace(super().make_metadata(), teams=(0, 0, 1, 1))

    with pytest.raises(UserError, match="several kinds or teams"):
        check_alike(Torn("toy/torn-v1"))
