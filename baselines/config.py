"""What a run can be told: the schema, its checks, and the file that a run keeps of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoal.algorithms.blocks.effort import EFFORTS
from shoal.baselines.schema import build, convert, plain, unknown_key
from shoal.envs.core.errors import UserError, nearest

OPPONENTS = ("self", "pool", "scripted")


@dataclass(frozen=True)
class EvalConfig:
    """Evaluation during training."""

    every: int | None = None  # env steps; None: a twentieth of the run; 0: only at the end
    episodes: int = 64
    greedy: bool = True
    num_envs: int | None = None  # None: as many as episodes, 256 at most


@dataclass(frozen=True)
class LoggerConfig:
    """Copies of metrics.jsonl elsewhere."""

    console: bool = True  # progress on standard error
    tensorboard: bool = False
    wandb: bool = False
    project: str = "shoal"  # of W&B, like the five below
    entity: str | None = None
    mode: str = "auto"  # auto, online, offline or disabled
    tags: tuple[str, ...] = ()
    group: str | None = None  # None: the run folder's name where members have runs of their own
    run_per_member: bool = True  # one W&B run per seed and swept value, or one for all
    custom: tuple[str, ...] = ()  # loggers of one's own: module:Class, or names of entry points
    options: Mapping[str, Any] = field(default_factory=dict)  # for them to read

    def __post_init__(self) -> None:
        """Refuses an unknown mode."""
        modes = ("auto", "online", "offline", "disabled")
        if self.mode not in modes:
            raise UserError(f"logger.mode={self.mode!r} is not one of {', '.join(modes)}")


@dataclass(frozen=True)
class DistributedConfig:
    """Which process of several this is; nothing set: the only one."""

    coordinator: str | None = None  # HOST:PORT of the first process
    num_processes: int | None = None
    process_id: int | None = None  # from 0
    auto: bool = False  # ask the cluster (Slurm, Open MPI, ...) for what is not set


ENV_PREFIX = "env."
"""What stands before the names of the environment's numbers among those that are swept."""


