"""Records steps of jaxmarl 0.1.0, the last version of SMAX's era B, for test_smax_era_b.py.

That version needs a jax older than ours, so this runs in an environment of its own, with Python 3.11:

    pip install "jaxmarl==0.1.0" "jax==0.4.38" "jaxlib==0.4.38" "flax==0.10.2" "chex==0.1.88" "numpy<2"
    python tests/parity/record_smax_era_b.py tests/parity/smax_era_b.npz

Of many whole episodes a few steps are kept, most of them with ghosts; ``--all`` keeps every step.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "support"))
from smax_cases import mixed_actions
from smax_peer import Peer, PeerStep

KEPT = {"3m": 64, "2s3z": 64, "5m_vs_6m": 64, "smacv2_10_units": 40}
BATCH, STEPS = 64, 110
STOP = 4


def main() -> None:
    """Records every scenario and writes one file, with arrays named ``scenario.field``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--all", action="store_true", help="keep every step")
    args = parser.parse_args()
    arrays = {}
    for scenario, kept in KEPT.items():
        rng = np.random.default_rng(11)
        peer = Peer(scenario)
        steps = list(episodes(rng, peer))
        columns = {name: np.concatenate([step[name] for step in steps]) for name in steps[0]}
        rows = np.arange(len(columns["over"])) if args.all else choose(rng, peer, columns, kept)
        arrays |= {f"{scenario}.{name}": column[rows] for name, column in columns.items()}
    np.savez_compressed(args.file, **arrays)


def episodes(rng: np.random.Generator, peer: Peer) -> Iterator[dict[str, np.ndarray]]:
    """Plays a batch of battles, opening a new one where one is over; a few open near the time limit."""
    key = jax.random.key(rng.integers(2**31))
    fresh = jax.tree.map(np.array, peer.reset(jax.random.split(key, BATCH)))
    late = np.arange(BATCH) % 8 == 1
    fresh = fresh.replace(state=fresh.state.replace(time=np.where(late, 90, fresh.state.time)))
    fresh_mask = np.asarray(peer.look(fresh)[1])
    state, mask = fresh, fresh_mask
    for t in range(STEPS):
        action = mixed_actions(rng, mask, t)
        action = np.where(mask[..., 0], action, STOP)  # the dead, who may only stop
        keys = jax.random.split(jax.random.fold_in(key, t), BATCH)
        after: PeerStep = jax.tree.map(np.asarray, peer.step(keys, state, action))
        yield record(state, action, after)
        opening = rng.integers(0, BATCH, BATCH)

        def renew(new: Any, old: Any, over: np.ndarray = after.over, pick: np.ndarray = opening) -> Any:
            return np.where(over.reshape(-1, *[1] * (old.ndim - 1)), new[pick], old)

        state, mask = jax.tree.map(renew, fresh, after.state), renew(fresh_mask, after.mask)


def record(before: Any, action: np.ndarray, after: PeerStep) -> dict[str, np.ndarray]:
    """Names what one batch of steps began with, drew and ended in."""
    fired = after.state.state.unit_weapon_cooldowns > before.state.unit_weapon_cooldowns
    return {
        **{f"before_{name}": value for name, value in moment(before).items()},
        **{f"after_{name}": value for name, value in moment(after.state).items()},
        "action": action.astype(np.int8),
        # Of the numbers drawn for weapons only those of units that fired have an effect.
        "deviation": after.draws.deviation * fired[:, None],
        "goal_mask": after.draws.goal.mask,
        "goal_index": after.draws.goal.index.astype(np.int8),
        "observation": after.observation,
        "world_state": after.world_state,
        "reward": after.reward,
        "agent_done": after.agent_done,
        "over": after.over,
        "mask": after.mask,
    }


def moment(state: Any) -> dict[str, np.ndarray]:
    """Takes the peer's state apart; who lives follows from health."""
    inner, memory = state.state, state.enemy_policy_state
    np.testing.assert_array_equal(inner.unit_alive, inner.unit_health > 0)
    return {
        "position": inner.unit_positions,
        "health": inner.unit_health,
        "types": inner.unit_types,
        "cooldown": inner.unit_weapon_cooldowns,
        "last_move": inner.prev_movement_actions.astype(np.float32),
        "last_attack": inner.prev_attack_actions.astype(np.int8),
        "step": inner.time.astype(np.int16),
        "goal": memory.default_target,
        "target": memory.last_attacked_enemy.astype(np.int8),
    }


def choose(rng: np.random.Generator, peer: Peer, steps: dict[str, np.ndarray], kept: int) -> np.ndarray:
    """Returns rows: half where a ghost touches the living, a quarter where one walks, a quarter of deaths."""
    radius = np.asarray(peer.inner.unit_type_radiuses)[steps["before_types"]]
    dead, living = steps["before_health"] <= 0, steps["after_health"] > 0
    touches = np.zeros(len(dead), bool)
    for place in (steps["before_position"], steps["after_position"]):
        apart = np.linalg.norm(place[:, :, None] - place[:, None], axis=-1)
        near = apart < radius[:, :, None] + radius[:, None]
        touches |= np.any(near & dead[:, :, None] & living[:, None], axis=(1, 2))
    walked = np.abs(steps["after_position"] - steps["before_position"]).max(-1) > 1e-3
    walks = np.any(dead & walked, axis=1) & ~touches
    dies = np.any(~dead & ~living, axis=1) & ~touches & ~walks
    half, quarter = kept // 2, kept // 4
    shares = (touches, half), (walks, quarter), (dies, kept - half - quarter)
    rows = [rng.choice(np.flatnonzero(which), size, replace=False) for which, size in shares]
    return np.sort(np.concatenate(rows))


if __name__ == "__main__":
    main()
