"""Names, versions, plugins, and errors that name the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from types import SimpleNamespace

import pytest
import shoal_toys as toys

import shoal
from shoal.envs.core import UserError, describe, list_environments, make, register, registry

ENTRY = "shoal_toys:Chain"


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test registers is forgotten after it."""
    list_environments()
    monkeypatch.setattr(registry, "_registry", dict(registry._registry))
    yield


def refused(message: str, id: str, **overrides: object) -> None:
    with pytest.raises(UserError, match=message) as caught:
        make(id, **overrides)
    assert "\n" not in str(caught.value)


def test_newest_version_is_meant() -> None:
    for version, length in ((2, 5), (10, 6), (1, 4)):
        register(f"toy/chain-v{version}", ENTRY, length=length)
    assert make("toy/chain").id == "toy/chain-v10"
    assert make("toy/chain").options.length == 6
    assert make("toy/chain-v2").options.length == 5
    assert isinstance(make("toy/chain"), toys.Chain)


def test_overrides_win_over_the_scenario() -> None:
    register("toy/long-v1", ENTRY, length=50, slip=0.25)
    env = make("toy/long", length=7)
    assert (env.options.length, float(env.params.slip)) == (7, 0.25)


def test_unknown_ids() -> None:
    register("toy/chain-v1", ENTRY)
    refused(
        r"there is no environment 'toy/chian'; did you mean 'toy/chain'\?; `shoal envs` lists all",
        "toy/chian",
    )
    refused(r"there is no environment 'toy/chain-v7'; did you mean 'toy/chain-v1'\?", "toy/chain-v7")
    refused(r"there is no environment ''", "")


def test_unknown_and_impossible_overrides() -> None:
    register("toy/chain-v1", ENTRY)
    refused(r"toy/chain-v1 has no option 'lenght'; did you mean 'length'\?", "toy/chain", lenght=3)
    refused(r"length=1 is out of range; it must be between 2 and 100", "toy/chain", length=1)


@pytest.mark.parametrize(
    "id", ["chain-v1", "toy/chain", "toy/chain-v", "Toy/chain-v1", "toy/ch ain-v1", "a/b/c-v1"]
)
def test_malformed_ids_are_refused(id: str) -> None:
    with pytest.raises(UserError, match="must look like family/scenario-v1"):
        register(id, ENTRY)


def test_one_id_is_one_environment() -> None:
    register("toy/chain-v1", ENTRY, length=5)
    register("toy/chain-v1", ENTRY, length=5)  # the same again is harmless
    with pytest.raises(UserError, match="already registered by shoal_toys:Chain"):
        register("toy/chain-v1", ENTRY, length=6)


def test_plugins_are_loaded_once_from_entry_points(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []

    def load() -> None:
        loads.append(1)
        register("plugged/chain-v1", ENTRY)

    def entry_points(group: str) -> list[SimpleNamespace]:
        assert group == "shoal.envs"
        return [SimpleNamespace(load=load)]

    monkeypatch.setattr(metadata, "entry_points", entry_points)
    registry._load_plugins.cache_clear()
    try:
        assert make("plugged/chain").id == "plugged/chain-v1"
        assert "plugged/chain-v1" in list_environments()
        assert loads == [1]
    finally:
        registry._load_plugins.cache_clear()


def test_listing_and_describing() -> None:
    register("toy/chain-v1", ENTRY)
    assert list_environments() == sorted(list_environments())
    assert describe("toy/chain")["id"] == "toy/chain-v1"
    assert shoal.make is make
    assert {"combat/smax-3m-v1", "commons/water-v1"} <= set(list_environments())
