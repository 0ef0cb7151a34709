"""The command ``shoal``: its commands, and one line for what a user got wrong."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

from shoal.baselines import commands

# In --help; others follow.
ORDER = (
    "train", "evaluate", "compare", "analyse", "reproduce", "watch", "export", "export_results",
    "bench", "envs", "describe", "doctor",
)  # fmt: skip

INTERRUPTED = 130


class Commands(TyperGroup):
    """Suggests the nearest command for one that does not exist."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """As in click, with our words."""
        if args and not args[0].startswith("-") and self.get_command(ctx, args[0]) is None:
            from shoal.envs.core.errors import UserError, nearest

            raise UserError(f"there is no command {args[0]!r}{nearest(args[0], self.commands)}")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="shoal",
    cls=Commands,
    help="Multi-agent reinforcement learning in JAX: train, evaluate, watch, compare.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def options(
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of errors. May stand anywhere."),
) -> None:
    """Multi-agent reinforcement learning in JAX: train, evaluate, watch, compare."""


def _register() -> None:
    """Takes every module of `shoal.baselines.commands`: its function, or Typer app, of the module's name."""
    names = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    for name in [*(n for n in ORDER if n in names), *sorted(names.difference(ORDER))]:
        found = getattr(importlib.import_module(f"{commands.__name__}.{name}"), name)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name.replace("_", "-"))
        else:
            app.command(name.replace("_", "-"))(found)


_register()


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a command and exits: 0 when done, 2 for what the user can repair, 130 and 143 when interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        status = app(args=words, prog_name="shoal", standalone_mode=False)
    except typer.Exit as exit:
        status = exit.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("shoal: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except Exception as error:
        line = _line(error)
        if debug or line is None:
            raise
        print(f"shoal: {line}", file=sys.stderr)
        status = 2
    sys.exit(status if isinstance(status, int) else 0)


def _line(error: Exception) -> str | None:
    """Returns what to print for an error that the user can repair, None for one of ours."""
    kinds = {kind.__name__ for kind in type(error).__mro__}  # by name: importing them costs a second
    if "UserError" in kinds:
        return str(error)
    return error.format_message() if "ClickException" in kinds else None  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
