"""Behaviour, parameters and layout of an environment change only together with its version.

Each registered environment has a file of 16 recorded steps, but for sweeps, which are another one in another
size (`shoal_sweeps`). A step is played again from each recorded state:
integers and booleans must be the same (by hash), floats the same to 1e-4. When a change is meant, raise the
environment's version and write the files of what changed:

    SHOAL_WRITE_FINGERPRINTS=1 pytest tests/envs/test_fingerprints.py
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from shoal_sweeps import SWEEPS

from shoal.envs.core import Environment, RandomPolicy, list_environments, make
from shoal.envs.core.types import PyTree

FOLDER = Path(__file__).parent / "fingerprints"
WRITE = os.environ.get("SHOAL_WRITE_FINGERPRINTS") == "1"
STEPS = 16
WARM_UP = 12  # the first steps of many worlds show little: units must meet before they fight
WIDE = 128  # longer float leaves are kept as this many weighted sums
TOLERANCE = 1e-4
IDS = [id for id in list_environments() if id not in SWEEPS]
ADVICE = "raise the version of {id}, then SHOAL_WRITE_FINGERPRINTS=1 pytest tests/envs/test_fingerprints.py"


class Program:
    """One environment, compiled."""

    def __init__(self, env: Environment[Any, Any]) -> None:
        self.env = env
        self.reset = jax.jit(env.reset)
        self.step = jax.jit(env.step)
        self.world = jax.jit(env.global_state)
        policy = RandomPolicy(env)
        self.act = jax.jit(lambda key, seen: policy.act(key, (), seen)[1])
        self.structure = jax.tree.structure(jax.eval_shape(env.reset, jax.random.key(0))[0])

    def record(self) -> dict[str, Any]:
        """Returns the stepped states (leaves [16, ...]), the actions, and what came out."""
        key = jax.random.key(2024)
        opening, timestep = self.reset(key)
        state, states, actions, outs = opening, [], [], [(opening, timestep, self.world(opening))]
        for t in range(WARM_UP + STEPS):
            action = self.act(jax.random.fold_in(key, 2 * t), timestep.observation)
            following, timestep = self.step(jax.random.fold_in(key, 2 * t + 1), state, action)
            if t >= WARM_UP:
                states.append(state)
                actions.append(np.asarray(action))
                outs.append((following, timestep, self.world(following)))
            state = following
            if timestep.terminated or timestep.truncated:
                state, timestep = self.reset(jax.random.fold_in(key, 1000 + t))
        leaves = [
            np.stack([np.asarray(x) for x in row]) for row in zip(*map(jax.tree.leaves, states), strict=True)
        ]
        return {"states": leaves, "actions": np.stack(actions), "outs": outs}

    def replay(self, states: list[np.ndarray], actions: np.ndarray) -> list[Any]:
        """Returns what comes out of the recorded states now."""
        key = jax.random.key(2024)
        opening, timestep = self.reset(key)
        outs = [(opening, timestep, self.world(opening))]
        for k, action in enumerate(actions):
            state = jax.tree.unflatten(self.structure, [leaf[k] for leaf in states])
            following, timestep = self.step(jax.random.fold_in(key, 2 * (WARM_UP + k) + 1), state, action)
            outs.append((following, timestep, self.world(following)))
        return outs


def summary(outs: list[PyTree]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the floats, and one hash of everything else, by the name of the leaf."""
    floats: dict[str, list[np.ndarray]] = {}
    hashes: dict[str, Any] = {}
    for out in outs:
        for path, leaf in jax.tree_util.tree_flatten_with_path(out)[0]:
            name, value = jax.tree_util.keystr(path), np.asarray(leaf)
            if np.issubdtype(value.dtype, np.floating):
                floats.setdefault(name, []).append(narrow(value.astype(np.float64).ravel()))
            else:
                rows = hashes.setdefault(name, hashlib.sha256())
                rows.update(f"{value.dtype}{value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    numbers = {name: np.stack(rows).astype(np.float32) for name, rows in floats.items()}
    return numbers, {name: rows.hexdigest()[:16] for name, rows in hashes.items()}


def narrow(x: np.ndarray) -> np.ndarray:
    """Returns long vectors as WIDE weighted sums, each of its own stretch: weights stay near 1."""
    if x.size <= WIDE:
        return x
    weights = 1.0 + 0.5 * np.sin(np.arange(x.size) * 1.7)  # neighbours differ: an exchange shows
    return np.add.reduceat(x * weights, np.linspace(0, x.size, WIDE, endpoint=False).astype(int))


def facts(env: Environment[Any, Any]) -> dict[str, Any]:
    """Returns what a user relies on besides the behaviour: spaces, agents, numbers."""
    told = env.describe()
    for row in told["options"] + told["params"]:
        row.pop("doc")
    told.pop("citation")
    for metric in told["metrics"]:
        metric.pop("meaning")
    told: dict[str, Any] = json.loads(json.dumps(told))
    return told


def path(env: Environment[Any, Any], ending: str) -> Path:
    return FOLDER / f"{env.id.replace('/', '__')}.{ending}"


def write(program: Program) -> None:
    record = program.record()
    floats, hashes = summary(record["outs"])
    FOLDER.mkdir(exist_ok=True)
    arrays = {f"state{k}": leaf for k, leaf in enumerate(record["states"])}
    arrays |= {f"out{name}": value for name, value in floats.items()}
    np.savez_compressed(path(program.env, "npz"), actions=record["actions"], **arrays)
    document = {"facts": facts(program.env), "hashes": hashes}
    path(program.env, "json").write_text(json.dumps(document, indent=1) + "\n")


def differences(program: Program) -> list[str]:
    """Says in which leaves, and how, the environment differs from its fingerprint."""
    stored = json.loads(path(program.env, "json").read_text())
    found = [
        f"{name}: {now} instead of {stored['facts'].get(name)}"
        for name, now in facts(program.env).items()
        if now != stored["facts"].get(name)
    ]
    with np.load(path(program.env, "npz")) as file:
        arrays = dict(file)
    states = [arrays[f"state{k}"] for k in range(sum(name.startswith("state") for name in arrays))]
    if len(states) != program.structure.num_leaves:
        return [*found, f"the state has {program.structure.num_leaves} leaves instead of {len(states)}"]
    floats, hashes = summary(program.replay(states, arrays["actions"]))
    expected = {name.removeprefix("out"): value for name, value in arrays.items() if name.startswith("out")}
    if floats.keys() != expected.keys() or hashes.keys() != stored["hashes"].keys():
        names = (floats.keys() ^ expected.keys()) | (hashes.keys() ^ stored["hashes"].keys())
        return [*found, f"leaves that were added or removed: {', '.join(sorted(names))}"]
    for name, value in floats.items():
        if value.shape != expected[name].shape:
            found.append(f"{name}: {value.shape[1:]} numbers instead of {expected[name].shape[1:]}")
        elif not np.allclose(value, expected[name], rtol=TOLERANCE, atol=TOLERANCE):
            found.append(f"{name}: differs by {np.max(np.abs(value - expected[name])):g}")
    found += [f"{name}: other integers" for name, value in hashes.items() if value != stored["hashes"][name]]
    return found


@pytest.mark.parametrize("env_id", IDS)
def test_fingerprint(env_id: str) -> None:
    program = Program(make(env_id))
    if WRITE:
        write(program)
    assert path(program.env, "json").exists(), f"{env_id} has no fingerprint: {ADVICE.format(id=env_id)}"
    found = differences(program)
    assert not found, f"{env_id} changed ({'; '.join(found[:5])}): {ADVICE.format(id=env_id)}"


def test_no_fingerprint_is_left_over_or_large() -> None:
    stems = {id.replace("/", "__") for id in IDS}
    for file in FOLDER.iterdir():
        assert file.stem in stems, f"{file.name} belongs to no environment, or to one of a sweep"
        assert file.stat().st_size < 100_000, f"{file.name} is too large for the repository"


def test_changes_are_noticed() -> None:
    def changed(**overrides: Any) -> list[str]:
        return differences(Program(make("commons/water-v1", **overrides)))

    assert changed() == []
    assert any(line.startswith("params") for line in changed(regeneration=0.0551))
    assert any(line.startswith("max_steps") for line in changed(max_steps=101))
    program = Program(make("commons/water-v1"))
    step, reset = program.step, program.reset
    program.step = lambda key, state, action: step(key, state, 1 - action)
    assert any("reward" in line for line in differences(program))
    program.step, program.reset = (
        step,
        lambda key: reset(key, program.env.params.replace(start=np.float32(0.51))),
    )
    assert any("resource" in line for line in differences(program))
