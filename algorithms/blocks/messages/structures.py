"""Seven information structures: what one agent hears of its neighbours and how it enters a recurrent core.

Source: those compared in "A game-theoretic analysis of networked system control for common-pool resource
management using multi-agent reinforcement learning" (NeurIPS 2020, arXiv 2010.07777). All here is of one
agent and of any batch ``*B``; ``K`` neighbours in the order of their indices. Memories and policies are those
of the step before: a message takes one step. What is seen is told at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from shoal.algorithms.blocks.initialisers import orthogonal

Layer = dict[str, Array]
Params = dict[str, Layer]


def layer(key: Array, inputs: int, outputs: int, places: int = 0) -> Layer:
    """Draws a dense layer: an orthogonal kernel [inputs, outputs] of gain sqrt 2, zero bias.

    With ``places`` it draws one for each of them, on a leading axis.
    """
    lead = (places,) if places else ()
    return {
        "kernel": orthogonal(math.sqrt(2.0))(key, (*lead, inputs, outputs)),
        "bias": jnp.zeros((*lead, outputs)),
    }


def dense(layer: Layer, x: Array) -> Array:
    """Applies a dense layer to [*B, inputs]."""
    return x @ layer["kernel"] + layer["bias"]


@dataclass(frozen=True)
class Sizes:
    """How wide things are."""

    view: int  # what one agent sees
    places: int  # whose views are seen: one's own, and the neighbours' where the structure sees them
    choices: int  # actions
    neighbours: int  # K
    hidden: int


@struct.dataclass
class Said:
    """What the step before left behind; None: nothing that the structure listens to."""

    memories: Any = None  # [*B, K, H] f32 as the neighbours say them, zero where there is none
    mean_memory: Any = None  # [*B, H] f32 over those that there are
    policies: Any = None  # [*B, K, N] f32 probabilities of the neighbours' actions
    own_policy: Any = None  # [*B, N] f32


class Structure:
    """Nothing is heard while playing; the others differ from this by what they say here."""

    sees: ClassVar[bool] = False  # the neighbours' views
    tells: ClassVar[bool] = False  # views are seen as their owners encode them
    reads_policies: ClassVar[bool] = False
    hears: ClassVar[bool] = False  # memories; gradients then reach their senders
    watched: ClassVar[bool] = True  # a critic reads the neighbours' actions
    consensus: ClassVar[bool] = False  # the recurrent weights are averaged after an update

    def width(self, sizes: Sizes) -> int:
        """Returns the size of what `listen` returns."""
        return sizes.hidden

    def init(self, key: Array, sizes: Sizes) -> Params:
        """Draws one agent's parameters."""
        if not self.tells:
            return {"seen": layer(key, sizes.places * sizes.view, sizes.hidden)}
        told, key = jax.random.split(key)
        seen = layer(key, sizes.places * sizes.hidden, sizes.hidden)
        return {"told": layer(told, sizes.view, sizes.hidden), "seen": seen}

    def tell(self, params: Params, view: Array) -> Array:
        """Encodes one's own view [*B, F] for oneself and one's neighbours, where the structure tells."""
        return jax.nn.relu(dense(params["told"], view))

    def say(self, params: Params, memory: Array) -> Array:
        """Returns what neighbours hear of one's memory [*B, H], where the structure hears."""
        return memory

    def look(self, params: Params, seen: Array) -> Array:
        """Encodes what is seen [*B, F], whatever has been said."""
        return jax.nn.relu(dense(params["seen"], seen))

    def listen(self, params: Params, looked: Array, said: Said) -> Array:
        """Joins what `look` returned with what was said: the recurrent core's input [*B, width]."""
        return looked


class IA2C(Structure):
    """Each on its own, the critic too."""

    watched = False


class NA2C(Structure):
    """The neighbours' views: ReLU(W [ReLU(W_0 o_i), ReLU(W_1 o_j), ...]), a layer for every place."""

    sees = True

    def init(self, key: Array, sizes: Sizes) -> Params:
        """Draws one agent's parameters."""
        key, seen = jax.random.split(key)
        each = layer(seen, sizes.view, sizes.hidden, places=sizes.places)
        return {"each": each, "seen": layer(key, sizes.places * sizes.hidden, sizes.hidden)}

    def look(self, params: Params, seen: Array) -> Array:
        """Encodes place after place, then all together."""
        each, places = params["each"], len(params["each"]["bias"])
        apart = seen.reshape(*seen.shape[:-1], places, -1)
        encoded = jax.nn.relu(jnp.einsum("...pf,pfh->...ph", apart, each["kernel"]) + each["bias"])
        return super().look(params, _flat(encoded))


