"""A copy on Weights & Biases."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoal.baselines.config import LoggerConfig
from shoal.baselines.loggers.sinks import Row, RunInfo, numbers_of, one_line

IDS = "shoal-ids.json"  # in RUN/wandb: which runs a resume goes on with


class WandbSink:
    """One W&B run per member, all in one group; or one run for all (``logger.run_per_member=false``).

    Online, or offline where there is no account or no network (``logger.mode``).
    """

    def __init__(self, config: LoggerConfig, run: RunInfo, warn: Callable[[str], None]) -> None:
        """Starts the runs."""
        import wandb

        self.wandb = wandb
        self.config = config
        self.info = run
        self.warn = warn
        self.mode: Any = os.environ.get("WANDB_MODE") or config.mode
        if self.mode == "auto":
            self.mode = "online" if wandb.api.api_key else "offline"
        apart = config.run_per_member and len(run.members) > 1
        parts: list[Mapping[str, Any] | None] = list(run.members) if apart else [None]
        ids = self._ids(len(parts))
        self.runs = [self._start(id, member) for id, member in zip(ids, parts, strict=True)]

    def write(self, rows: Sequence[Row]) -> None:
        """Logs each member to its run, or all to one run under ``memberN/``."""
        update = rows[0]["update"]
        if len(self.runs) == len(rows):
            for run, row in zip(self.runs, rows, strict=True):
                run.log(numbers_of(row), step=update)
        else:
            flat = {f"member{row['member']}/{k}": v for row in rows for k, v in numbers_of(row).items()}
            self.runs[0].log(flat | {"env_steps": rows[0]["env_steps"]}, step=update)

    def close(self) -> None:
        """Finishes the runs."""
        for run in self.runs:
            run.finish()

    def _ids(self, count: int) -> list[str]:
        """Returns the runs' ids: new ones, or those that a resumed run had."""
        file = self.info.folder / "wandb" / IDS
        if self.info.resumed and file.exists():
            ids = json.loads(file.read_text(encoding="utf-8"))
            if len(ids) == count:
                return list(ids)
        ids = [secrets.token_hex(4) for _ in range(count)]
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(ids), encoding="utf-8")
        return ids

    def _start(self, id: str, member: Mapping[str, Any] | None) -> Any:
        name, values = self.info.folder.name, dict(self.info.config)
        group = self.config.group
        if member is not None:
            values |= {k: v for k, v in member.items() if k in ("seed", "member")}
            swept = {k.partition(".")[2]: v for k, v in member.items() if k.startswith("algorithm.")}
            values["algorithm"] = {**values["algorithm"], **swept}
            group = group or name
            name = "-".join([name, f"seed{member['seed']}", *(f"{k}{v:g}" for k, v in swept.items())])
        arguments: dict[str, Any] = {
            "project": self.config.project,
            "entity": self.config.entity,
            "tags": list(self.config.tags),
            "group": group,
            "name": name,
            "id": id,
            "dir": str(self.info.folder),
            "config": values,
            "reinit": "create_new",  # runs of several members are open at once
            "settings": self.wandb.Settings(init_timeout=20, console="off", silent=True),
        }
        if self.info.resumed:
            arguments["resume"] = "allow"
        run = self._init(arguments)
        run.define_metric("*", step_metric="env_steps")
        return run

    def _init(self, arguments: Mapping[str, Any]) -> Any:
        try:
            return self.wandb.init(mode=self.mode, **arguments)
        except Exception as error:
            if self.mode != "online":
                raise
            self.warn(f"W&B cannot be reached ({one_line(error)}); writing an offline run instead")
            self.mode = "offline"
            return self.wandb.init(mode="offline", **arguments)
