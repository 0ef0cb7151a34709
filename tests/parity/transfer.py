"""Plays a policy that was trained in our SMAX inside jaxmarl's own, where it must win as often.

    python tests/parity/transfer.py runs/demo --episodes 512 --at-least 0.8

Prints both win rates with their standard errors and a verdict; the exit status is 0 when both reach the level
and lie within three combined standard errors of each other, 1 when not, 2 when there is nothing to play.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

if __name__ == "__main__":  # pytest adds this folder by itself
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from jaxmarl.environments.smax import Scenario
from smax_match import Moment, OurGame, OurPlayer, PeerGame, Results, play, standard_error
from smax_peer import SLOT, Peer

from shoal.envs.core import EntityView, Environment, Observation, Policy, UserError

ERRORS = 3.0


def peer_of(env: Environment[Any, Any]) -> Peer:
    """The peer's environment with the same units, options and numbers.

    Raises:
        UserError: when ``env`` is not SMAX against its scripted enemy.
    """
    o, p = env.options, env.params
    if not env.id.startswith("combat/smax-") or o.control != "allies":
        raise UserError(f"{env.id} is not SMAX against its scripted enemy; train in one of combat/smax-*")
    scenario = Scenario(
        unit_types=jnp.asarray(o.ally_types + o.enemy_types, jnp.uint8),
        num_allies=o.num_allies,
        num_enemies=o.num_enemies,
        smacv2_position_generation=o.starts == "smacv2",
        smacv2_unit_type_generation=o.unit_types == "random",
    )
    return Peer(
        scenario,
        attack_mode=o.attack_mode,
        enemy_shoots=o.enemy_shoots,
        see_enemy_actions=o.see_enemy_actions,
        walls_cause_death=o.walls_cause_death,
        use_self_play_reward=o.use_self_play_reward,
        max_steps=o.max_steps,
        world_steps_per_env_step=o.world_steps,
        map_width=float(p.map_width),
        map_height=float(p.map_height),
        time_per_step=float(p.seconds_per_world_step),
        won_battle_bonus=float(p.win_bonus),
        unit_type_velocities=jnp.asarray(p.speed),
        unit_type_attacks=jnp.asarray(p.damage),
        unit_type_attack_ranges=jnp.asarray(p.range),
        unit_type_sight_ranges=jnp.asarray(p.sight),
        unit_type_radiuses=jnp.asarray(p.radius),
        unit_type_health=jnp.asarray(p.health),
        unit_type_weapon_cooldowns=jnp.asarray(p.reload),
    )


class Guest(OurPlayer):
    """A policy of ours that is shown the peer's observations."""

    def __init__(self, policy: Policy, env: Environment[Any, Any], greedy: bool = True) -> None:
        if policy.needs_state:
            raise UserError("the policy reads our whole state, which the peer does not have")
        super().__init__(policy, greedy)
        self.entities = env.options.view == "entities"

    def act(self, key: Array, moment: Moment) -> Array:
        """Passes the observation on."""
        mask = jnp.asarray(moment.mask)
        alive = moment.state.state.unit_alive[:, : mask.shape[1]]
        view = entity_view(moment.observation) if self.entities else moment.observation
        return super().act(key, moment._replace(observation=Observation(view, mask.astype(bool), alive)))


def entity_view(flat: Array) -> EntityView:
    """The published vector taken apart, as our ``view="entities"`` has it."""
    slots = flat[..., :-10].reshape(*flat.shape[:-1], -1, SLOT)
    return EntityView(own=flat[..., -10:], entities=slots, entity_mask=slots[..., 0] > 0)


def transfer(
    env: Environment[Any, Any], policy: Policy, episodes: int, seed: int = 0, greedy: bool = True
) -> tuple[Results, Results]:
    """Plays ``policy`` in the peer and in ours; returns the episodes of each."""
    batch = min(episodes, 256)
    theirs = play(PeerGame(peer_of(env)), Guest(policy, env, greedy), seed, batch, episodes)
    return theirs, play(OurGame(env), OurPlayer(policy, greedy), seed + 1, batch, episodes)


def main(arguments: list[str] | None = None) -> int:
    """Reads the command line, plays and reports."""
    parser = argparse.ArgumentParser(description="Play a policy trained in our SMAX inside jaxmarl's.")
    parser.add_argument("run", help="run folder, or RUN@member")
    parser.add_argument("--episodes", type=int, default=512, help="in each of the two (default 512)")
    parser.add_argument("--at-least", type=float, default=0.0, help="the win rate that both must reach")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", action="store_true", help="draw actions instead of taking the likeliest")
    chosen = parser.parse_args(arguments)
    from shoal.baselines import load_policy

    try:
        player = load_policy(chosen.run)
        results = transfer(player.env(), player, chosen.episodes, chosen.seed, not chosen.sample)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    rates = [float(result.won.mean()) for result in results]
    spreads = [standard_error(result.won.astype(float)) for result in results]
    for name, result, rate, spread in zip(("jaxmarl", "shoal"), results, rates, spreads, strict=True):
        print(f"{name:8} win rate {rate:.4f} +- {spread:.4f} over {len(result.won)} episodes")
    apart = abs(rates[0] - rates[1]) / float(np.hypot(*spreads))
    high, alike = min(rates) >= chosen.at_least, apart <= ERRORS
    print(f"{apart:.2f} standard errors apart; both at least {chosen.at_least}: {'yes' if high else 'no'}")
    print(f"verdict  {'transfers' if high and alike else 'DOES NOT TRANSFER'}")
    return 0 if high and alike else 1


if __name__ == "__main__":
    sys.exit(main())
