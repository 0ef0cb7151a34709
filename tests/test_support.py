"""The test settings themselves: devices, run-time type checks, strict numerics, quick choice, cache."""

import importlib
import os
import sys
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace

import jax
import jax.numpy as jnp
import jaxtyping
import pytest
import shoal_compile_cache
import shoal_quick

SOURCE = """
import flax.linen as nn
from flax import struct
from jax import Array
from jaxtyping import Float

@struct.dataclass
class State:
    x: Array
    y: Array

def add(x: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
    return x + y

def rate(value: float) -> float:
    return value

class Net(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Float[Array, "batch features"]) -> Float[Array, "batch width"]:
        return nn.Dense(self.width)(x)
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """A module imported through the same hook as shoal.envs."""
    folder = tmp_path_factory.mktemp("hooked")
    (folder / "hooked_module.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    try:
        with jaxtyping.install_import_hook(["hooked_module"], "shoal_typecheck.check"):
            return importlib.import_module("hooked_module")
    finally:
        sys.path.remove(str(folder))


def test_two_cpu_devices() -> None:
    assert jax.local_device_count("cpu") == 2


def test_our_packages_are_type_checked_at_run_time() -> None:
    import shoal.envs

    assert type(shoal.envs.__loader__).__name__ == "_JaxtypingLoader"


def test_wrong_shapes_are_refused(checked: ModuleType) -> None:
    assert checked.add(jnp.ones(3), jnp.ones(3)).shape == (3,)
    with pytest.raises(jaxtyping.TypeCheckError):
        checked.add(jnp.ones(3), jnp.ones(1))
    with pytest.raises(jaxtyping.TypeCheckError):
        checked.add(jnp.ones(3, int), jnp.ones(3, int))
    with pytest.raises(jaxtyping.TypeCheckError):
        checked.rate("0.1")
    assert checked.rate(1) == 1


def test_dataclass_pytrees_survive_the_checks(checked: ModuleType) -> None:
    state = checked.State(jnp.ones(3), jnp.ones(3))
    assert jax.tree.map(lambda leaf: leaf.shape, state) == checked.State((3,), (3,))
    assert jax.eval_shape(lambda s: s.replace(x=s.y), state).x.shape == (3,)
    assert jax.vmap(lambda s: s.x + s.y.sum(), in_axes=(checked.State(0, None),))(state).shape == (3,)
    assert type(jax.device_get(state).x).__module__ == "numpy"


def test_flax_modules_survive_the_checks(checked: ModuleType) -> None:
    net = checked.Net(4)
    params = net.init(jax.random.key(0), jnp.ones((2, 3)))
    assert net.apply(params, jnp.ones((2, 3))).shape == (2, 4)
    with pytest.raises(jaxtyping.TypeCheckError):
        net.apply(params, jnp.ones(3))


def test_strict_numerics(strict_numerics: None) -> None:
    with pytest.raises(Exception, match="promotion"):
        jnp.ones(3, jnp.float32) + jnp.ones(3, jnp.int32)
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.ones((2, 3)) + jnp.ones(3)


def test_warnings_from_our_code_are_errors() -> None:
    with pytest.raises(UserWarning):
        exec("import warnings; warnings.warn('ours', stacklevel=1)", {"__name__": "shoal.envs.made_up"})
    with pytest.warns(UserWarning, match="theirs"):
        exec("import warnings; warnings.warn('theirs', stacklevel=1)", {"__name__": "shoal_of_others"})
    with warnings.catch_warnings(record=True) as seen:
        exec(
            "import warnings; warnings.warn('old', DeprecationWarning, stacklevel=1)",
            {"__name__": "distrax.x"},
        )
    assert not seen


@dataclass
class FakeItem:
    nodeid: str
    marks: tuple[str, ...] = ()
    params: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return Path("/checkout") / self.nodeid.partition("::")[0]

    @property
    def callspec(self) -> SimpleNamespace:
        return SimpleNamespace(params=self.params)

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self.marks else None


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((), [0, 3, 4]),
        (("envs/swarm/env.py",), [0, 3, 4, 5]),
        (("tests/test_a.py",), [0, 1, 3, 4]),
        (("README.md",), [0, 3, 4]),
    ],
)
def test_quick_choice(changed: tuple[str, ...], expected: list[int]) -> None:
    items = [
        FakeItem("tests/test_a.py::test_x"),
        FakeItem("tests/test_a.py::test_slow", ("slow",)),
        FakeItem("tests/test_b.py::test_learns", ("learning",)),
        FakeItem("tests/test_c.py::test_all[1]", params={"env_id": "combat/a-v1"}),
        FakeItem("tests/test_c.py::test_all[2]", params={"env_id": "swarm/a-v1"}),
        FakeItem("tests/test_c.py::test_all[3]", params={"env_id": "swarm/b-v1"}),
        FakeItem("tests/test_c.py::test_all[4]", params={"env_id": "combat/b-v1"}),
    ]
    kept, left_out = shoal_quick.choose(items, Path("/checkout"), frozenset(changed))
    assert [items.index(item) for item in kept] == expected
    assert len(kept) + len(left_out) == len(items)


def test_cache_is_tidied(tmp_path: Path) -> None:
    for age, (name, size) in enumerate(
        [("new-cache", 10), ("old-cache", 10), ("empty-cache", 0), ("other", 0)]
    ):
        (tmp_path / name).write_bytes(b"x" * size)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    shoal_compile_cache.tidy(tmp_path, max_bytes=15)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new-cache", "other"]
