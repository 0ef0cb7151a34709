"""Trains JaxMARL's own Q-learning script on simple_spread, to lay its greedy test beside our evaluations.

    python tests/parity/peer_q_learning.py ../JaxMARL vdn --steps 500000 --seeds 2

Takes a checkout of its repository, whose script and settings are used as they are but for the number of
steps. Prints, per seed, the returns of its tests during training (512 episodes each, summed over agents).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import wandb
import yaml

from shoal.baselines.bench.peers import jaxmarl_training

TESTED = "test_returned_episode_returns"


def settings(repo: Path, algorithm: str, steps: float) -> dict[str, Any]:
    """Returns the published settings of its MPE runs, cut to ``steps`` environment steps."""
    path = repo / "baselines" / "QLearning" / "config" / "alg" / "ql_rnn_mpe.yaml"
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    # What its entry point would add; it logs, and so shows its tests, only when W&B is not disabled.
    values |= {"NUM_SEEDS": 1, "SEED": 0, "HYP_TUNE": False, "WANDB_MODE": "online"}
    return values | {"ALG_NAME": algorithm, "WANDB_LOG_ALL_SEEDS": False, "TOTAL_TIMESTEPS": steps}


def main() -> None:
    """Trains and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("repo", type=Path)
    parser.add_argument("algorithm", choices=("iql", "vdn", "qmix"))
    parser.add_argument("--steps", type=float, default=500_000)
    parser.add_argument("--seeds", type=int, default=1)
    asked = parser.parse_args()
    make = jaxmarl_training(asked.repo, asked.algorithm)
    logged: list[dict[str, Any]] = []
    wandb.log = lambda row, *_, **__: logged.append(row)  # nothing leaves this process
    train = jax.jit(make(settings(asked.repo, asked.algorithm, asked.steps)))
    for seed in range(asked.seeds):
        logged.clear()
        jax.block_until_ready(train(jax.random.PRNGKey(seed)))
        jax.effects_barrier()
        seen = [float(row[TESTED]) for row in logged]
        changes = [round(x, 2) for x, before in zip(seen, [None, *seen], strict=False) if x != before]
        print(json.dumps({"seed": seed, "steps": asked.steps, "test_returns": changes}), flush=True)


if __name__ == "__main__":
    main()
