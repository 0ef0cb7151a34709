"""The script that plays a trained policy inside the peer's SMAX, here given a scripted policy."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import shoal.baselines
from shoal import make
from shoal.baselines.policies import Player

pytestmark = [pytest.mark.parity, pytest.mark.slow]

SCRIPT = Path(__file__).with_name("transfer.py")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smax_transfer", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_verdict(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    env = make("combat/smax-3m")
    policy = env.scripted_policies()["scripted"]()
    monkeypatch.setattr(shoal.baselines, "load_policy", lambda run: Player(env, run, lambda _: policy))
    kept = {}
    monkeypatch.setattr(
        script, "transfer", lambda *rest, play=script.transfer: kept.setdefault("results", play(*rest))
    )
    assert script.main(["runs/none", "--episodes", "256", "--at-least", "0.35"]) == 0
    printed = capsys.readouterr().out
    assert "jaxmarl  win rate 0." in printed and "verdict  transfers" in printed
    # The games above again, with a level that they do not reach, and as if ours had won none.
    assert script.main(["runs/none", "--at-least", "0.95"]) == 1
    theirs, ours = kept["results"]
    kept["results"] = theirs, ours._replace(won=np.zeros_like(ours.won))
    assert script.main(["runs/none"]) == 1
    assert "DOES NOT TRANSFER" in capsys.readouterr().out


def test_entities_are_taken_apart_as_in_ours(script: ModuleType) -> None:
    import jax

    _, seen = make("combat/smax-3m").reset(jax.random.key(0))
    _, wanted = make("combat/smax-3m", view="entities").reset(jax.random.key(0))
    jax.tree.map(
        np.testing.assert_array_equal, script.entity_view(seen.observation.view), wanted.observation.view
    )


def test_without_a_run_it_says_so_in_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path / "none")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: there is no run folder")
