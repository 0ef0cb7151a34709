"""What `shoal train` can be told, and what it answers to mistakes. Nothing here is trained."""

import dataclasses

import pytest

from shoal.baselines import build, config
from shoal.baselines.composition import compose, config_files, prepared, resumed
from shoal.envs.core import UserError

WATER = ("env=commons/water", "num_envs=8", "algorithm.rollout_length=8", "total_env_steps=6400")

PAPER = {
    "learning_rate": 0.004, "anneal_learning_rate": True, "gamma": 0.99, "gae_lambda": 0.95, "clip": 0.2,
    "entropy_coef": 0.0, "value_coef": 0.5, "max_grad_norm": 0.5, "rollout_length": 128, "epochs": 2,
    "minibatches": 2, "compat": ("paper",),
}  # fmt: skip
REPO = {**PAPER, "clip": 0.05, "entropy_coef": 0.01, "max_grad_norm": 0.25, "epochs": 4, "minibatches": 4}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("env=combat/smax-2s3zz", "no environment 'combat/smax-2s3zz'; did you mean 'combat/smax-2s3z'?"),
        ("env=commons/water-v99", "did you mean 'commons/water-v1'?"),
        ("algorithm=ipo", "there is no algorithm 'ipo'; did you mean 'ippo'?"),
        ("algorithm=ippo learning_rat=1", "key 'learning_rat'; did you mean algorithm.learning_rate?"),
        ("algorithm.clipp=1", "unknown key 'algorithm.clipp'; did you mean algorithm.clip?"),
        ("eval.evry=1", "did you mean eval.every?"),
        ("nm_envs=4", "did you mean num_envs?"),
        ("num_envs=-4", "num_envs=-4 must be at least 1"),
        ("num_envs=four", "num_envs='four' must be a whole number"),
        ("seed=1.5", "seed=1.5 must be a whole number"),
        ("algorithm.clip=-1", "algorithm.clip=-1.0 must be above 0"),
        ("algorithm.clip=.nan", "algorithm.clip"),
        ("algorithm.anneal_learning_rate=2", "must be true or false"),
        ("algorithm=5", "there is no algorithm '5'"),
        ("algorithm.compat=[paper,D9]", "has no flag 'D9'"),
        ("network=gnn", "there is no network 'gnn'"),
        ("network.core=lstm", "network.core='lstm' is not one of gru, none"),
        ("experiment=dem", "there is no experiment 'dem'; did you mean 'demo'?"),
        ("compile_effort=ful", "compile_effort='ful' is not one of auto, quick, full; did you mean 'full'?"),
        ("logger.mode=of", "logger.mode='of' is not one of"),
        ("seed", "'seed' is not of the form key=value"),
        ("seed=[1", "cannot be composed"),
        ("total_env_steps=10", "less than one update"),
        ("curriculum=half", "curriculum='half' must be true or false"),
        ("devices=0", "devices=0 must be auto or a number from 1 on"),
        ("devices=some", "devices='some' must be auto"),
        ("sweep.epochs=[1,2]", "sweep.epochs: algorithm.epochs is no number that can be swept"),
        ("sweep.clip=[0.1,0.1]", "different numbers"),
        ("sweep.clip=[0.1,-1]", "must be above 0"),
        ("config=nowhere.yaml", "cannot read nowhere.yaml"),
        ("resume=nowhere", "resume=nowhere: there is no run"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_helps(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        _ = resumed(words.split()) or compose(words.split())
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("env.max_stepz=9", "has no option 'max_stepz'; did you mean 'max_steps'?"),
        ("env.max_steps=-9", "out of range"),
        ("algorithm.minibatches=7", "do not divide into algorithm.minibatches=7"),
        ("sweep.env.regenration=[0.1]", "no parameter 'regenration'; did you mean 'regeneration'?"),
        ("sweep.env.regeneration=[0.1,7]", "out of range"),
        ("sweep.env.start=[0.1] env.start=0.2", "env.start is set as well"),
        ("curriculum=true", "commons/water-v1 has no curriculum; leave it out"),
        ("devices=99", "devices=99, but there are 2 (cpu); use devices=auto"),
        ("devices=2 num_envs=9", "do not divide over 2 devices"),
    ],
)
def test_what_only_building_finds_out(words, said):
    with pytest.raises(UserError) as error:
        build.build(compose([*WATER, *words.split()]))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("preset", "algorithm", "num_envs"), [("smax-ippo-paper", PAPER, 64), ("smax-ippo-repo", REPO, 128)]
)
def test_published_presets_are_exact(preset, algorithm, num_envs):
    made = compose([f"experiment={preset}"])
    assert {name: getattr(made.algorithm, name) for name in algorithm} == algorithm
    assert (made.num_envs, made.total_env_steps) == (num_envs, 10_000_000)
    assert (made.network.hidden_size, made.network.core, made.network.activation) == (128, "gru", "relu")
    assert made.network.shared_trunk
    assert made.network.num_layers == 1


