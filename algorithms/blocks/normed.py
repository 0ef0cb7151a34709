"""Networks of flat vectors in which everything is normalised row by row."""

from __future__ import annotations

import math

import flax.linen as nn
from jax import Array

from shoal.algorithms.blocks.encoders import dense
from shoal.algorithms.blocks.initialisers import orthogonal
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.normalisation import LayerNorm
from shoal.algorithms.blocks.recurrent import GRU


class NormedInput(nn.Module):
    """Layer normalisation and a dense layer, of rows that are `standardised` already.

    Scale and shift of the normalisation are folded into the layer: rows are the same in every epoch, so that
    nothing as wide as they are needs a gradient.
    """

    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Maps [*B, D] to [*B, size]."""
        width = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (width,))
        shift = self.param("shift", nn.initializers.zeros_init(), (width,))
        kernel = self.param("kernel", orthogonal(math.sqrt(2)), (width, self.size))
        bias = self.param("bias", nn.initializers.zeros_init(), (self.size,))
        return x @ (scale[:, None] * kernel) + (shift @ kernel + bias)


class NormedNet(nn.Module):
    """Layers and a recurrent core, each normalised; one linear output layer. Inputs are `standardised`."""

    config: NetworkConfig
    outputs: int
    gain: float  # of the output layer

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, reset: Array) -> tuple[Array, Array]:
        """Maps memory [*B, H], inputs [T, *B, D] and reset [T, *B] to memory and outputs [T, *B, outputs]."""
        # Rows in one axis: XLA works slowly along the rows of larger arrays on CPU.
        lead, x = inputs.shape[:-1], inputs.reshape(-1, inputs.shape[-1])
        x = LayerNorm()(nn.relu(NormedInput(self.config.hidden_size)(x)))
        x = LayerNorm()(nn.relu(dense(self.config.hidden_size, math.sqrt(2))(x)))
        if self.config.core == "gru":
            carry, x = GRU(self.config.hidden_size)(carry, x.reshape(*lead, -1), reset)
            x = LayerNorm()(x.reshape(-1, x.shape[-1]))
        return carry, dense(self.outputs, self.gain)(x).reshape(*lead, self.outputs)
