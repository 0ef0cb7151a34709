"""What agents and a centralised critic see. Batches lie in trailing axes (`batch_last`)."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from shoal.envs.commons.govsim.rules import Rules, present
from shoal.envs.commons.govsim.types import SILENCE, Options, State
from shoal.envs.core.types import Observation


def observe(rules: Rules, options: Options, state: State) -> Observation:
    """Shows each agent the stock, the month, and what is told of the others; to those not there, nothing."""
    there = present(options, state.t)
    view = jnp.where(there[:, None], _view(rules, options, state), 0.0)
    return Observation(view=view, action_mask=_mask(options, there), alive=there)


def _view(rules: Rules, options: Options, state: State) -> Float[Array, "agents features *batch"]:
    n, batch = options.num_agents, state.t.shape
    catch = state.last_catch.astype(jnp.float32) / options.capacity
    around = np.add.outer(np.arange(n), np.arange(n)) % n  # [A, A], oneself first

    def for_all(x: Array) -> Array:
        return jnp.broadcast_to(x[None, None], (n, 1, *batch))

    parts = [
        for_all(state.stock.astype(jnp.float32) / options.capacity),
        for_all(state.t.astype(jnp.float32) / options.months),
        catch[:, None],
        jnp.take(catch, around, axis=0) if options.report else jnp.zeros((n, n, *batch), jnp.float32),
    ]
    if options.universalization:
        share = rules.share(options, state.params, state.stock, state.t)
        parts.append(for_all(share.astype(jnp.float32) * n / options.capacity))
    if options.messages:
        heard = jnp.take(said(options, state), around[:, 1:], axis=0)
        parts.append(heard.reshape(n, (n - 1) * options.messages, *batch))
    return jnp.concatenate(parts, axis=1)


def said(options: Options, state: State) -> Float[Array, "agents words *batch"]:
    """Returns last month's words one-hot; silence has no bit."""
    index = np.arange(SILENCE + 1, options.messages + 1, dtype=np.int8)
    index = index.reshape(1, -1, *(1,) * state.t.ndim)
    return (state.words[:, None] == jnp.asarray(index)).astype(jnp.float32)


def _mask(options: Options, there: Array) -> Array | tuple[Array, ...]:
    """Allows all to those who are there, 0 to the others."""

    def first_or_all(size: int) -> Array:
        index = jnp.arange(size, dtype=jnp.int32).reshape(1, -1, *(1,) * (there.ndim - 1))
        return there[:, None] | (index == 0)

    requests = first_or_all(options.largest_request + 1)
    return (requests, first_or_all(options.messages + 1)) if options.messages else requests


def global_state(options: Options, state: State) -> Float[Array, "features *batch"]:
    """Returns stock, elapsed share of the time, last catches, gains, and words where there are any."""
    nominal = options.months * options.capacity / (2 * options.num_agents)
    parts = [
        state.stock.astype(jnp.float32)[None] / options.capacity,
        state.t.astype(jnp.float32)[None] / options.months,
        state.last_catch.astype(jnp.float32) / options.capacity,
        state.gain.astype(jnp.float32) / nominal,
    ]
    if options.messages:
        parts.append(said(options, state).reshape(-1, *state.t.shape))
    return jnp.concatenate(parts)
