"""The commands that look around: envs, describe, doctor; and what all commands have in common."""

import json
import pkgutil
from importlib import metadata

import pytest

from shoal.baselines import commands
from shoal.baselines.commands import doctor
from shoal.envs.core import list_environments

NAMES = [module.name.replace("_", "-") for module in pkgutil.iter_modules(commands.__path__)]


@pytest.mark.parametrize(
    "command", [*sorted({*NAMES} - {"bench"}), "bench env", "bench train", "bench table"]
)
def test_help_has_an_example(command, shoal_cli):
    status, out, _ = shoal_cli(*command.split(), "--help")
    assert status == 0
    assert f"Example: shoal {command}" in " ".join(out.split())


def test_envs_prints_metadata_objects(shoal_cli):
    status, out, _ = shoal_cli("envs", "--json")
    assert status == 0
    listed = json.loads(out)
    assert [entry["id"] for entry in listed] == list_environments()
    assert {"agents", "groups", "action_space", "max_steps", "metrics", "citation"} <= listed[0].keys()


def test_envs_shows_whole_ids(shoal_cli):
    status, out, _ = shoal_cli("envs")
    assert status == 0
    assert all(id in out for id in list_environments())
    assert "commons/water-v1" in shoal_cli("envs", "water")[1]
    assert "particle" not in shoal_cli("envs", "water")[1]


def test_envs_without_a_match_is_one_line(shoal_cli):
    status, out, err = shoal_cli("envs", "commons/watr")
    assert (status, out) == (2, "")
    assert "did you mean 'commons/water-v1'" in err


def test_describe_for_people_and_for_scripts(shoal_cli):
    status, out, _ = shoal_cli("describe", "commons/water", "--json")
    assert status == 0
    facts = json.loads(out)
    assert facts["id"] == "commons/water-v1"
    assert {row["name"] for row in facts["params"]} >= {"regeneration", "start"}
    text = shoal_cli("describe", "commons/water")[1]
    for word in ("valve_0", "utilitarian", "regeneration", "max_steps", facts["citation"]):
        assert word in text
    assert "<class" not in text


def test_describe_of_metrics_without_bounds(shoal_cli):
    status, out, _ = shoal_cli("describe", "swarm/synchronization")
    assert status == 0 and "0 to inf" in out


def test_describe_what_is_not_there(shoal_cli):
    status, _, err = shoal_cli("describe", "commons/watr")
    assert status == 2
    assert "did you mean 'commons/water'" in err


def test_doctor_reports(shoal_cli):
    status, out, _ = shoal_cli("doctor", "--json")
    report = json.loads(out)
    assert status == 0, report["problems"]
    assert report["versions"]["jaxlib"] == metadata.version("jaxlib")
    assert report["devices"][0]["platform"] == "cpu"
    assert report["machine"]["cores"] >= 1
    assert report["tested"][0]["jax"]
    assert "all that Shoal needs is here" in shoal_cli("doctor")[1]


REQUIRED = [
    "jax>=0.10.0",
    "nosuchpackage>=1.0",
    'matplotlib>=3.9; extra == "viz"',
    "jax[cuda12]; extra == 'cuda'",
]


def test_doctor_names_what_is_missing(shoal_cli, monkeypatch):
    monkeypatch.setattr(metadata, "requires", lambda _: [*REQUIRED, 'othernone; extra == "ray"'])
    status, out, _ = shoal_cli("doctor", "--json")
    report = json.loads(out)
    assert status == 1
    assert report["problems"] == ["nosuchpackage is not installed; pip install 'nosuchpackage'"]
    assert report["extras"]["viz"]["missing"] == []
    assert report["extras"]["ray"] == {"missing": ["othernone"], "install": "pip install 'shoal[ray]'"}
    assert report["extras"]["cuda"]["missing"] in ([], ["jax-cuda12-plugin"])
    assert "pip install 'shoal[ray]'" in shoal_cli("doctor")[1]


def test_doctor_survives_a_broken_backend(monkeypatch):
    def broken(report):
        raise RuntimeError("no backend today\nand more")

    monkeypatch.setattr(doctor, "_look_at_machine", broken)
    assert "jax does not start: no backend today" in doctor.examine()["problems"]


def test_tested_versions_are_the_readmes(repository):
    readme = (repository / "README.md").read_text()
    for row in doctor.TESTED:
        assert f"| {row['python']} | {row['jax']} | {row['flax']} | {row['system']} |" in readme
