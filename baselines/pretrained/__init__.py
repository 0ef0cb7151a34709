"""Small trained policies that come with the package, one folder for each: what `shoal export` wrote.

docs/guides/pretrained.md says how each was trained, and how well it plays.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shoal.envs.core import UserError

if TYPE_CHECKING:
    from shoal.baselines.policies import Player

NAME = "pretrained"
"""As a policy's name: ``--policy pretrained``. As a path of `load_policy`: ``pretrained:ENV``."""
FOLDER = Path(__file__).resolve().parent


def list_pretrained() -> list[str]:
    """Returns the full ids of the environments that have a trained policy, sorted."""
    from shoal.baselines.export import CARD, read_card

    return sorted(read_card(card.parent)["env"]["id"] for card in FOLDER.glob(f"*/{CARD}"))


def load_pretrained(env_id: str) -> Player:
    """Loads the policy of an environment, with or without ``-vN``.

    Raises:
        UserError: for an unknown environment, or one without such a policy.
    """
    from shoal.baselines.export import load_export
    from shoal.envs.core.registry import resolve

    wanted, known = resolve(env_id), list_pretrained()
    if wanted not in known:
        raise UserError(f"no policy of {wanted} comes with Shoal; it has those of {', '.join(known)}")
    return load_export(folder_of(wanted))


def folder_of(env_id: str) -> Path:
    """Returns where an environment's policy lies: the id without its version, the slash a dash."""
    return FOLDER / env_id.rpartition("-v")[0].replace("/", "-")
