"""The gated recurrent unit behind one interface, with the inner form chosen per backend by measurement.

Cell (Cho et al. 2014, as in flax's ``GRUCell``), with sigmoid s:
    r = s(W_ir x + b_ir + W_hr h),  z = s(W_iz x + b_iz + W_hz h),
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = (1 - z) n + z h.
Before each step the memory is zeroed where ``reset`` is true.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.algorithms.blocks.initialisers import orthogonal

Gates = dict[str, Array]

# "cpu": forward and backward over 128 steps, batch 160, width 128, one device on two cores: stepwise 155 ms,
# hoisted 166 ms (2026-11-25). "gpu" and "tpu" follow the literature, not measured here.
FORMS = {"cpu": "stepwise", "gpu": "hoisted", "tpu": "hoisted"}


class GRU(nn.Module):
    """A gated recurrent unit over sequences; parameters stack the gates in the order r, z, n.

    Input kernels are Lecun-normal, recurrent ones orthogonal, biases zero.
    """

    features: int
    form: str = ""  # "" for the backend's own

    @nn.compact
    def __call__(
        self,
        carry: Float[Array, "*batch hidden"],
        inputs: Float[Array, "time *batch features"],
        reset: Bool[Array, time * batch],
    ) -> tuple[Float[Array, "*batch hidden"], Float[Array, "time *batch hidden"]]:
        """Runs the sequence; returns the last memory and every output."""
        gates = {
            "wi": self.param(
                "wi", _per_gate(nn.initializers.lecun_normal()), (3, inputs.shape[-1], self.features)
            ),
            "bi": self.param("bi", nn.initializers.zeros_init(), (3, self.features)),
            "wh": self.param("wh", _per_gate(orthogonal()), (3, self.features, self.features)),
            "bhn": self.param("bhn", nn.initializers.zeros_init(), (self.features,)),
        }
        form = self.form or FORMS.get(jax.default_backend(), "hoisted")
        return _RUNNERS[form](gates, carry, inputs, reset)


def _per_gate(init: Callable[..., Array]) -> Callable[..., Array]:
    """Draws each gate's matrix on its own, so that fan-in and orthogonality are those of one gate."""

    def draw(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.vmap(lambda k: init(k, shape[1:], dtype))(jax.random.split(key, shape[0]))

    return draw


def _forget(carry: Array, reset: Array) -> Array:
    return jnp.where(reset[..., None], 0.0, carry)


def _run_stepwise(gates: Gates, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
    """Projects the input inside each step, one product per gate: XLA on CPU fuses the gates' arithmetic."""
    wi, wh, bi = gates["wi"], gates["wh"], gates["bi"]

    def step(h: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
        x, forget = xs
        h = _forget(h, forget)
        r = nn.sigmoid(x @ wi[0] + bi[0] + h @ wh[0])
        z = nn.sigmoid(x @ wi[1] + bi[1] + h @ wh[1])
        n = jnp.tanh(x @ wi[2] + bi[2] + r * (h @ wh[2] + gates["bhn"]))
        h = (1.0 - z) * n + z * h
        return h, h

    return jax.lax.scan(step, carry, (inputs, reset))


def _run_hoisted(gates: Gates, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
    """Projects all inputs in one large product before the scan, and fuses the gates' recurrent products."""
    size = carry.shape[-1]
    fused_input = jnp.moveaxis(gates["wi"], 0, 1).reshape(inputs.shape[-1], 3 * size)
    fused_hidden = jnp.moveaxis(gates["wh"], 0, 1).reshape(size, 3 * size)
    projected = inputs @ fused_input + gates["bi"].reshape(3 * size)

    def step(h: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
        x, forget = xs
        h = _forget(h, forget)
        xr, xz, xn = jnp.split(x, 3, axis=-1)
        hr, hz, hn = jnp.split(h @ fused_hidden, 3, axis=-1)
        z = nn.sigmoid(xz + hz)
        n = jnp.tanh(xn + nn.sigmoid(xr + hr) * (hn + gates["bhn"]))
        h = (1.0 - z) * n + z * h
        return h, h

    return jax.lax.scan(step, carry, (projected, reset))


_RUNNERS = {"stepwise": _run_stepwise, "hoisted": _run_hoisted}
