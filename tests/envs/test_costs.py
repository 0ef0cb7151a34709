"""What a step costs may not creep up: equations traced, operations and bytes counted; no clock is asked."""

import jax
import jax.numpy as jnp
import pytest
from shoal_costs import counted, equations

from shoal.envs.core import VectorEnv, make

ENVS = 64


def step_of(id, **options):
    """A batch's step, with the shapes that it takes."""
    env = make(id, **options)
    venv = VectorEnv(env, ENVS)
    state, _ = jax.eval_shape(venv.reset, jax.random.key(0))
    action = jax.ShapeDtypeStruct((ENVS, env.num_agents, *env.action_space.shape), jnp.int32)
    return venv.step, state, action


@pytest.mark.parametrize(
    ("id", "sizes"),
    [
        ("combat/smax-custom", [{"allies": units, "enemies": units} for units in ("3m", "20m", "100m")]),
        ("particle/simple-spread", [{"num_agents": agents} for agents in (3, 30)]),
        ("commons/water", [{"num_agents": agents} for agents in (3, 30)]),
        ("commons/harvest-open", [{"num_agents": agents} for agents in (3, 7)]),
        ("commons/cleanup", [{"num_agents": agents} for agents in (3, 7)]),
        # The search for a new prey's cell takes a level more where agents leave fewer cells empty.
        ("swarm/pursuit", [{"num_agents": agents} for agents in (8, 12)]),
        ("swarm/synchronization", [{"num_agents": agents} for agents in (8, 16)]),
        ("swarm/foraging", [{"num_agents": agents} for agents in (8, 16)]),
        ("swarm/flocking", [{"num_agents": agents, "start": "random"} for agents in (8, 16)]),
        ("swarm/transport", [{"num_agents": agents} for agents in (8, 16)]),
        # One word of a set holds 32 vehicles.
        ("traffic/highway-mild", [{"num_agents": agents, "drivers": 40} for agents in (3, 20)]),
    ],
)
def test_programs_do_not_grow_with_the_team(id, sizes):
    assert len({equations(*step_of(id, **size)) for size in sizes}) == 1


# Per environment step: equations as traced, then operations and bytes of the compiled program, as counted on
# 2026-11-25 with jax 0.10.2. Less is welcome: write the new figures down.
COSTS = {
    "combat/smax-3m": (1310, 10_270, 20_900),
    "combat/smax-2s3z": (1310, 16_940, 36_600),
    "combat/smax-27m_vs_30m": (1310, 152_000, 575_000),
    "particle/simple-spread": (319, 1_745, 3_600),
    "commons/water": (152, 438, 940),
    "commons/harvest-open": (844, 72_460, 77_830),
    "commons/cleanup": (945, 126_800, 115_000),
    "traffic/junction-hard": (394, 26_912, 20_765),
    "swarm/pursuit": (2266, 111_900, 160_200),
    "swarm/synchronization": (1721, 48_240, 110_800),
    "swarm/foraging": (1834, 51_970, 109_700),
    "swarm/flocking": (2006, 55_680, 108_900),
    "swarm/transport": (1995, 90_040, 234_200),
}


@pytest.mark.parametrize("id", COSTS)
def test_a_step_costs_no_more_than_it_did(id):
    step, *shapes = step_of(id)
    flops, size = (whole / ENVS for whole in counted(step, *shapes))
    least, most = 0.7, 1.15  # compilers differ; a change of ours that doubles something does not hide in that
    for found, known in zip((equations(step, *shapes), flops, size), COSTS[id], strict=True):
        assert least * known <= found <= most * known, (found, known)
