"""The type checker that the jaxtyping import hook of conftest.py puts around our functions."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

# An int where a float is expected is fine, as everywhere in Python's typing.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check arguments and results of `function`, unless it is a constructor.

    jax rebuilds a dataclass pytree by calling its constructor with whatever stands at the leaves (None, an
    axis number, a ShapeDtypeStruct, a partition spec), so a checked `__init__` breaks tree_map, eval_shape,
    vmap's in_axes and device_get. mypy checks constructor calls instead.
    """
    return function if function.__name__ == "__init__" else _checked(function)
