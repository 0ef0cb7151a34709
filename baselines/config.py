"""What `shoal train` can be told: the schema, its composition from YAML and overrides, and its checks."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from shoal.baselines.schema import build, convert, plain, unknown_key
from shoal.envs.core.errors import UserError, nearest

OPPONENTS = ("self", "pool", "scripted")
GROUPS = ("env", "algorithm", "network", "logger", "experiment")
# What `resume=` may change.
RESUMABLE = ("devices", "distributed", "logger", "checkpoint_every", "total_env_steps")


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
    devices: int | str = "auto"
    shuffle_groups: int | None = None
    deterministic: bool = False
    output_dir: str | None = None
    resume: str | None = None
    log_every: int | None = None
    checkpoint_every: float = 60.0
    eval: EvalConfig = field(default_factory=EvalConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    distributed: DistributedConfig = field(default_factory=DistributedConfig)
    sweep: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

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
        if self.devices != "auto" and (isinstance(self.devices, str) or self.devices < 1):
            raise UserError(f"devices={self.devices!r} must be auto or a number from 1 on")
        self._check_sweep()

    def _check_sweep(self) -> None:
        floats = [f.name for f in dataclasses.fields(self.algorithm) if isinstance(f.default, float)]
        for name, values in self.sweep.items():
            if name not in floats:
                raise UserError(
                    f"sweep.{name}: algorithm.{name} is no number that can be swept side by side"
                    f"{nearest(name, floats)} (`shoal train -m` sweeps anything)"
                )
            if not values or len(set(values)) != len(values):
                raise UserError(f"sweep.{name}={list(values)} must be a list of different numbers")
            for value in values:
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
    from shoal.algorithms.registry import learner_class
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
    env_id, algorithm_name = resolve(env.pop("id")), algorithm.pop("name")
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
    sweep = {name: convert(v, tuple[float, ...], f"sweep.{name}") for name, v in sections["sweep"].items()}
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


# Composition ----------------------------------------------------------------------------------------


def compose(overrides: Sequence[str]) -> RunConfig:
    """Composes configs/train.yaml, presets and overrides by Hydra, once.

    Args:
        overrides: Hydra's, such as ``env=combat/smax-3m`` or ``algorithm.clip=0.1``.

    Raises:
        UserError: for anything that a user can have got wrong.
    """
    words = _parse(overrides)
    if "config" in words and words["config"] not in ("null", ""):
        return from_dict(_rerun(words))
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    register_choices()
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_module("shoal.configs", version_base="1.3"):
            composed = hydra.compose("train", prepared(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"the configuration cannot be composed: {_first_line(error)}") from error
    return from_dict(composed_values(composed))


def composed_values(composed: Any) -> dict[str, Any]:
    """Returns a composed configuration as plain values; what ``env=`` names becomes ``env.id``."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    choices = dict(composed.hydra.runtime.choices)
    try:
        values = {
            str(key): OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
            for key, node in composed.items()
            if key != "hydra"
        }
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration cannot be read: {_first_line(error)}") from error
    if isinstance(values.get("env"), dict | None):
        options: Any = values.get("env") or {}
        values["env"] = {"id": choices["env"], **options}
    return values


def register_choices() -> None:
    """Tells Hydra of every registered environment and algorithm, for ``env=`` and ``algorithm=``.

    A YAML file of the same path under configs/ comes before these and supplies defaults.
    """
    from hydra.core.config_store import ConfigStore

    from shoal.algorithms.registry import list_algorithms
    from shoal.envs.core.registry import list_environments

    store = ConfigStore.instance()
    names: dict[str, dict[str, Any]] = {
        f"env/{form}": {} for id in list_environments() for form in (id, id.rpartition("-v")[0])
    }
    names |= {f"algorithm/{name}": {"name": name} for name in list_algorithms()}
    for name, node in names.items():
        group, _, option = name.rpartition("/")
        if option not in config_files(group):
            store.store(group=group, name=option, node=node, package=name.partition("/")[0])


