"""Options and params: what is declared is checked, and errors say what would be right."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import jax
import numpy as np
import pytest
import shoal_toys as toys

from shoal.envs.core import UserError
from shoal.envs.core.options import as_leaves


@dataclasses.dataclass
class Numbers:
    whole: Any = 3
    flag: Any = True
    real: Any = 1.5
    several: Any = (1.0, 2.0)


def refused(message: str, **overrides: Any) -> None:
    with pytest.raises(UserError, match=message) as caught:
        toys.chain(**overrides)
    assert "\n" not in str(caught.value)


def test_out_of_range() -> None:
    refused(r"^num_agents=0 is out of range; it must be between 1 and 8$", num_agents=0)
    refused(r"^slip=1.5 is out of range; it must be between 0.0 and 1.0$", slip=1.5)
    refused(r"^slip=nan is not finite", slip=float("nan"))
    refused(r"^goal_reward=\[1.0, 20.0\] must be one number$", goal_reward=[1.0, 20.0])


def test_wrong_kind() -> None:
    refused(r"^length=3.5 must be a whole number", length=3.5)
    refused(r"^refill=1 must be true or false$", refill=1)
    refused(r"^slip='often' is not a number; it must be between", slip="often")


def test_unknown_choice_and_name() -> None:
    refused(r"^actions='box2' is not one of 'discrete', 'multi', 'box'$", actions="box2")
    refused(r"^toy/chain-v1 has no option 'max_step'; did you mean 'max_steps'\?$", max_step=3)


def test_bounds_are_allowed() -> None:
    env = toys.chain(num_agents=8, slip=1, max_steps=1)
    assert env.num_agents == 8
    assert env.max_steps == 1
    assert float(env.params.slip) == 1.0


def test_params_are_narrow_array_leaves() -> None:
    params = toys.chain(slip=0.5).params
    leaves = jax.tree.leaves(params)
    assert [leaf.dtype for leaf in leaves] == [np.float32] * 3
    kinds = [leaf.dtype for leaf in vars(as_leaves(Numbers())).values()]
    assert kinds == [np.int32, np.bool_, np.float32, np.float32]
    assert as_leaves(Numbers()).several.shape == (2,)


def test_options_are_hashable() -> None:
    assert hash(toys.ChainOptions()) == hash(toys.ChainOptions())
    with pytest.raises(dataclasses.FrozenInstanceError):
        toys.ChainOptions().length = 3  # type: ignore[misc]


def test_describe_says_what_this_environment_has() -> None:
    described = toys.chain(length=7, slip=0.1).describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described
    options = {row["name"]: row for row in described["options"]}
    assert (options["length"]["value"], options["length"]["default"]) == (7, 4)
    assert options["actions"]["choices"] == ["discrete", "multi", "box"]
    slip = next(row for row in described["params"] if row["name"] == "slip")
    assert slip == {
        "name": "slip",
        "value": 0.1,
        "default": 0.0,
        "doc": "chance that a move fails",
        "low": 0.0,
        "high": 1.0,
    }
