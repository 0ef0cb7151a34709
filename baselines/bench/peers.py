"""Peers' training scripts, run as they are, and their hyperparameters in our words."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shoal.envs.core.errors import UserError

SCRIPTS = {"ippo": ("IPPO/ippo_rnn_smax.py", "IPPO/config/ippo_rnn_smax.yaml")}
"""Algorithm -> JaxMARL's script and its settings, below ``baselines/`` of its repository."""
OURS = {
    "NUM_ENVS": "num_envs",
    "NUM_STEPS": "algorithm.rollout_length",
    "LR": "algorithm.learning_rate",
    "ANNEAL_LR": "algorithm.anneal_learning_rate",
    "UPDATE_EPOCHS": "algorithm.epochs",
    "NUM_MINIBATCHES": "algorithm.minibatches",
    "GAMMA": "algorithm.gamma",
    "GAE_LAMBDA": "algorithm.gae_lambda",
    "CLIP_EPS": "algorithm.clip",
    "ENT_COEF": "algorithm.entropy_coef",
    "VF_COEF": "algorithm.value_coef",
    "MAX_GRAD_NORM": "algorithm.max_grad_norm",
    "GRU_HIDDEN_DIM": "network.hidden_size",
    "ACTIVATION": "network.activation",
}
"""What the peer's setting is called by us."""


def jaxmarl_settings(repo: Path, algorithm: str, env_id: str) -> dict[str, Any]:
    """Reads the hyperparameters that JaxMARL's script is published with.

    Raises:
        UserError: when the checkout lacks the script, or there is none for this task.
    """
    import yaml

    bare = env_id.rpartition("-v")[0]
    if algorithm not in SCRIPTS or not bare.startswith("combat/smax-"):
        raise UserError(f"jaxmarl has no script known here for {algorithm} on {env_id}")
    script, settings = (repo / "baselines" / name for name in SCRIPTS[algorithm])
    for path in (script, settings):
        if not path.is_file():
            raise UserError(
                f"--peer-repo {repo}: there is no {path}; give a checkout of JaxMARL's repository"
            )
    # The file asks the environment for an account that nobody needs here.
    text = settings.read_text(encoding="utf-8").replace("${oc.env:WANDB_ENTITY}", "nobody")
    values = yaml.safe_load(text)
    values["MAP_NAME"] = bare.removeprefix("combat/smax-")
    if values["GRU_HIDDEN_DIM"] != values["FC_DIM_SIZE"]:
        raise UserError("the peer's widths differ from each other, which our network does not have")
    return dict(values)


def our_overrides(settings: Mapping[str, Any]) -> list[str]:
    """Returns the peer's hyperparameters as our overrides; the network is the recurrent one of that width."""

    def word(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    return ["network=rnn", *(f"{ours}={word(settings[theirs])}" for theirs, ours in OURS.items())]


def jaxmarl_training(repo: Path, algorithm: str) -> Callable[[dict[str, Any]], Callable[..., Any]]:
    """Imports JaxMARL's script as it is and returns its ``make_train``."""
    os.environ["WANDB_MODE"] = "disabled"
    import wandb

    wandb.init(mode="disabled")  # the script logs at every update
    sys.path.insert(0, str(repo))
    path = repo / "baselines" / SCRIPTS[algorithm][0]
    spec = importlib.util.spec_from_file_location("peer_script", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_script"] = module  # flax looks its modules up by name
    spec.loader.exec_module(module)
    return module.make_train