def prepared(overrides: Sequence[str]) -> list[str]:
    """Checks the choices of groups and lets every other key through to our own checks.

    Raises:
        UserError: for a malformed override, an unknown choice, or a value swept twice.
    """
    _parse(overrides)
    ready = []
    for word in overrides:
        key, _, value = word.partition("=")
        swept = value.split(",") if not re.search(r"[\[({'\"]", value) else [value]
        if len(set(swept)) != len(swept):
            raise UserError(f"{word} names a value twice; the runs would be the same")
        if key in GROUPS:
            for choice in value.split(","):
                _check_choice(key, choice)
            ready.append(word)
        else:
            # Hydra refuses keys that the YAML does not mention; the schema decides instead.
            ready.append(word if key[:1] in "+~" else f"++{word}")
    return ready


def _parse(overrides: Sequence[str]) -> dict[str, str]:
    words = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals and not key.startswith("~"):
            raise UserError(f"{word!r} is not of the form key=value, such as env=combat/smax-3m")
        if not re.fullmatch(r"[+~]{0,2}[A-Za-z_][\w./@-]*", key):
            raise UserError(f"{word!r} is not of the form key=value, such as seed=3")
        words[key.lstrip("+")] = value
    return words


def _check_choice(group: str, choice: str) -> None:
    """Refuses a group's choice that neither the registries nor the YAML files know."""
    from shoal.algorithms.registry import learner_class
    from shoal.envs.core.registry import resolve

    choice = choice.strip("'\"")
    if group == "env":
        resolve(choice)
    elif group == "algorithm":
        learner_class(choice)
    else:
        files = config_files(group)
        if choice not in (*files, "null"):
            raise UserError(f"there is no {group} {choice!r}{nearest(choice, files)}")


@cache
def config_files(group: str) -> list[str]:
    """Returns the names of a group's YAML files."""
    from importlib import resources

    folder = resources.files("shoal.configs") / group
    entries = folder.iterdir() if folder.is_dir() else ()
    return sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".yaml"))


def _rerun(words: Mapping[str, str]) -> dict[str, Any]:
    """Reads ``config=FILE`` and lays the other overrides over it."""
    for group in ("network", "logger", "experiment"):
        if group in words:
            raise UserError(f"config= runs a run again and takes no {group}=; set single keys instead")
    values = read_yaml(Path(words["config"]))
    for name in ("output_dir", "resume"):  # it is a new run
        values[name] = None
    return overlaid(values, {k: v for k, v in words.items() if k != "config"})


def overlaid(values: dict[str, Any], words: Mapping[str, str]) -> dict[str, Any]:
    """Returns plain values with ``key=value`` words laid over them, without presets.

    Raises:
        UserError: for a value that cannot be read.
    """
    from omegaconf import OmegaConf

    for key, word in words.items():
        try:
            value = OmegaConf.to_container(OmegaConf.from_dotlist([f"value={word}"]))["value"]  # type: ignore[call-overload, index]
        except Exception as error:
            raise UserError(f"{key}={word} cannot be read: {_first_line(error)}") from error
        *path, last = key.split(".")
        if not path and last in ("env", "algorithm"):
            path, last = [last], "id" if last == "env" else "name"
        place = values
        for name in path:
            place[name] = {} if place.get(name) is None else place[name]
            place = place[name]
            if not isinstance(place, dict):
                raise UserError(f"{key}: {name} is not a section")
        place[last] = value
    return values


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
        raise UserError(f"{path} is not YAML: {_first_line(error)}") from error
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


def resumed(overrides: Sequence[str]) -> RunConfig | None:
    """Returns the configuration of ``resume=RUN``, with what a resume may change; None without ``resume=``.

    Raises:
        UserError: when RUN is no run, or something else is to be changed.
    """
    words = _parse(overrides)
    run = words.pop("resume", "null")
    if run in ("null", ""):
        return None
    folder = Path(run)
    if not (folder / "config.yaml").is_file():
        raise UserError(f"resume={run}: there is no run (no {folder / 'config.yaml'})")
    for key in words:
        if key.split(".")[0] not in RESUMABLE or key == "logger":
            raise UserError(f"resume= continues a run as it was; it takes {', '.join(RESUMABLE)}, not {key}")
    return dataclasses.replace(from_dict(overlaid(read_yaml(folder), words)), resume=run, output_dir=run)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
