"""How `shoal train` comes to its configuration: YAML, presets and overrides by Hydra, or a run's own file."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from shoal.baselines.config import RunConfig, first_line, from_dict, read_yaml
from shoal.envs.core.errors import UserError, nearest

GROUPS = ("env", "algorithm", "network", "logger", "experiment")
# What `resume=` may change.
RESUMABLE = ("devices", "distributed", "logger", "checkpoint_every", "total_env_steps")


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
        raise UserError(f"the configuration cannot be composed: {first_line(error)}") from error
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
        raise UserError(f"the configuration cannot be read: {first_line(error)}") from error
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
    from shoal.envs.adapters import BRIDGED
    from shoal.envs.core.registry import list_environments

    store = ConfigStore.instance()
    names: dict[str, dict[str, Any]] = {
        f"env/{form}": {} for id in (*list_environments(), *BRIDGED) for form in (id, id.rpartition("-v")[0])
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
                _offer_path(key, choice)
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


def _offer_path(group: str, choice: str) -> None:
    """Tells Hydra of an environment or algorithm that is named by its Python path, or of a bridged one."""
    from hydra.core.config_store import ConfigStore

    from shoal.envs.core.importing import is_path
    from shoal.envs.core.registry import BRIDGES

    choice = choice.strip("'\"")
    if group in ("env", "algorithm") and is_path(choice):
        node = {"name": choice} if group == "algorithm" else {}
        ConfigStore.instance().store(group=group, name=choice, node=node, package=group)
    suite, _, name = choice.partition("/")
    if group == "env" and suite in BRIDGES:
        ConfigStore.instance().store(group=f"env/{suite}", name=name, node={}, package="env")


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
            raise UserError(f"{key}={word} cannot be read: {first_line(error)}") from error
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
