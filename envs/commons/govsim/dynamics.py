"""One month. Arrays lead with agents and share trailing batch axes (`batch_last`)."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Int

from shoal.envs.commons.govsim.allocation import share_out
from shoal.envs.commons.govsim.rules import Rules, present
from shoal.envs.commons.govsim.types import SILENCE, Draws, Options, State
from shoal.envs.commons.social import common
from shoal.envs.core.types import Outcome


def decode(
    options: Options, action: Int[Array, "agents ..."]
) -> tuple[Int[Array, "agents *batch"], Int[Array, "agents *batch"]]:
    """Returns requests and words; what is out of its range asks for nothing, or says nothing."""

    def within(x: Array, most: int) -> Array:
        return jnp.where((x >= 0) & (x <= most), x, 0)

    if not options.messages:
        return within(action, options.largest_request), jnp.full_like(action, SILENCE)
    return within(action[:, 0], options.largest_request), within(action[:, 1], options.messages)


def month(
    rules: Rules, options: Options, state: State, action: Int[Array, "agents ..."], draws: Draws
) -> tuple[State, Outcome]:
    """All ask at once, the stock is shared out, and what remains decides how it goes on."""
    there = present(options, state.t)
    requests, words = decode(options, action)
    requests = jnp.where(there, requests, 0)
    catches = share_out(options.allocation, state.stock, requests, draws.who)
    remains = state.stock - jnp.sum(catches, axis=0)
    grown, broken = rules.settle(options, state.params, remains)
    t = state.t + 1
    time_is_up = t >= options.months
    share = rules.share(options, state.params, state.stock, state.t)
    kept = there & rules.keeps(requests, share)
    state = State(
        stock=jnp.where(broken | time_is_up, remains, grown),
        t=t,
        last_catch=catches,
        gain=state.gain + catches,
        kept=state.kept + kept.astype(jnp.int32),
        words=jnp.where(there, words, SILENCE).astype(jnp.int8),
        params=state.params,
    )
    reward = rules.pay(state.params, catches, there, broken)
    if options.reward == "common":
        reward = common(reward)
    limit_ends = options.time_limit_is_termination
    outcome = Outcome(
        reward=reward,
        terminated=broken | (time_is_up & limit_ends),
        truncated=time_is_up & ~broken & (not limit_ends),
        agent_done=jnp.zeros_like(there),
        joined=present(options, t) & ~there,
        metrics=rules.metrics(options, state),
    )
    return state, outcome
