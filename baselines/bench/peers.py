"""Peers' training scripts, run as they are, and their hyperparameters in our words."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.envs.core.errors import UserError

_SHARED = {
    "NUM_ENVS": "num_envs",
    "NUM_STEPS": "algorithm.rollout_length",
    "LR": "algorithm.learning_rate",
    "GAMMA": "algorithm.gamma",
    "MAX_GRAD_NORM": "algorithm.max_grad_norm",
}
_PPO = _SHARED | {
    "ANNEAL_LR": "algorithm.anneal_learning_rate",
    "UPDATE_EPOCHS": "algorithm.epochs",
    "NUM_MINIBATCHES": "algorithm.minibatches",
    "GAE_LAMBDA": "algorithm.gae_lambda",
    "CLIP_EPS": "algorithm.clip",
    "ENT_COEF": "algorithm.entropy_coef",
    "VF_COEF": "algorithm.value_coef",
    "GRU_HIDDEN_DIM": "network.hidden_size",
    "ACTIVATION": "network.activation",
}
_Q = _SHARED | {
    "HIDDEN_SIZE": "network.hidden_size",
    "BUFFER_SIZE": "algorithm.buffer_size",
    "BUFFER_BATCH_SIZE": "algorithm.batch_size",
    "NUM_EPOCHS": "algorithm.gradient_steps",
    "LEARNING_STARTS": "algorithm.learning_starts",
    "TARGET_UPDATE_INTERVAL": "algorithm.target_interval",
    "TAU": "algorithm.tau",
    "REW_SCALE": "algorithm.reward_scale",
    "EPS_START": "algorithm.epsilon_start",
    "EPS_FINISH": "algorithm.epsilon_finish",
    "EPS_DECAY": "algorithm.epsilon_decay",
    "LR_LINEAR_DECAY": "algorithm.anneal_learning_rate",
}
_MIXER = {
    "MIXER_EMBEDDING_DIM": "algorithm.mixer_size",
    "MIXER_HYPERNET_HIDDEN_DIM": "algorithm.hypernet_size",
    "MIXER_INIT_SCALE": "algorithm.mixer_gain",
}


@dataclass(frozen=True)
class Script:
    """A training script of the peer."""

    path: str  # below ``baselines/`` of its repository
    settings: str  # its hyperparameters, likewise
    ours: Mapping[str, str]  # what each is called by us
    replays: bool = False  # it learns only once its replay holds a batch, so the rollouts before are left out

    def updates_before_learning(self, settings: Mapping[str, Any]) -> int:
        """Returns how many updates only fill the replay: it wants a batch of rollouts in each environment."""
        if not self.replays:
            return 0
        steps = settings["NUM_ENVS"] * settings["NUM_STEPS"]
        return max(int(settings["BUFFER_BATCH_SIZE"]), -(-int(settings["LEARNING_STARTS"]) // steps))


SCRIPTS = {
    "ippo": Script("IPPO/ippo_rnn_smax.py", "IPPO/config/ippo_rnn_smax.yaml", _PPO),
    "mappo": Script(
        "MAPPO/mappo_rnn_smax.py",
        "MAPPO/config/mappo_homogenous_rnn_smax.yaml",
        _PPO | {"OBS_WITH_AGENT_ID": "algorithm.agent_id"},
    ),
    "iql": Script("QLearning/iql_rnn.py", "QLearning/config/alg/ql_rnn_smax.yaml", _Q, replays=True),
    "vdn": Script("QLearning/vdn_rnn.py", "QLearning/config/alg/ql_rnn_smax.yaml", _Q, replays=True),
    "qmix": Script(
        "QLearning/qmix_rnn.py", "QLearning/config/alg/ql_rnn_smax.yaml", _Q | _MIXER, replays=True
    ),
}


def jaxmarl_settings(repo: Path, algorithm: str, env_id: str) -> dict[str, Any]:
    """Reads the hyperparameters that JaxMARL's script is published with.

    Raises:
        UserError: when the checkout lacks the script, or there is none for this task.
    """
    import yaml

    bare = env_id.rpartition("-v")[0]
    if algorithm not in SCRIPTS or not bare.startswith("combat/smax-"):
        raise UserError(f"jaxmarl has no script known here for {algorithm} on {env_id}")
    script = SCRIPTS[algorithm]
    paths = [repo / "baselines" / name for name in (script.path, script.settings)]
    for path in paths:
        if not path.is_file():
            raise UserError(
                f"--peer-repo {repo}: there is no {path}; give a checkout of JaxMARL's repository"
            )
    # The file asks the environment for an account that nobody needs here.
    text = paths[1].read_text(encoding="utf-8").replace("${oc.env:WANDB_ENTITY}", "nobody")
    values = dict(yaml.safe_load(text))
    values["MAP_NAME"] = bare.removeprefix("combat/smax-")
    if values.get("GRU_HIDDEN_DIM") != values.get("FC_DIM_SIZE"):
        raise UserError("the peer's widths differ from each other, which our network does not have")
    if script.replays:
        # What its entry point would add; its evaluations are no part of what is timed.
        values |= {"NUM_SEEDS": 1, "SEED": 0, "HYP_TUNE": False, "WANDB_MODE": "disabled"}
        values |= {"ALG_NAME": algorithm, "WANDB_LOG_ALL_SEEDS": False, "TEST_DURING_TRAINING": False}
    return values


def our_overrides(algorithm: str, settings: Mapping[str, Any]) -> list[str]:
    """Returns the peer's hyperparameters as our overrides; the network is the recurrent one of that width."""

    def word(value: Any) -> str:
        return str(value).lower() if isinstance(value, bool) else str(value)

    names = SCRIPTS[algorithm].ours.items()
    return ["network=rnn", *(f"{ours}={word(settings[theirs])}" for theirs, ours in names)]


def jaxmarl_training(repo: Path, algorithm: str) -> Callable[[dict[str, Any]], Callable[..., Any]]:
    """Imports JaxMARL's script as it is and returns what makes its training function from settings."""
    os.environ["WANDB_MODE"] = "disabled"
    import wandb

    wandb.init(mode="disabled")  # the script logs at every update
    sys.path.insert(0, str(repo))
    path = repo / "baselines" / SCRIPTS[algorithm].path
    spec = importlib.util.spec_from_file_location("peer_script", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_script"] = module  # flax looks its modules up by name
    spec.loader.exec_module(module)
    if not SCRIPTS[algorithm].replays:
        return module.make_train

    def make(settings: dict[str, Any]) -> Callable[..., Any]:
        env, _ = module.env_from_config({**settings, "ENV_KWARGS": dict(settings["ENV_KWARGS"])})
        return module.make_train(settings, env)

    return make