class FPrint(NA2C):
    """The neighbours' views as in NA2C, and their policies as fingerprints beside what is made of them."""

    reads_policies = True

    def width(self, sizes: Sizes) -> int:
        """Returns that of both."""
        return sizes.hidden + sizes.neighbours * sizes.choices

    def listen(self, params: Params, looked: Array, said: Said) -> Array:
        """Puts the policies beside what is seen, as they are."""
        return jnp.concatenate([looked, _flat(said.policies)], axis=-1)


class ConseNet(Structure):
    """Nothing while playing; the recurrent weights of neighbours are averaged after every update."""

    consensus = True


class CommNet(Structure):
    """The mean of the neighbours' memories: tanh(W_o [e, e_j...]) + W_m mean(h), e what is told of views."""

    sees = True
    tells = True
    hears = True

    def init(self, key: Array, sizes: Sizes) -> Params:
        """Draws one agent's parameters."""
        key, message = jax.random.split(key)
        return super().init(key, sizes) | {"message": layer(message, sizes.hidden, sizes.hidden)}

    def look(self, params: Params, seen: Array) -> Array:
        """Returns tanh(W_o [e, e_j...])."""
        return jnp.tanh(dense(params["seen"], seen))

    def listen(self, params: Params, looked: Array, said: Said) -> Array:
        """Adds the message."""
        return looked + dense(params["message"], said.mean_memory)


class DIAL(Structure):
    """Memories, and the own likeliest action: ReLU(W_o [e, e_j...]) + ReLU(W_m [m_j...]) + onehot(argmax p).

    A message m = ReLU(W h) is made by the neighbour that sends it.
    """

    sees = True
    tells = True
    reads_policies = True
    hears = True

    def init(self, key: Array, sizes: Sizes) -> Params:
        """Draws one agent's parameters."""
        key, memories, message = jax.random.split(key, 3)
        return super().init(key, sizes) | {
            "memories": layer(memories, sizes.hidden, sizes.hidden),
            "message": layer(message, sizes.neighbours * sizes.hidden, sizes.hidden),
        }

    def say(self, params: Params, memory: Array) -> Array:
        """Returns ReLU(W h)."""
        return jax.nn.relu(dense(params["memories"], memory))

    def listen(self, params: Params, looked: Array, said: Said) -> Array:
        """Adds the message and the action, padded with zeros; before the first step that is action 0."""
        message = jax.nn.relu(dense(params["message"], _flat(said.memories)))
        likeliest = jnp.argmax(said.own_policy, axis=-1)
        own = jax.nn.one_hot(likeliest, looked.shape[-1], dtype=looked.dtype)
        return looked + message + own


class NeurComm(Structure):
    """Views, policies and memories of the neighbours, each encoded, side by side."""

    sees = True
    tells = True
    reads_policies = True
    hears = True

    def width(self, sizes: Sizes) -> int:
        """Returns that of all three."""
        return 3 * sizes.hidden

    def init(self, key: Array, sizes: Sizes) -> Params:
        """Draws one agent's parameters."""
        key, policies, memories = jax.random.split(key, 3)
        return super().init(key, sizes) | {
            "policies": layer(policies, sizes.neighbours * sizes.choices, sizes.hidden),
            "memories": layer(memories, sizes.neighbours * sizes.hidden, sizes.hidden),
        }

    def listen(self, params: Params, looked: Array, said: Said) -> Array:
        """Puts ReLU(W_p p) and ReLU(W_h h) beside the views."""
        policies = jax.nn.relu(dense(params["policies"], _flat(said.policies)))
        memories = jax.nn.relu(dense(params["memories"], _flat(said.memories)))
        return jnp.concatenate([looked, policies, memories], axis=-1)


STRUCTURES: dict[str, Structure] = {
    "ia2c": IA2C(),
    "na2c": NA2C(),
    "fprint": FPrint(),
    "consenet": ConseNet(),
    "commnet": CommNet(),
    "dial": DIAL(),
    "neurcomm": NeurComm(),
}


def _flat(x: Array) -> Array:
    return x.reshape(*x.shape[:-2], -1)
