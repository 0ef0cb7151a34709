"""Policies on disk: tensors as safetensors and a JSON card that says how to play them.

What is exported runs without checkpoints, optimiser, configuration files or pickle: the card names the
environment, the learner's class and its settings, and `load_export` builds the policy from them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from shoal.algorithms.blocks.learner import Group, Learner, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.registry import learner_class
from shoal.baselines.checkpoints import flatten, unflatten
from shoal.baselines.config import hashable
from shoal.baselines.evaluation import learned_policy
from shoal.baselines.loggers import undefined_as_null
from shoal.baselines.policies import Player, Trained, read_run
from shoal.baselines.schema import build, plain
from shoal.baselines.teams import acting_shapes, learning_agents, make_opponents
from shoal.envs.core import Environment, UserError, make

FORMAT, FORMAT_VERSION = "shoal-policy", 1
CARD, TENSORS = "card.json", "policy.safetensors"


def export_policy(run: str | Path, output: Path | None = None, member: int | None = None) -> Path:
    """Writes a run's best policy into a folder of its own and returns the folder.

    Args:
        run: a run folder, or ``RUN@member``.
        output: by default ``RUN/export``, or ``RUN/export-N`` where member N was named.
        member: the same as a number; by default the best one by evaluation.

    Raises:
        UserError: when there is no such policy, or the folder cannot be written.
    """
    from safetensors.numpy import save

    trained = read_run(run, member)
    if output is None:
        output = trained.folder / (f"export-{trained.member}" if trained.named else "export")
    if (output / "config.yaml").exists():
        raise UserError(f"output {output} is a run folder; choose a folder of its own")
    flat = {name: value for name, value in flatten(trained.params).items() if value.size}
    tensors = save(flat, {"format": FORMAT})
    card = _card(trained) | {
        "tensors": {
            "file": TENSORS,
            "arrays": len(flat),
            "parameters": sum(value.size for value in flat.values()),
            "sha256": hashlib.sha256(tensors).hexdigest(),
        }
    }
    card = undefined_as_null(plain(card))
    card["sha256"] = _digest(card)
    text = json.dumps(card, indent=2, allow_nan=False) + "\n"
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name, content in ((TENSORS, tensors), (CARD, text.encode())):
            part = output / f"{name}.part"
            part.write_bytes(content)
            part.replace(output / name)
    except OSError as error:
        raise UserError(f"output {output} cannot be written: {error.strerror}") from error
    return output


def _card(trained: Trained) -> dict[str, Any]:
    """Returns what can be said of a policy without its tensors."""
    config, env = trained.config, trained.env
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "env": {"id": env.id, "options": config.env_options, **_spaces(env)},
        "opponent": config.opponent,  # who plays the agents that no policy owns
        "greedy": config.eval.greedy,  # how it was judged
        "policies": {name: _policy_entry(trained, *owner) for name, owner in trained.learners.items()},
        "trained": {
            "run": trained.folder.resolve().name,
            "member": trained.member,
            "seed": trained.seed,
            "swept": trained.swept,
        },
        "evaluation": _evaluation(trained),
        "versions": {
            "exported_by": metadata.version("shoal"),
            "trained_with": _json(trained.folder / "versions.json"),
        },
    }


def _policy_entry(trained: Trained, group: Group, learner: Learner) -> dict[str, Any]:
    fixed = [field.name for field in dataclasses.fields(Setting) if field.name not in ("env", "group")]
    return {
        "group": {"name": group.name, "indices": group.indices},
        "algorithm": {"name": trained.config.algorithm_name, **plain(learner.config), **trained.swept},
        "network": trained.config.network,
        "setting": {name: getattr(learner.setting, name) for name in fixed},
    }


def _spaces(env: Environment[Any, Any]) -> dict[str, Any]:
    """Returns what the tensors were shaped for."""
    return {
        "agents": env.agents,
        "observation_space": str(env.observation_space),
        "action_space": str(env.action_space),
    }


def _evaluation(trained: Trained) -> dict[str, Any]:
    """Returns how it played: in the evaluation that picked it, and in the final one where the run ended."""
    summary = _json(trained.folder / "summary.json") or {}
    members = summary.get("members") or []
    absolute = members[trained.member]["absolute"] if members else None
    return {
        "best": trained.best,
        "absolute": absolute,
        "absolute_episodes": summary.get("absolute_episodes") if absolute else None,
    }


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def _digest(card: Mapping[str, Any]) -> str:
    """Returns the checksum of everything in the card but the checksum."""
    rest = {name: value for name, value in card.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


# Reading ---------------------------------------------------------------------------------------------


def export_folder(path: Path) -> Path | None:
    """Returns the folder of an exported policy, named by itself or by one of its files; None: it is none."""
    folder = path.parent if path.name in (CARD, TENSORS) else path
    return folder if (folder / CARD).is_file() else None


def load_export(path: Path) -> Player:
    """Builds the policy that `export_policy` wrote.

    Raises:
        UserError: when a file is damaged or changed, or was made for something that is not here.
    """
    folder = export_folder(path) or path
    card = read_card(folder)
    flat = _read_tensors(folder, card)
    env = export_env(folder)
    try:
        learners = {name: _learner(env, entry) for name, entry in card["policies"].items()}
        network = build(NetworkConfig, next(iter(card["policies"].values()))["network"], "network.")
        opponents = make_opponents(card["opponent"], env, learners, network)
        shapes = {name: acting_shapes(learner) for name, (_, learner) in learners.items()}
        params = jax.tree.map(jnp.asarray, unflatten(shapes, flat))
    except (AttributeError, KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{folder} does not fit this version of Shoal: {error}") from error
    return Player(
        env,
        str(path),
        learned_policy(env, learners, opponents),
        params,
        folder,
        learning_agents(learners),
        bool(card.get("greedy", True)),
    )


def read_card(folder: Path) -> dict[str, Any]:
    """Reads and checks a card.

    Raises:
        UserError: when it is no card of ours, or has changed since it was written.
    """
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{folder / CARD} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{folder / CARD} is damaged: it is no JSON") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise UserError(f"{folder / CARD} is no card of an exported policy")
    if card.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder / CARD} has format version {card.get('format_version')!r}; this Shoal reads "
            f"{FORMAT_VERSION}"
        )
    if card.get("sha256") != _digest(card):
        raise UserError(f"{folder / CARD} has changed since it was exported; export the run again")
    return card


def export_env(folder: Path) -> Environment[Any, Any]:
    """Makes the environment that an exported policy was trained in.

    Raises:
        UserError: when it is not the same any more.
    """
    wanted = read_card(folder)["env"]
    env = make(wanted["id"], **hashable(wanted["options"]))
    found = plain(_spaces(env))
    for name, value in found.items():
        if wanted[name] != value:
            raise UserError(
                f"{folder} was exported for {env.id} with {name} {wanted[name]}; now that is {value}"
            )
    return env


def _learner(env: Environment[Any, Any], entry: Mapping[str, Any]) -> tuple[Group, Learner]:
    kind = learner_class(entry["algorithm"]["name"])
    values = {name: value for name, value in entry["algorithm"].items() if name != "name"}
    group = Group(entry["group"]["name"], tuple(entry["group"]["indices"]))
    config = build(kind.Config, values, "algorithm.")
    network = build(NetworkConfig, entry["network"], "network.")
    return group, kind(config, network, Setting(env=env, group=group, **entry["setting"]))


def _read_tensors(folder: Path, card: Mapping[str, Any]) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = folder / TENSORS
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(content).hexdigest() != card["tensors"]["sha256"]:
        raise UserError(f"{path} is damaged or has changed since it was exported; export the run again")
    try:
        return dict(load(content))
    except SafetensorError as error:
        raise UserError(f"{path} holds no tensors: {error}") from error
