"""What an update costs may not creep up, and nothing in it may call back to the host; no clock is asked."""

import jax
import pytest
from shoal_costs import counted

from shoal.baselines.bench.costs import primitives
from shoal.baselines.build import build
from shoal.baselines.composition import compose

ENVS, STEPS = 4, 8
REPLAY = ("algorithm.buffer_size=64", "algorithm.batch_size=4")
EPOCHS = ("algorithm.epochs=2", "algorithm.minibatches=2")
# As counted on 2026-11-25 with jax 0.10.2 on combat/smax-custom, 3m against 3m, width 32.
EQUATIONS = {"ippo": 2470, "mappo": 2918, "qmix": 3657, "pqn_vdn": 2101}  # of an update
COUNTED = {"ippo": (79_700, 91_400), "qmix": (516_000, 656_000)}  # operations, bytes per environment step


def update_of(algorithm, units):
    """One member's update, with the shapes that it takes."""
    words = [
        "env=combat/smax-custom", f"env.allies={units}", f"env.enemies={units}", f"algorithm={algorithm}",
        f"num_envs={ENVS}", f"algorithm.rollout_length={STEPS}", "network.hidden_size=32", "devices=1",
    ]  # fmt: skip
    built = build(compose([*words, *(REPLAY if algorithm == "qmix" else EPOCHS)]))
    state = jax.eval_shape(built.init)
    return built.program.update, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)


def hardly_more(found, known):
    return 0.7 * known <= found <= 1.15 * known  # compilers differ; less is welcome: write it down


@pytest.mark.parametrize("algorithm", EQUATIONS)
def test_an_update_is_traced_to_no_more_than_it_was(algorithm):
    traced = {
        units: primitives(jax.make_jaxpr(update)(state).jaxpr)
        for units in ("3m", "20m")
        for update, state in [update_of(algorithm, units)]
    }
    assert traced["3m"].total() == traced["20m"].total()  # flat in the number of agents
    assert not [name for name in traced["3m"] if "callback" in name or "feed" in name]
    assert hardly_more(traced["3m"].total(), EQUATIONS[algorithm]), traced["3m"].total()


@pytest.mark.parametrize("algorithm", COUNTED)
def test_an_update_computes_no_more_than_it_did(algorithm):
    found = [count / (ENVS * STEPS) for count in counted(*update_of(algorithm, "3m"))]
    assert all(map(hardly_more, found, COUNTED[algorithm])), found
