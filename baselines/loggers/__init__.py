"""Where rows go: metrics.jsonl (the record), the terminal, and copies elsewhere.

Weights & Biases, TensorBoard and a user's own loggers are sinks beside the record, each behind a guard: one
that fails is switched off with one line, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata, util
from typing import Any

from shoal.baselines.config import LoggerConfig
from shoal.baselines.loggers.display import Display, Waiting
from shoal.baselines.loggers.sinks import (
    Guarded,
    JsonLines,
    Row,
    RunInfo,
    Sink,
    numbers_of,
    one_line,
    undefined_as_null,
)
from shoal.envs.core.errors import UserError, nearest
from shoal.envs.core.importing import import_module

__all__ = [
    "Display",
    "Guarded",
    "JsonLines",
    "Row",
    "RunInfo",
    "Sink",
    "Waiting",
    "copies",
    "numbers_of",
    "undefined_as_null",
]

GROUP = "shoal.loggers"  # entry points
Warn = Callable[[str], None]
Opener = Callable[[RunInfo, Warn], Guarded]


def copies(config: LoggerConfig) -> list[Opener]:
    """Returns what opens the sinks beside metrics.jsonl, guarded; to be called before a run is begun.

    Raises:
        UserError: for a logger that does not exist or whose package is not installed.
    """
    openers = [_guarded("W&B", lambda run, warn: _wandb(config, run, warn))] if config.wandb else []
    if config.tensorboard:
        if util.find_spec("tensorboardX") is None:
            raise UserError("logger.tensorboard needs tensorboardX; pip install 'shoal[tensorboard]'")
        openers.append(_guarded("TensorBoard", lambda run, _: _tensorboard(run)))
    for name in config.custom:
        openers.append(_guarded(f"logger {name}", _own(logger_class(name))))
    return openers


def logger_class(name: str) -> Callable[[RunInfo], Sink]:
    """Returns the class that ``logger.custom`` names: ``module:Class``, or a ``shoal.loggers`` entry point.

    Raises:
        UserError: when it cannot be found.
    """
    module, colon, attribute = name.partition(":")
    entries = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if not colon and name not in entries:
        hint = nearest(name, entries) or "; name a class as my_module:MyLogger"
        raise UserError(f"logger.custom={name}: there is no such logger{hint}")
    try:
        found: Any = getattr(import_module(module), attribute) if colon else entries[name].load()
    except Exception as error:
        raise UserError(f"logger.custom={name}: {one_line(error)}") from error
    missing = [method for method in ("write", "close") if not callable(getattr(found, method, None))]
    if missing:
        raise UserError(f"logger.custom={name} has no method {' and no method '.join(missing)}")
    return found


def _guarded(name: str, make: Callable[[RunInfo, Warn], Sink]) -> Opener:
    return lambda run, warn: Guarded(name, lambda: make(run, warn), warn)


def _own(kind: Callable[[RunInfo], Sink]) -> Callable[[RunInfo, Warn], Sink]:
    return lambda run, _: kind(run)


def _wandb(config: LoggerConfig, run: RunInfo, warn: Warn) -> Sink:
    from shoal.baselines.loggers.wandb_runs import WandbSink

    return WandbSink(config, run, warn)


def _tensorboard(run: RunInfo) -> Sink:
    from shoal.baselines.loggers.tensorboard import TensorBoardSink

    return TensorBoardSink(run)
