"""A recurrent core whose agents hear each other: an information structure before an LSTM.

    i, f, o = s(W x + U h + b),  u = tanh(W_u x + U_u h + b_u),  c' = f c + i u,  h' = o tanh(c')

with sigmoid s, and x what the structure makes of views and messages. Memory is zeroed before steps that
reset it.
Shape letters: ``T`` steps, ``B`` any batch (environments), ``G`` agents, ``H`` memory, ``N`` actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.messages.graph import Graph
from shoal.algorithms.blocks.messages.structures import Said, Sizes, Structure, layer
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import PyTree

Speak = Callable[[Array, Array], Array]
"""(memories [G, *B, H], what else it reads [G, *B, ...]) -> policies [G, *B, N]."""


@dataclass(frozen=True, eq=False)
class HearingCore:
    """Fixes who hears whom, and how."""

    structure: Structure
    graph: Graph
    seen: Graph  # whose views are seen, where the structure sees any
    view_size: int
    choices: int
    hidden: int
    sharing: Sharing
    stale: bool = False  # an episode's first messages come from the one before

    @property
    def sizes(self) -> Sizes:
        """How wide things are."""
        places = 1 + self.seen.most if self.structure.sees else 1
        return Sizes(self.view_size, places, self.choices, self.graph.most, self.hidden)

    def init(self, key: Array) -> PyTree:
        """Draws one agent's parameters."""
        key, inner, outer = jax.random.split(key, 3)
        width, hidden = self.structure.width(self.sizes), self.hidden
        return {
            "ear": self.structure.init(key, self.sizes),
            "lstm": {  # gates side by side in the order i, f, o, u
                "wi": layer(outer, width, 4 * hidden)["kernel"],
                "wh": layer(inner, hidden, 4 * hidden)["kernel"],
                "b": jnp.zeros(4 * hidden),
            },
        }

    def start(self, batch: tuple[int, ...]) -> dict[str, Array]:
        """Returns fresh memory of leading shape ``batch``: h, c, and policies where those are read."""
        sizes = {"h": self.hidden, "c": self.hidden}
        if self.structure.reads_policies:
            sizes["policy"] = self.choices
        return {name: jnp.zeros((*batch, size)) for name, size in sizes.items()}

    def run(
        self, params: PyTree, carry: dict[str, Array], view: Array, reset: Array, speak: Speak, read: Array
    ) -> tuple[dict[str, Array], Array]:
        """Runs a sequence.

        Args:
            params: of all agents.
            carry: as `start` [*B, G, ...].
            view: [T, *B, G, F].
            reset: [T, *B, G] where memory is zeroed first.
            speak: tells the policies of memories; nothing learns through it.
            read: what else ``speak`` reads [T, *B, G, ...].

        Returns:
            The memory, and all memories h [G, T, *B, H], agents in front.
        """
        agents = reset.ndim - 1
        carry = {name: jnp.moveaxis(x, agents - 1, 0) for name, x in carry.items()}
        looked = self._look(params, jnp.moveaxis(view, agents, 0))
        xs = jnp.swapaxes(looked, 0, 1), jnp.moveaxis(reset, agents, 1), jnp.moveaxis(read, agents, 1)
        cell = self.sharing.per_agent(self._cell)

        def step(carry: dict[str, Array], xs: tuple[Array, Array, Array]) -> tuple[dict[str, Array], Array]:
            looked, reset, read = xs
            kept = {name: jnp.where(reset[..., None], 0.0, x) for name, x in carry.items()}
            said = self._said(params, kept | {"h": carry["h"]} if self.stale else kept)
            h, c = cell(params, looked, said, kept["h"], kept["c"])
            after = {"h": h, "c": c}
            if self.structure.reads_policies:
                after["policy"] = jax.lax.stop_gradient(speak(h, read))
            return after, h

        carry, hidden = jax.lax.scan(step, carry, xs)
        carry = {name: jnp.moveaxis(x, 0, agents - 1) for name, x in carry.items()}
        return carry, jnp.swapaxes(hidden, 0, 1)

    def _look(self, params: PyTree, view: Array) -> Array:
        """Encodes views [G, T, *B, F], those of neighbours beside one's own: [G, T, *B, H]."""
        seen = view
        if self.structure.tells:
            seen = self.sharing.per_agent(lambda p, x: self.structure.tell(p["ear"], x))(params, seen)
        if self.structure.sees:
            both = jnp.concatenate([seen[..., None, :], self.seen.heard(seen)], axis=-2)
            seen = both.reshape(*view.shape[:-1], -1)
        return self.sharing.per_agent(lambda p, x: self.structure.look(p["ear"], x))(params, seen)

    def _said(self, params: PyTree, memory: dict[str, Array]) -> Said:
        """Returns what reaches each agent of memories [G, *B, ...]."""
        heard, mean, policies = None, None, None
        if self.structure.hears:
            say = self.sharing.per_agent(lambda p, h: self.structure.say(p["ear"], h))
            heard = self.graph.heard(say(params, memory["h"]))
            mean = self.graph.mean(heard)
        if self.structure.reads_policies:
            policies = self.graph.heard(memory["policy"])
        return Said(heard, mean, policies, memory.get("policy"))

    def _cell(self, params: PyTree, looked: Array, said: Said, h: Array, c: Array) -> tuple[Array, Array]:
        """Takes one step of one agent [*B, H]."""
        x = self.structure.listen(params["ear"], looked, said)
        lstm = params["lstm"]
        gates = x @ lstm["wi"] + h @ lstm["wh"] + lstm["b"]
        i, f, o, u = jnp.split(gates, 4, axis=-1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(u)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c
