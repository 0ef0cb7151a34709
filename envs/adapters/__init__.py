"""Shoal's environments in the interfaces of other libraries, which are imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.envs.core.environment import Environment

if TYPE_CHECKING:
    from shoal.envs.adapters.gymnasium import ShoalGymEnv
    from shoal.envs.adapters.pettingzoo import ShoalParallelEnv

__all__ = ["to_gymnasium", "to_pettingzoo"]


def to_pettingzoo(
    env: Environment[Any, Any] | str, seed: int | None = None, render_mode: str | None = None
) -> ShoalParallelEnv:
    """Returns a PettingZoo ``ParallelEnv``; see `shoal.envs.adapters.pettingzoo.ShoalParallelEnv`.

    Args:
        env: an environment, or the id of a registered one.
        seed: decides the episodes until a ``reset(seed=...)``; drawn from the system if not given.
        render_mode: ``rgb_array`` to allow ``render()``.
    """
    from shoal.envs.adapters.pettingzoo import ShoalParallelEnv

    return ShoalParallelEnv(env, seed, render_mode)


def to_gymnasium(
    env: Environment[Any, Any] | str, seed: int | None = None, render_mode: str | None = None
) -> ShoalGymEnv:
    """Returns one Gymnasium ``Env`` over the joint action; see `shoal.envs.adapters.gymnasium.ShoalGymEnv`.

    Args:
        env: an environment, or the id of a registered one.
        seed: decides the episodes until a ``reset(seed=...)``; drawn from the system if not given.
        render_mode: ``rgb_array`` to allow ``render()``.

    Raises:
        UserError: when the agents form more than one team, since one number cannot reward opponents.
    """
    from shoal.envs.adapters.gymnasium import ShoalGymEnv

    return ShoalGymEnv(env, seed, render_mode)
