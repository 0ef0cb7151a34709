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
