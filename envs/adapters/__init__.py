"""Shoal's environments in other libraries' interfaces, and theirs in ours; imported when first asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.envs.core.environment import Environment

if TYPE_CHECKING:
    from shoal.envs.adapters.as_jaxmarl import ShoalMultiAgentEnv
    from shoal.envs.adapters.gymnasium import ShoalGymEnv
    from shoal.envs.adapters.pettingzoo import ShoalParallelEnv

__all__ = ["BRIDGED", "to_gymnasium", "to_jaxmarl", "to_pettingzoo"]

BRIDGED = (
    *(
        f"jaxmarl/overcooked-{layout}-v1"
        for layout in ("cramped_room", "asymm_advantages", "coord_ring", "forced_coord", "counter_circuit")
    ),
    "jaxmarl/hanabi-v1",
    "jumanji/lbf-2s-8x8-2p-2f-coop-v1",
    "jumanji/lbf-8x8-2p-2f-coop-v1",
    "jumanji/lbf-2s-10x10-3p-3f-v1",
    "jumanji/lbf-10x10-3p-3f-v1",
    "jumanji/lbf-15x15-3p-5f-v1",
    "jumanji/lbf-15x15-4p-3f-v1",
    "jumanji/lbf-15x15-4p-5f-v1",
    "jumanji/rware-tiny-2ag-v1",
    "jumanji/rware-tiny-4ag-v1",
    "jumanji/rware-tiny-4ag-easy-v1",
    "jumanji/rware-small-4ag-v1",
)
"""Environments of other suites that presets can name; docs/guides/bridges.md lists all forms of their ids."""


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


def to_jaxmarl(env: Environment[Any, Any] | str, padded: bool = True) -> ShoalMultiAgentEnv:
    """Returns a JaxMARL ``MultiAgentEnv``; see `shoal.envs.adapters.as_jaxmarl.ShoalMultiAgentEnv`.

    Args:
        env: an environment, or the id of a registered one.
        padded: whether unlike agents keep common shapes, which scripts that stack agents need.

    Raises:
        UserError: when JaxMARL is not installed.
    """
    from shoal.envs.adapters.bridge import imported

    imported("jaxmarl", "to_jaxmarl")
    from shoal.envs.adapters.as_jaxmarl import ShoalMultiAgentEnv

    return ShoalMultiAgentEnv(env, padded)
