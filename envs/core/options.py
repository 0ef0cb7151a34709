"""Declaring what can be set on an environment, and refusing what cannot."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from flax import struct

from shoal.envs.core.errors import UserError, nearest

T = TypeVar("T")


def option(
    default: Any, doc: str, *, low: Any = None, high: Any = None, choices: tuple[Any, ...] = ()
) -> Any:
    """A static field of an Options dataclass: shapes arrays or picks code, so changing it recompiles."""
    return dataclasses.field(default=default, metadata=_rules(doc, low, high, choices))


def param(default: Any, doc: str, *, low: Any = None, high: Any = None) -> Any:
    """A number of a Params dataclass: a pytree leaf, so changing it does not recompile."""
    return struct.field(default=default, metadata=_rules(doc, low, high, ()))


def _rules(doc: str, low: Any, high: Any, choices: tuple[Any, ...]) -> dict[str, Any]:
    return {"doc": doc, "low": low, "high": high, "choices": choices}


def check_fields(instance: Any) -> None:
    """Checks every declared range, choice and kind of a dataclass instance.

    Raises:
        UserError: names the field, its value and what would be right.
    """
    for field in dataclasses.fields(instance):
        check_value(field, getattr(instance, field.name))


def check_value(field: dataclasses.Field[Any], value: Any) -> None:
    """Checks one value against one declared field (see `check_fields`)."""
    rules = field.metadata
    choices, low, high = rules.get("choices", ()), rules.get("low"), rules.get("high")
    if choices and value not in choices:
        raise UserError(f"{field.name}={value!r} is not one of {', '.join(map(repr, choices))}")
    if isinstance(field.default, bool) and not isinstance(value, bool):
        raise UserError(f"{field.name}={value!r} must be true or false")
    if low is None and high is None:
        return
    wanted = f"must be {_range(low, high)}"
    try:
        number = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{field.name}={value!r} is not a number; it {wanted}") from error
    default: Any = field.default
    shape = np.shape(default)
    if number.shape != shape:
        raise UserError(f"{field.name}={value!r} must be {f'{shape[0]} numbers' if shape else 'one number'}")
    whole = isinstance(field.default, int) and not isinstance(field.default, bool)
    if whole and not np.all(number == np.round(number)):
        raise UserError(f"{field.name}={value!r} must be a whole number and {wanted}")
    if not np.all(np.isfinite(number)):
        raise UserError(f"{field.name}={value!r} is not finite; it {wanted}")
    if (low is not None and np.any(number < low)) or (high is not None and np.any(number > high)):
        raise UserError(f"{field.name}={value!r} is out of range; it {wanted}")


def _range(low: Any, high: Any) -> str:
    if high is None:
        return f"at least {low}"
    if low is None:
        return f"at most {high}"
    return f"between {low} and {high}"


def split_overrides(
    what: str, overrides: Mapping[str, Any], options: type[Any], params: type[Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Sorts overrides into those of the Options and those of the Params dataclass.

    Raises:
        UserError: for a name that neither declares, with the nearest one that exists.
    """
    static = {f.name for f in dataclasses.fields(options)}
    traced = {f.name for f in dataclasses.fields(params)}
    for name in overrides:
        if name not in static | traced:
            raise UserError(f"{what} has no option {name!r}{nearest(name, static | traced)}")
    return (
        {k: v for k, v in overrides.items() if k in static},
        {k: v for k, v in overrides.items() if k in traced},
    )


def as_leaves(params: T) -> T:
    """Turns a Params dataclass's numbers and lists of them into NumPy leaves: float32, int32 or bool."""
    fields: Any = params

    def leaf(value: Any) -> Any:
        array = np.asarray(value)
        if array.dtype == np.float64:
            return array.astype(np.float32)
        return array.astype(np.int32) if array.dtype == np.int64 else array

    return dataclasses.replace(
        fields, **{f.name: leaf(getattr(fields, f.name)) for f in dataclasses.fields(fields)}
    )


def describe_fields(instance: Any) -> list[dict[str, Any]]:
    """Lists the fields of an Options or Params instance for `describe`: name, value, default, doc, bounds."""
    rows = []
    for field in dataclasses.fields(instance):
        rules = field.metadata
        default = None if field.default is dataclasses.MISSING else field.default
        row = {"name": field.name, "value": _plain(getattr(instance, field.name)), "default": _plain(default)}
        row["doc"] = rules.get("doc", "")
        row |= {k: _plain(rules[k]) for k in ("low", "high", "choices") if rules.get(k) not in (None, ())}
        rows.append(row)
    return rows


def _plain(value: Any) -> Any:
    """Returns arrays as lists of numbers, float32 by its shortest decimal, tuples as lists."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    array = np.asarray(value)
    if array.dtype == np.float32:
        return np.array([float(str(x)) for x in array.ravel()]).reshape(array.shape).tolist()
    return array.tolist() if array.dtype.kind in "biuf" else value
