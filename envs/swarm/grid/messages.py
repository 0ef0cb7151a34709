"""What agents say: one token a round, heard in the next one by all within range of where the sender then is.

Source: SwarmBench (arXiv 2505.04364 v4) and its code; tokens take the place of text. Noise, where it is on,
is that of Table S.6: some tokens are replaced, and each is late by a few rounds. Arrays may share a trailing
axis of worlds.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jaxtyping import Float, Int

from shoal.envs.core.types import Key
from shoal.envs.swarm.grid.types import Options, Params, Post


@struct.dataclass
class Noise:
    """What happens to the tokens of one round."""

    corrupted: Array  # [A] f32 in [0, 1), replaced where below the share of corrupted ones
    other: Array  # [A] f32 in [0, 1), by which other token
    delay: Array  # [A] f32 in [0, 1), rounds late


def draw(options: Options, key: Key) -> Any:
    """Returns the noise of a round; nothing where there is none."""
    if not (options.noisy_messages and options.speaks):
        return ()
    u = jax.random.uniform(key, (3, options.num_agents))
    return Noise(corrupted=u[0], other=u[1], delay=u[2])


def empty_post(options: Options) -> Any:
    """Returns no tokens on their way."""
    if not (options.noisy_messages and options.speaks):
        return ()
    nothing = jnp.zeros((options.max_delay + 1, options.num_agents), jnp.int32)
    return Post(token=nothing, due=nothing - 1)


def send(options: Options, params: Params, post: Any, token: Int[Array, "agents *batch"], noise: Any) -> Any:
    """Hands over the tokens of a round; slots whose time is over are used again."""
    if isinstance(post, tuple):
        return post
    # Another token than the one said, silence excepted.
    others = options.vocabulary - 2
    shift = 1 + jnp.minimum((noise.other * others).astype(jnp.int32), max(others - 1, 0))
    replaced = (token - 1 + shift) % (options.vocabulary - 1) + 1
    corrupted = (noise.corrupted < jnp.asarray(params.corruption)[None]) & (token > 0)
    token = jnp.where(corrupted & (others > 0), replaced, token)
    late = jnp.minimum((noise.delay * (options.max_delay + 1)).astype(jnp.int32), options.max_delay)
    # The oldest slot was sent max_delay + 1 rounds ago and has been delivered.
    return Post(
        token=jnp.concatenate([token[None], post.token[:-1]]),
        due=jnp.concatenate([late[None], post.due[:-1] - 1]),
    )


def delivered(post: Any, token: Int[Array, " agents"]) -> Int[Array, "slots agents"]:
    """Returns the tokens that can be heard now, by slots of the round that they were sent in; 0 for none."""
    if isinstance(post, tuple):
        return token[None]
    return jnp.where(post.due == 0, post.token, 0)


def tokens_heard(vocabulary: int, window: Int[Array, "agents cells"]) -> Float[Array, "agents words"]:
    """Counts the tokens in windows; silence is not counted."""
    words = np.arange(vocabulary, dtype=np.int32).reshape(1, -1, 1)
    hit = (window[:, None] == words) & (words > 0)
    return jnp.sum(hit, axis=-1, dtype=jnp.int32).astype(jnp.float32)
