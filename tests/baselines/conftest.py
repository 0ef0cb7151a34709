from pathlib import Path

import pytest


@pytest.fixture
def shoal_cli(capsys: pytest.CaptureFixture[str]):
    """The command line in this process: words -> exit status, standard output, standard error."""
    from shoal.baselines.cli import main

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit:
            main([str(word) for word in words])
        captured = capsys.readouterr()
        return int(exit.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def run_words() -> tuple[str, ...]:
    """What `run_folder` was trained with."""
    return (
        "env=commons/water", "env.max_steps=12", "num_envs=8", "num_seeds=2", "total_env_steps=256",
        "devices=1", "algorithm.rollout_length=8", "network.hidden_size=8", "eval.episodes=8",
        "eval.every=128",
    )  # fmt: skip


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, run_words: tuple[str, ...]) -> Path:
    """Two members, trained for a moment and evaluated twice; not to be changed."""
    from shoal.baselines.composition import compose
    from shoal.baselines.runner import train

    folder = tmp_path_factory.mktemp("played") / "run"
    train(compose([*run_words, f"output_dir={folder}"]))
    return folder