def test_every_preset_and_choice_composes():
    for preset in config_files("experiment"):
        compose([f"experiment={preset}"])
    for network in config_files("network"):
        compose([f"network={network}"])
    assert compose(["network=mlp"]).network.core == "none"
    assert compose(["logger=wandb"]).logger.wandb
    assert not compose([]).logger.wandb


def test_overrides_win_over_presets_and_names_need_no_version():
    made = compose(["experiment=smax-ippo-paper", "algorithm.clip=0.3", "env=combat/smax-3m"])
    assert (made.algorithm.clip, made.env_id) == (0.3, "combat/smax-3m-v1")
    assert compose(["env=combat/smax-3m-v1"]).env_id == "combat/smax-3m-v1"
    assert compose(["total_env_steps=1e6"]).total_env_steps == 1_000_000


def test_environment_options_reach_the_environment():
    made = compose([*WATER, "env.max_steps=50", "env.regeneration=0.5"])
    env = build.make_env(made)
    assert env.max_steps == 50
    assert float(env.params.regeneration) == 0.5


def test_config_yaml_says_everything_and_runs_again(tmp_path):
    made = compose([*WATER, "algorithm.compat=[paper]", "sweep.clip=[1e-5,0.2]", "env.max_steps=50"])
    made = build.build(dataclasses.replace(made, output_dir="elsewhere")).config
    config.write_yaml(made, tmp_path / "config.yaml")
    again = compose([f"config={tmp_path / 'config.yaml'}"])
    assert again == dataclasses.replace(made, output_dir=None)
    other = compose([f"config={tmp_path}", "seed=7", "env=commons/water", "algorithm.clip=0.1"])
    with pytest.raises(UserError, match="takes no experiment="):
        compose([f"config={tmp_path}", "experiment=demo"])
    assert (other.seed, other.algorithm.clip, other.env_options) == (7, 0.1, {"max_steps": 50})


def test_intervals_are_resolved_onto_rows():
    made = build.build(compose([*WATER])).config  # 100 updates of 64 steps
    assert (made.total_updates, made.log_every, made.eval.every) == (100, 1, 5 * 64)
    assert made.shuffle_groups == 1
    made = build.build(compose([*WATER, "log_every=10", "eval.every=1000"])).config
    assert made.eval.every == 20 * 64  # 15.6 updates, to the nearest row
    assert build.build(compose([*WATER, "eval.every=0"])).config.eval.every == 0
    assert build.build(made).config == made


def test_shuffle_groups_follow_the_first_device_count():
    assert build.build(compose([*WATER, "devices=2"])).config.shuffle_groups == 2
    kept = build.build(compose([*WATER, "devices=2", "shuffle_groups=4"]))
    assert (kept.config.shuffle_groups, len(kept.devices)) == (4, 2)


def test_members_are_all_combinations_with_all_seeds():
    made = compose([*WATER, "seed=3", "num_seeds=2", "sweep.clip=[0.1,0.2]"])
    members = build.members_of(made)
    assert [(m.seed, m.swept["clip"]) for m in members] == [(3, 0.1), (4, 0.1), (3, 0.2), (4, 0.2)]


def test_purposes_share_no_keys():
    import jax

    keys = [
        build.named_key(seed, purpose)
        for seed in (0, 1)
        for purpose in ("training", "evaluation", "absolute")
    ]
    assert len({tuple(jax.random.key_data(key).tolist()) for key in keys}) == 6


def test_a_resume_changes_only_what_it_may(tmp_path):
    config.write_yaml(build.build(compose([*WATER])).config, tmp_path / "config.yaml")
    more = resumed([f"resume={tmp_path}", "total_env_steps=12800", "devices=2", "logger.wandb=true"])
    assert (more.total_env_steps, more.devices, more.logger.wandb) == (12800, 2, True)
    for word in ("seed=1", "algorithm.clip=0.1", "env=commons/water", "log_every=2", "experiment=demo"):
        with pytest.raises(UserError, match="continues a run as it was"):
            resumed([f"resume={tmp_path}", word])
    assert resumed(["seed=1"]) is None


def test_a_sweep_over_one_value_twice_is_refused():
    for word in ("seed=0,0", "algorithm.clip=0.1,0.2,0.1"):
        with pytest.raises(UserError, match="twice"):
            prepared([word])
    assert prepared(["seed=0,1", "algorithm.compat=[D1,D1]"])[0] == "++seed=0,1"
