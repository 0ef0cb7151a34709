"""Every form of the recurrent core equals flax's own cell, forwards and backwards."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.algorithms.blocks.recurrent import _RUNNERS, FORMS, GRU

T, B, F, H = 7, (2, 3), 5, 4  # an odd number of steps, where some forms take two at a time


@pytest.fixture(scope="module")
def case():
    keys = jax.random.split(jax.random.key(0), 4)
    inputs = jax.random.normal(keys[0], (T, *B, F))
    reset = jax.random.bernoulli(keys[1], 0.3, (T, *B))
    carry = jax.random.normal(keys[2], (*B, H))
    params = GRU(H).init(keys[3], carry, inputs, reset)
    noisy = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(keys[0], p.shape), params)
    return noisy, carry, inputs, reset


def flax_cell_sequence(params, carry, inputs, reset):
    gates = params["params"]
    cell = {}
    for i, gate in enumerate("rzn"):
        cell["i" + gate] = {"kernel": gates["wi"][i], "bias": gates["bi"][i]}
        cell["h" + gate] = {"kernel": gates["wh"][i]}
    cell["hn"]["bias"] = gates["bhn"]
    outputs = []
    for x, forget in zip(inputs, reset, strict=True):
        carry = jnp.where(forget[..., None], 0.0, carry)
        carry, y = nn.GRUCell(H).apply({"params": cell}, carry, x)
        outputs.append(y)
    return carry, jnp.stack(outputs)


@pytest.mark.parametrize("form", sorted(_RUNNERS))
def test_equals_flax(case, form):
    def loss(run):
        def of(params, carry, inputs, reset):
            last, outputs = run(params, carry, inputs, reset)
            return jnp.sum(outputs**2) + jnp.sum(last), (last, outputs)

        return jax.jit(jax.value_and_grad(of, argnums=(0, 1, 2), has_aux=True))

    ours = loss(lambda p, *rest: GRU(H, form=form).apply(p, *rest))(*case)
    flax = loss(flax_cell_sequence)(*case)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5), ours, flax)


def test_reset_forgets(case):
    params, carry, inputs, _ = case
    reset = jnp.zeros((T, *B), bool).at[3].set(True)
    apply = jax.jit(GRU(H).apply)
    _, whole = apply(params, carry, inputs, reset)
    _, tail = apply(params, jnp.zeros_like(carry), inputs[3:], jnp.zeros((T - 3, *B), bool))
    np.testing.assert_allclose(whole[3:], tail, atol=1e-6)
    _, never = apply(params, carry, inputs, jnp.zeros((T, *B), bool))
    assert np.abs(whole[3:] - never[3:]).max() > 1e-3


def test_initial_gates_are_drawn_apart():
    params = GRU(64).init(
        jax.random.key(0), jnp.zeros((1, 64)), jnp.zeros((1, 1, 32)), jnp.zeros((1, 1), bool)
    )["params"]
    for gate in params["wh"]:
        np.testing.assert_allclose(gate @ gate.T, np.eye(64), atol=1e-4)
    assert np.std(params["wi"]) == pytest.approx(32**-0.5, rel=0.05)
    assert np.abs(params["wi"][0] - params["wi"][1]).max() > 0.1


def test_every_form_named_exists():
    assert set(FORMS.values()) <= set(_RUNNERS)
