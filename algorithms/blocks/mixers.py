"""How a team's value is made of its agents' values."""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from shoal.algorithms.blocks.encoders import dense


def total(q: Float[Array, "*batch agents"]) -> Float[Array, "*batch"]:
    """Sums (Sunehag et al. 2017, arXiv 1706.05296)."""
    return jnp.sum(q, axis=-1)


class HyperNetwork(nn.Module):
    """One hidden ReLU layer that emits another network's weights."""

    hidden_size: int
    outputs: int

    @nn.compact
    def __call__(self, state: Float[Array, "*batch state"]) -> Float[Array, "*batch outputs"]:
        """Maps states to weights."""
        hidden = nn.relu(dense(self.hidden_size, 1.0)(state))
        return dense(self.outputs, 1.0)(hidden)


class MonotonicMixer(nn.Module):
    """QMIX's mixer (Rashid et al. 2018, arXiv 1803.11485, section 4).

    Q_tot = ELU(q |w1(s)| + b1(s)) |w2(s)| + b2(s), so that it never falls when an agent's q rises: each
    agent's own best action is then part of the team's best.
    """

    embedding_size: int  # m, width of the mixing layer
    hypernet_size: int  # K, width of the networks that emit its weights

    @nn.compact
    def __call__(
        self, q: Float[Array, "*batch agents"], state: Float[Array, "*batch state"]
    ) -> Float[Array, "*batch"]:
        """Mixes values under the global state."""
        agents, m = q.shape[-1], self.embedding_size
        w1 = HyperNetwork(self.hypernet_size, agents * m, name="w1")(state)
        b1 = dense(m, 1.0, name="b1")(state)
        w2 = HyperNetwork(self.hypernet_size, m, name="w2")(state)
        b2 = HyperNetwork(m, 1, name="b2")(state)
        w1 = jnp.abs(w1).reshape(*state.shape[:-1], agents, m)
        hidden = nn.elu(jnp.sum(q[..., None] * w1, axis=-2) + b1)
        return jnp.sum(hidden * jnp.abs(w2), axis=-1) + b2[..., 0]
