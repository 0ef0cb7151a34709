"""Settings and fixtures of all tests; the module level runs before any test imports jax or shoal."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest
import shoal_compile_cache
import shoal_quick

ROOT = Path(__file__).resolve().parent.parent

# Programs that a test starts (the CLI, say) inherit these; the number of devices they choose themselves.
CACHE = shoal_compile_cache.folder()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE))
# Small programs too: the workers would each compile thousands of the same.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")

# Shapes and types of our functions are checked at run time; must precede the first import of shoal.envs.
jaxtyping.install_import_hook(["shoal.envs", "shoal.algorithms"], "shoal_typecheck.check")

import jax  # noqa: E402

jax.config.update("jax_num_cpu_devices", 2)
gc.set_threshold(
    100_000, 50, 50
)  # a collection walks over all that JAX has traced; a tenth of the time went there
MOST_MAPS = 20_000  # pieces of memory that one process holds


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--quick", action="store_true", help="no slow tests, one scenario per family plus what changed"
    )


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # once, before xdist starts its workers
        shoal_compile_cache.tidy(CACHE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--quick"):
        kept, left_out = shoal_quick.choose(items, ROOT, shoal_quick.changed_files(ROOT))
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Forgets compiled programs between files before the kernel refuses to map more (65,530 by default)."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def repository() -> Path:
    """The checkout's root folder."""
    return ROOT


@pytest.fixture
def strict_numerics() -> Iterator[None]:
    """No silent dtype or rank promotion: for tests of our own code that calls no third-party library."""
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield


@pytest.fixture(scope="session")
def traces_dir() -> Path:
    """Steps recorded from originals: $SHOAL_TRACES, by default ../shared/traces beside the checkout."""
    folder = Path(os.environ.get("SHOAL_TRACES") or ROOT.parent / "shared" / "traces")
    if not folder.is_dir():
        pytest.skip(f"no recorded traces at {folder}; set SHOAL_TRACES to the folder that holds them")
    return folder