@dataclass(frozen=True)
class RunConfig:
    """One training run; see configs/train.yaml for the meaning of the keys."""

    env_id: str
    env_options: Mapping[str, Any]
    algorithm_name: str
    algorithm: Any  # the algorithm's own Config
    network: Any  # NetworkConfig
    seed: int = 0
    num_seeds: int = 1
    num_envs: int = 64
    total_env_steps: int = 1_000_000
    sharing: str = "all"
    opponent: str | None = None  # who plays the teams but the first; None: every team learns
    opponent_pool: Any = None  # PoolConfig
    swap_sides: bool | None = None  # None: where opponent=self or pool and the teams allow it
    curriculum: bool = False  # train with the environment's own curriculum
    devices: int | str = "auto"
    shuffle_groups: int | None = None
    deterministic: bool = False
    compile_effort: str = "auto"  # on CPU; or one of blocks.effort.EFFORTS
    output_dir: str | None = None
    resume: str | None = None
    log_every: int | None = None
    checkpoint_every: float = 60.0
    eval: EvalConfig = field(default_factory=EvalConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    sweep: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # env.NAME: the environment's number

    def __post_init__(self) -> None:
        """Refuses numbers that cannot be."""
        least = {"num_seeds": 1, "num_envs": 1, "total_env_steps": 1, "seed": 0, "checkpoint_every": 0}
        least |= {"log_every": 1, "shuffle_groups": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise UserError(f"{name}={value} must be at least {low}")
        for name, low in {"every": 0, "episodes": 1, "num_envs": 1}.items():
            value = getattr(self.eval, name)
            if value is not None and value < low:
                raise UserError(f"eval.{name}={value} must be at least {low}")
        if self.opponent is not None and self.opponent not in OPPONENTS:
            raise UserError(
                f"opponent={self.opponent!r} is not one of {', '.join(OPPONENTS)}, null"
                f"{nearest(self.opponent, OPPONENTS)}"
            )
        if self.compile_effort not in (efforts := ("auto", *EFFORTS)):
            raise UserError(
                f"compile_effort={self.compile_effort!r} is not one of {', '.join(efforts)}"
                f"{nearest(self.compile_effort, efforts)}"
            )
        if self.devices != "auto" and (isinstance(self.devices, str) or self.devices < 1):
            raise UserError(f"devices={self.devices!r} must be auto or a number from 1 on")
        self._check_sweep()

    def _check_sweep(self) -> None:
        floats = [f.name for f in dataclasses.fields(self.algorithm) if isinstance(f.default, float)]
        for name, values in self.sweep.items():
            ours = name.startswith(ENV_PREFIX)  # what the environment has is seen where it is made
            if not ours and name not in floats:
                raise UserError(
                    f"sweep.{name}: algorithm.{name} is no number that can be swept side by side"
                    f"{nearest(name, floats)} (`shoal train -m` sweeps anything)"
                )
            if not values or len(set(values)) != len(values):
                raise UserError(f"sweep.{name}={list(values)} must be a list of different numbers")
            for value in values:
                if not ours:
                    dataclasses.replace(self.algorithm, **{name: value})

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update, all environments together."""
        return self.num_envs * int(self.algorithm.rollout_length)

    @property
    def total_updates(self) -> int:
        """Updates of the run; a last part that fills no update is left out."""
        return self.total_env_steps // self.steps_per_update

    def to_dict(self) -> dict[str, Any]:
        """Returns plain values, nested as they are written in YAML; `from_dict` turns them back."""
        values = plain(self)
        env = {"id": values.pop("env_id"), **values.pop("env_options")}
        algorithm = {"name": values.pop("algorithm_name"), **values.pop("algorithm")}
        return {"env": env, "algorithm": algorithm, **values}


def from_dict(values: Mapping[str, Any]) -> RunConfig:
    """Builds a run's configuration from plain values, strictly.

    Raises:
        UserError: for unknown keys, wrong types and values out of range.
    """
    from shoal.algorithms.blocks.networks import NetworkConfig
    from shoal.algorithms.blocks.opponents import PoolConfig
    from shoal.algorithms.registry import learner_class, resolve_algorithm
    from shoal.envs.core.registry import resolve

    values = {k: v for k, v in values.items() if k not in ("hydra", "config", "experiment")}
    sections: dict[str, dict[str, Any]] = {}
    for name in ("env", *_SECTIONS):
        section = values.pop(name, None)
        sections[name] = dict(convert({} if section is None else section, Mapping[str, Any], name))
    env, algorithm = sections["env"], sections["algorithm"]
    for name, section, key in (("env", env, "id"), ("algorithm", algorithm, "name")):
        if not isinstance(section.get(key), str):
            raise UserError(f"{name}= must name {'an environment' if name == 'env' else 'an algorithm'}")
    env_id, algorithm_name = resolve(env.pop("id")), resolve_algorithm(algorithm.pop("name"))
    kind = learner_class(algorithm_name).Config
    classes = {"algorithm": kind, "network": NetworkConfig, "logger": LoggerConfig, "eval": EvalConfig}
    classes |= {"opponent_pool": PoolConfig, "distributed": DistributedConfig}
    known = {f"{name}.{f.name}" for name, c in classes.items() for f in dataclasses.fields(c)}
    top = [f for f in dataclasses.fields(RunConfig) if f.name not in (*sections, *_SPLIT)]
    known |= {f.name for f in top} | {"config"}
    ready: dict[str, Any] = {name: build(c, sections[name], f"{name}.", known) for name, c in classes.items()}
    hints = _top_hints()
    for name, value in values.items():
        if name not in hints:
            raise unknown_key(name, known)
        ready[name] = convert(value, hints[name], name)
    swept = dict(sections["sweep"])
    swept |= {
        ENV_PREFIX + name: v
        for name, v in convert(swept.pop("env", {}), Mapping[str, Any], "sweep.env").items()
    }
    sweep = {name: convert(v, tuple[float, ...], f"sweep.{name}") for name, v in swept.items()}
    config = RunConfig(env_id, hashable(env), algorithm_name, sweep=sweep, **ready)
    if config.total_updates < 1:
        raise UserError(
            f"total_env_steps={config.total_env_steps} is less than one update, num_envs="
            f"{config.num_envs} x algorithm.rollout_length={config.algorithm.rollout_length}"
        )
    return config


_SECTIONS = ("algorithm", "network", "eval", "logger", "distributed", "opponent_pool", "sweep")
_SPLIT = ("env_id", "env_options", "algorithm_name")


def _top_hints() -> dict[str, Any]:
    import typing

    hints = typing.get_type_hints(RunConfig)
    return {name: hint for name, hint in hints.items() if name not in (*_SPLIT, *_SECTIONS)}


def hashable(value: Any) -> Any:
    """Turns lists of options into tuples, which static options must be."""
    if isinstance(value, Mapping):
        return {k: hashable(v) for k, v in value.items()}
    return tuple(hashable(item) for item in value) if isinstance(value, list) else value


def read_yaml(path: Path) -> dict[str, Any]:
    """Reads a run's config.yaml.

    Raises:
        UserError: when it is absent or no mapping.
    """
    from omegaconf import OmegaConf

    path = path / "config.yaml" if path.is_dir() else path
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except Exception as error:
        raise UserError(f"{path} is not YAML: {first_line(error)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no configuration")
    return {str(k): v for k, v in values.items()}


def write_yaml(config: RunConfig, path: Path) -> None:
    """Writes what was resolved; the file is whole or absent."""
    from omegaconf import OmegaConf

    # What says where it runs is no part of what runs.
    alone = plain(DistributedConfig())
    values = config.to_dict() | {"output_dir": None, "resume": None, "distributed": alone}
    text = "# What this run resolved to. Again: shoal train config=THIS_FILE\n" + OmegaConf.to_yaml(values)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def first_line(error: BaseException) -> str:
    """Returns the first line that says something, or else the kind of error."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
