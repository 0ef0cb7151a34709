"""Turning plain values into checked dataclasses, with one-line errors that name the key."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from shoal.envs.core.errors import UserError

T = TypeVar("T")


def build(kind: type[T], values: Mapping[str, Any], prefix: str, known: Iterable[str] = ()) -> T:
    """Builds a dataclass from plain values, converting each to its field's type.

    Args:
        kind: the dataclass.
        values: by field name; absent fields keep their defaults.
        prefix: where these values stand, such as ``eval.``, for messages.
        known: every full key of the configuration, to suggest from.

    Raises:
        UserError: for an unknown key or a value of the wrong type.
    """
    names = {field.name for field in dataclasses.fields(kind) if field.init}  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    ready = {}
    for name, value in values.items():
        if name not in names:
            raise unknown_key(prefix + str(name), {*known, *(prefix + n for n in names)})
        ready[name] = convert(value, hints[name], prefix + name)
    return kind(**ready)


def unknown_key(key: str, known: Iterable[str]) -> UserError:
    """Returns the error for a key that does not exist; looks for the name in other sections too."""
    known = sorted(known)
    full_of = {
        full.rpartition(".")[2]: full for full in reversed(known)
    }  # `learning_rate` -> where it stands
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if not close:
        by_last = difflib.get_close_matches(key.rpartition(".")[2], full_of, n=1, cutoff=0.6)
        close = [full_of[name] for name in by_last]
    hint = f"; did you mean {close[0]}?" if close else ""
    return UserError(f"unknown key {key!r}{hint}")


def convert(value: Any, kind: Any, key: str) -> Any:
    """Converts one plain value to a type: bool, int, float, str, tuples, mappings and unions of them.

    Raises:
        UserError: when it does not fit.
    """
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return _convert_union(value, typing.get_args(kind), key)
    if kind is Any or kind is None:
        return value
    if kind is type(None) and value is None:
        return None
    if kind is bool and isinstance(value, bool):
        return value
    if kind in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if kind is float and math.isfinite(value):
            return float(value)
        if kind is int and math.isfinite(value) and value == int(value):
            return int(value)
    if kind is str and isinstance(value, str):
        return value
    if typing.get_origin(kind) is tuple and isinstance(value, list | tuple | str):
        items = [value] if isinstance(value, str) else value
        return tuple(convert(item, typing.get_args(kind)[0], key) for item in items)
    if typing.get_origin(kind) in (dict, Mapping) and isinstance(value, Mapping):
        return dict(value)
    raise UserError(f"{key}={value!r} must be {_words(kind)}")


def _convert_union(value: Any, kinds: tuple[Any, ...], key: str) -> Any:
    for kind in kinds:
        try:
            return convert(value, kind, key)
        except UserError:
            continue
    raise UserError(f"{key}={value!r} must be {' or '.join(_words(kind) for kind in kinds)}")


def _words(kind: Any) -> str:
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a finite number",
        str: "a word",
        type(None): "null",
    }
    if typing.get_origin(kind) is tuple:
        return "a list"
    return names.get(kind, "a mapping of names to values")


def plain(value: Any) -> Any:
    """Turns dataclasses, tuples and mappings into dictionaries and lists, for YAML and JSON."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
