"""Classes that a user names by where they are: ``module.path:Class``, or ``module.path`` that has one."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from shoal.envs.core.errors import UserError, nearest

_PATH = re.compile(r"(?=.*[.:])[A-Za-z_]\w*(\.[A-Za-z_]\w*)*(:[A-Za-z_]\w*)?")


def is_path(name: str) -> bool:
    """Returns whether a name is a Python path: identifiers between dots, or a colon before the last."""
    return _PATH.fullmatch(name) is not None


def import_module(name: str) -> Any:
    """Imports a module, from the current folder first, as ``python -m`` does and a console script does not.

    Raises:
        UserError: when there is none, or it cannot be imported, in one line; the cause follows as it was.
    """
    folder = os.getcwd()
    if folder not in sys.path and "" not in sys.path:
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except Exception as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent is not None and f"{name}.".startswith(f"{absent}."):
            raise UserError(
                f"there is no module {absent!r} in this folder or among what is installed"
            ) from error
        said = str(error).strip().splitlines() or [""]
        raise UserError(f"module {name} cannot be imported: {type(error).__name__}: {said[0]}") from error


def find_class(path: str, kind: str, lacks: Callable[[Any], str]) -> tuple[str, type[Any]]:
    """Finds the class that a Python path names.

    Args:
        path: see `is_path`.
        kind: what it is to be, for messages, such as ``environment``.
        lacks: says in words what something lacks to be one, nothing where it is one.

    Returns:
        The full path ``module:Class``, and the class.

    Raises:
        UserError: when there is no such module or class, or it is something else, or a module alone has none
            or several.
    """
    name, colon, attribute = path.partition(":")
    try:
        module = import_module(name)
    except UserError as error:
        raise UserError(f"{kind} {path}: {error}") from error
    here = {key: value for key, value in vars(module).items() if isinstance(value, type)}
    if colon:
        found = getattr(module, attribute, None)
        if found is None:
            raise UserError(f"{kind} {path}: {name} has no {attribute!r}{nearest(attribute, here)}")
        missing = lacks(found)
        if missing:
            raise UserError(f"{path} is no {kind}: {missing}")
        return path, found
    # What it imports is not its own; what it takes from modules below itself is.
    own = {k: v for k, v in here.items() if f"{v.__module__}.".startswith(f"{name}.") and not lacks(v)}
    if not own:
        raise UserError(f"module {name} defines no {kind}")
    if len(own) > 1:
        raise UserError(f"module {name} defines several of the kind {kind}; name one: {name}:{'|'.join(own)}")
    ((key, value),) = own.items()
    return f"{name}:{key}", value
