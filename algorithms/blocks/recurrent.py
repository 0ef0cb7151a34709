"""The gated recurrent unit behind one interface, with the inner form chosen per backend by measurement.

Cell (Cho et al. 2014, as in flax's ``GRUCell``), with sigmoid s:
    r = s(W_ir x + b_ir + W_hr h),  z = s(W_iz x + b_iz + W_hz h),
    n = tanh(W_in x + b_in + r (W_hn h + b_hn)),  h' = (1 - z) n + z h.
Before each step the memory is zeroed where ``reset`` is true.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.envs.core import PyTree

Gates = dict[str, Array]

# docs/performance.md says how these were measured; "gpu" and "tpu" follow the literature, not measured here.
FORMS = {"cpu": "stepwise", "gpu": "hoisted", "tpu": "hoisted"}
_UNROLL = 2  # of stepwise: 4 % faster training than 1 or 4


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
        form = self.form or FORMS.get(jax.default_backend(), "hoisted")
        return _RUNNERS[form](_parameters(self, inputs.shape[-1], self.features), carry, inputs, reset)


class PairGRU(nn.Module):
    """A gated recurrent unit that walks, for each of ``n`` rows, over the others in order.

    Its inputs are pairs [h_i, h_j], j != i. The products of both halves are taken once a row, not once a
    pair, and no pair is laid out. Parameters are those of a `GRU` on such pairs.
    """

    features: int
    backwards: bool = False

    @nn.compact
    def __call__(self, h: Float[Array, "*batch n size"]) -> Float[Array, "others n *batch hidden"]:
        """Returns the memory after each of the ``n - 1`` others, in their order whichever way it walked."""
        count, size = h.shape[-2:]
        gates = _parameters(self, 2 * size, self.features)
        h = jnp.moveaxis(h, -2, 0)
        # Gates apart and rows in front: XLA for CPU vectorises neither slices of stacked gates nor a choice
        # of rows within them.
        own = [h @ w[:size] + b for w, b in zip(gates["wi"], gates["bi"], strict=True)]
        other = [h @ w[size:] for w in gates["wi"]]
        rows = jnp.arange(count).reshape(-1, *(1,) * (h.ndim - 1))

        def step(carry: Array, place: Array) -> tuple[Array, Array]:
            # The other in a place is the row of that number or, from the row itself on, the next.
            xr, xz, xn = (
                a + jnp.where(rows > place, b[place], b[place + 1]) for a, b in zip(own, other, strict=True)
            )
            hr, hz, hn = (carry @ w for w in gates["wh"])
            r, z = nn.sigmoid(xr + hr), nn.sigmoid(xz + hz)
            n = jnp.tanh(xn + r * (hn + gates["bhn"]))
            carry = (1.0 - z) * n + z * carry
            return carry, carry

        start = jnp.zeros((*h.shape[:-1], self.features))
        return jax.lax.scan(step, start, jnp.arange(count - 1), reverse=self.backwards)[1]


def _parameters(module: nn.Module, inputs: int, features: int) -> Gates:
    each_input = nn.initializers.lecun_normal(batch_axis=0)  # fan-in is that of one gate
    return {
        "wi": module.param("wi", each_input, (3, inputs, features)),
        "bi": module.param("bi", nn.initializers.zeros_init(), (3, features)),
        "wh": module.param("wh", orthogonal(), (3, features, features)),
        "bhn": module.param("bhn", nn.initializers.zeros_init(), (features,)),
    }


def _forget(carry: Array, reset: Array) -> Array:
    return jnp.where(reset[..., None], 0.0, carry)


def _run_stepwise(gates: Gates, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
    """Projects the input inside each step; its gradient remembers no more of a step than it must."""
    batch = carry.shape[:-1]
    carry, inputs, reset = (
        x.reshape(*x.shape[:lead], -1, *x.shape[lead + len(batch) :])
        for x, lead in ((carry, 0), (inputs, 1), (reset, 1))
    )
    carry, outputs = _sequence(*_fused(gates), gates["bhn"], carry, inputs, reset)
    return carry.reshape(*batch, -1), outputs.reshape(-1, *batch, carry.shape[-1])


@jax.custom_vjp
def _sequence(
    wi: Array, wh: Array, bi: Array, bhn: Array, carry: Array, inputs: Array, reset: Array
) -> tuple[Array, Array]:
    return _sequence_forward(wi, wh, bi, bhn, carry, inputs, reset)[0]


def _sequence_forward(
    wi: Array, wh: Array, bi: Array, bhn: Array, carry: Array, inputs: Array, reset: Array
) -> tuple[tuple[Array, Array], PyTree]:
    def step(h: Array, xs: tuple[Array, Array]) -> tuple[Array, PyTree]:
        x, forget = xs
        h = _forget(h, forget)
        r, z, n, hn = _gates(x @ wi + bi, h @ wh, bhn)
        after = (1.0 - z) * n + z * h
        return after, (after, (h, r, z, n, hn))

    last, (outputs, kept) = jax.lax.scan(step, carry, (inputs, reset), unroll=_UNROLL)
    return (last, outputs), (wi, wh, inputs, reset, kept)


def _sequence_backward(residuals: PyTree, cotangents: tuple[Array, Array]) -> tuple[Array | None, ...]:
    wi, wh, inputs, reset, kept = residuals
    d_last, d_outputs = cotangents

    def step(carried: PyTree, xs: PyTree) -> tuple[PyTree, Array]:
        d_after, d_wi, d_wh, d_bi, d_bhn = carried
        x, forget, (h, r, z, n, hn), d_output = xs
        d_after = d_after + d_output
        # Before each gate's activation; the candidate's memory enters its own through r.
        d_n = d_after * (1.0 - z) * (1.0 - n * n)
        d_z = d_after * (h - n) * z * (1.0 - z)
        d_r = d_n * hn * r * (1.0 - r)
        d_hn = d_n * r
        d_x, d_h = (jnp.concatenate([d_r, d_z, d], axis=-1) for d in (d_n, d_hn))
        d_before = _forget(d_after * z + d_h @ wh.T, forget)
        d_wi, d_wh = d_wi + x.T @ d_x, d_wh + h.T @ d_h
        d_bi, d_bhn = d_bi + jnp.sum(d_x, axis=0), d_bhn + jnp.sum(d_hn, axis=0)
        return (d_before, d_wi, d_wh, d_bi, d_bhn), d_x @ wi.T

    size = wh.shape[0]
    opening = (d_last, jnp.zeros_like(wi), jnp.zeros_like(wh), jnp.zeros(3 * size), jnp.zeros(size))
    (d_carry, *d_params), d_inputs = jax.lax.scan(
        step, opening, (inputs, reset, kept, d_outputs), reverse=True, unroll=_UNROLL
    )
    return *d_params, d_carry, d_inputs, None


_sequence.defvjp(_sequence_forward, _sequence_backward)


def _run_hoisted(gates: Gates, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
    """Projects all inputs in one large product before the scan."""
    wi, wh, bi = _fused(gates)

    def step(h: Array, xs: tuple[Array, Array]) -> tuple[Array, Array]:
        x, forget = xs
        h = _forget(h, forget)
        _, z, n, _ = _gates(x, h @ wh, gates["bhn"])
        h = (1.0 - z) * n + z * h
        return h, h

    return jax.lax.scan(step, carry, (inputs @ wi + bi, reset))


def _fused(gates: Gates) -> tuple[Array, Array, Array]:
    """Returns the gates' kernels and biases side by side, so that a step takes one product of each kind."""
    wi, wh = (jnp.concatenate(list(gates[name]), axis=-1) for name in ("wi", "wh"))
    return wi, wh, gates["bi"].reshape(-1)


def _gates(x: Array, h: Array, bhn: Array) -> tuple[Array, Array, Array, Array]:
    """Returns r, z, n and what r multiplies, of projected input and memory."""
    xr, xz, xn = jnp.split(x, 3, axis=-1)
    hr, hz, hn = jnp.split(h, 3, axis=-1)
    r, z, hn = nn.sigmoid(xr + hr), nn.sigmoid(xz + hz), hn + bhn
    return r, z, jnp.tanh(xn + r * hn), hn


_RUNNERS = {"stepwise": _run_stepwise, "hoisted": _run_hoisted}
