"""Both incentives of iPLAN together, for all agents of a group: what acting needs, and how they learn.

Source: iPLAN (Wu et al., CoRL 2023, arXiv 2306.06236). Shape letters: ``G`` agents of the group, ``n`` slots,
``F`` features of a slot as it is seen, ``S`` numbers of a slot as a policy reads it, ``P`` drawn moments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from shoal.algorithms.blocks.inference.behaviour import Behaviour
from shoal.algorithms.blocks.inference.instant import Instant, logistic
from shoal.algorithms.blocks.sharing import Sharing
from shoal.envs.core import PyTree

BEHAVIOUR, INSTANT = "behaviour", "instant"
NAMES = (BEHAVIOUR, INSTANT)


@dataclass(frozen=True)
class Incentives:
    """The modules that are on; parameters and memory are dictionaries by their names."""

    behaviour: Behaviour | None
    instant: Instant | None
    slots: int
    features: int
    sharing: Sharing

    def __bool__(self) -> bool:
        """Whether there is anything to infer."""
        return self.behaviour is not None or self.instant is not None

    @property
    def slot_size(self) -> int:
        """Numbers of a slot as a policy reads it: what is seen, the instant and the behavioural incentive."""
        parts = (module.size for module in (self.instant, self.behaviour) if module is not None)
        return self.features + sum(parts)

    def init(self, key: Array) -> dict[str, PyTree]:
        """Returns fresh parameters of one set."""
        keys, params = jax.random.split(key), {}
        if self.behaviour is not None:
            params[BEHAVIOUR] = self.behaviour.init(keys[0], self.slots, self.features)
        if self.instant is not None:
            extra = 0 if self.behaviour is None else self.behaviour.size
            params[INSTANT] = self.instant.init(keys[1], self.slots, self.features, extra)
        return params

    def acting(self, params: dict[str, PyTree]) -> dict[str, PyTree]:
        """Returns what `step` reads: nothing that only foretells."""
        needed = {BEHAVIOUR: "encoder", INSTANT: "attention"}
        return {name: {needed[name]: params[name][needed[name]]} for name in NAMES if name in params}

    def start(self, batch: tuple[int, ...]) -> dict[str, PyTree]:
        """Returns the memory of nothing seen, leading shape ``batch``."""
        memory: dict[str, PyTree] = {}
        if self.behaviour is not None:
            memory[BEHAVIOUR] = self.behaviour.start(batch, self.slots, self.features)
        if self.instant is not None:
            memory[INSTANT] = jnp.zeros((*batch, self.slots, self.instant.size))
        return memory

    def noise(self, key: Array, batch: tuple[int, ...]) -> Array:
        """Draws what hard attention is perturbed by, [*batch, n, n - 1]."""
        return logistic(key, self._noise_shape(batch))

    def silence(self, batch: tuple[int, ...]) -> Array:
        """Returns no noise, [*batch, n, n - 1]."""
        return jnp.zeros(self._noise_shape(batch))

    def _noise_shape(self, batch: tuple[int, ...]) -> tuple[int, ...]:
        return (*batch, self.slots, self.slots - 1 if self.instant is not None else 0)

    def step(
        self,
        params: dict[str, PyTree],
        memory: dict[str, PyTree],
        view: Array,
        noise: Array,
        rates: dict[str, Array],
    ) -> tuple[dict[str, PyTree], Array]:
        """Looks at the slots: the instant incentive by the old behavioural one, then the behavioural one.

        Args:
            params: of all agents.
            memory: leaves [*B, G, ...].
            view: [*B, G, n * F].
            noise: of `noise`.
            rates: ``soft_update`` and ``temperature``.

        Returns:
            The memory, and the slots as a policy reads them [*B, G, n * S].
        """
        agents = view.ndim - 2  # their axis; in front while networks run

        def front(tree: PyTree) -> PyTree:
            return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, agents, 0), tree)

        seen, held = front(view.reshape(*view.shape[:-1], self.slots, self.features)), front(memory)
        parts = [seen]
        if (instant := self.instant) is not None:
            known = seen
            if self.behaviour is not None:
                known = jnp.concatenate([seen, held[BEHAVIOUR].incentive], axis=-1)
            look = self.sharing.per_agent(
                lambda p, h, x, noise: instant.step(p, h, x, noise, rates["temperature"])
            )
            held[INSTANT] = look(params[INSTANT]["attention"], held[INSTANT], known, front(noise))
            parts.append(held[INSTANT])
        if (behaviour := self.behaviour) is not None:
            look = self.sharing.per_agent(lambda p, h, x: behaviour.step(p, h, x, rates["soft_update"]))
            held[BEHAVIOUR] = look(params[BEHAVIOUR]["encoder"], held[BEHAVIOUR], seen)
            parts.append(held[BEHAVIOUR].incentive)
        slots, held = jax.tree.map(
            lambda leaf: jnp.moveaxis(leaf, 0, agents), (jnp.concatenate(parts, axis=-1), held)
        )
        return held, slots.reshape(*view.shape[:-1], -1)

    # Learning ------------------------------------------------------------------------------------------

    def loss(
        self,
        params: dict[str, PyTree],
        key: Array,
        rows: dict[str, Array],
        hyper: dict[str, Array],
        pairs: int,
    ) -> tuple[Array, dict[str, Array]]:
        """Returns what foretelling costs, a mean over agents, and its parts.

        Args:
            params: of all agents.
            key: decides dropout, noise, and which moments are looked at.
            rows: ``slots`` [T, E, G, n * S] as policies read them, ``reset`` [T, E, G] where an episode
                begins, ``counts`` [T, E, G] which steps count.
            hyper: ``soft_update``, ``temperature`` and ``dropout``.
            pairs: moments drawn for the instant incentive, at most.
        """
        behaviour_key, instant_key = jax.random.split(key)
        slots = rows["slots"].reshape(*rows["slots"].shape[:-1], self.slots, self.slot_size)
        rows, losses = rows | {"slots": slots}, {}
        if self.behaviour is not None:
            losses["behaviour_loss"] = self._behaviour_loss(params[BEHAVIOUR], behaviour_key, rows, hyper)
        if self.instant is not None:
            losses["instant_loss"] = self._instant_loss(params[INSTANT], instant_key, rows, hyper, pairs)
        return sum(losses.values(), jnp.zeros(())), losses

    def _behaviour_loss(
        self, params: PyTree, key: Array, rows: dict[str, Array], hyper: dict[str, Array]
    ) -> Array:
        module = cast(Behaviour, self.behaviour)
        seen = rows["slots"][..., : self.features]
        keep = _kept(key, (*seen.shape[:-1], module.decoder_width), hyper)

        def loss(p: PyTree, seen: Array, reset: Array, counts: Array, keep: Array) -> Array:
            return module.loss(p, seen, reset, counts, hyper["soft_update"], keep)

        leaves = (jnp.moveaxis(x, 2, 0) for x in (seen, rows["reset"], rows["counts"], keep))
        return jnp.mean(self.sharing.per_agent(loss)(params, *leaves))

    def _instant_loss(
        self, params: PyTree, key: Array, rows: dict[str, Array], hyper: dict[str, Array], pairs: int
    ) -> Array:
        """Foretells from moments that are drawn; a moment has all agents of an environment."""
        module = cast(Instant, self.instant)
        features, size, horizon = self.features, module.size, module.horizon
        draw_key, noise_key, keep_key = jax.random.split(key, 3)
        time, envs, agents = rows["reset"].shape
        pairs = min(pairs, (time - horizon) * envs)
        drawn = jax.lax.top_k(jax.random.uniform(draw_key, ((time - horizon) * envs,)), pairs)[1]
        t, e = drawn // envs, drawn % envs
        fresh = rows["reset"][t, e] | (t == 0)[:, None]
        before = jnp.where(fresh[..., None, None], 0.0, rows["slots"][jnp.maximum(t - 1, 0), e])
        known = jnp.concatenate(  # [P, G, n, F + D]: what is seen, and the behavioural incentive before it
            [rows["slots"][t, e][..., :features], before[..., features + size :]], axis=-1
        )
        later = t[:, None] + 1 + np.arange(horizon), e[:, None]
        future = rows["slots"][later][..., :features]  # [P, H, G, n, F]
        counts = rows["counts"][later] * (jnp.cumsum(rows["reset"][later], axis=1) == 0)
        noise = self.noise(noise_key, (pairs, agents))
        keep = _kept(keep_key, (horizon, pairs, agents, self.slots, size), hyper)

        def loss(p: PyTree, *xs: Any) -> Array:
            return cast(Any, module.loss)(p, *xs, hyper["temperature"])

        memory = before[..., features : features + size]
        leaves = ((memory, 1), (known, 1), (future, 2), (counts, 2), (noise, 1), (keep, 2))
        own = (jnp.moveaxis(leaf, axis, 0) for leaf, axis in leaves)
        return jnp.mean(self.sharing.per_agent(loss)(params, *own))


def _kept(key: Array, shape: tuple[int, ...], hyper: dict[str, Array]) -> Array:
    """Draws dropout's factors: zero, or what keeps the mean."""
    keep = 1.0 - hyper["dropout"]
    return jnp.where(jax.random.uniform(key, shape) < keep, 1.0 / jnp.maximum(keep, 1e-6), 0.0)
