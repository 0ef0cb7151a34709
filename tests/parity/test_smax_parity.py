"""Our SMAX beside jaxmarl 0.2.0's: the same steps from the same states, the same statistics when left alone.

One class per scenario, so that one worker compiles what belongs to it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

import jax
import numpy as np
import pytest
from scipy.stats import ks_2samp
from smax_bridge import Bridge
from smax_cases import SIDE, battles, mixed_actions
from smax_match import (
    Comparison,
    OurGame,
    OurPlayer,
    PeerBot,
    PeerGame,
    Player,
    RandomPlayer,
    follow,
    play,
    unlike,
)
from smax_peer import Peer

pytestmark = [pytest.mark.parity, pytest.mark.slow]

BATCH = 256


@cache
def peer_of(scenario: str, **options: Any) -> Peer:
    return Peer(scenario, **options)


@cache
def bridge_of(scenario: str, **options: Any) -> Bridge:
    return Bridge(f"combat/smax-{scenario}", **options)


@cache
def games_of(scenario: str) -> tuple[PeerGame, OurGame]:
    return PeerGame(peer_of(scenario)), OurGame(bridge_of(scenario).env)


def compare_constructed(
    peer: Peer, bridge: Bridge, rounds: int, change: Callable[[Any], Any] = lambda p: p
) -> Comparison:
    """Compares single steps from constructed states, ours with its numbers changed."""
    rng = np.random.default_rng(7)
    result = Comparison(peer)
    for i in range(rounds):
        state = battles(rng, peer.inner, BATCH).to_peer()
        action = mixed_actions(rng, np.asarray(peer.look(state)[1]), i)
        keys = jax.random.split(jax.random.key(rng.integers(2**31)), BATCH)
        theirs = peer.step(keys, state, action)
        result.add(state, theirs, bridge.compare(change(bridge.env.params), state, action, theirs))
    return result


LAYOUT = (
    "allies' mean x",
    "allies' mean y",
    "enemies' mean x",
    "enemies' mean y",
    "allies' spread in x",
    "enemies' spread in y",
    "nearest wall",
    "nearest neighbours",
    "enemies not like their ally",
    "how many types",
    "sum of types",
)


def positions_and_types(state: Any) -> tuple[np.ndarray, np.ndarray]:
    """[B, N, 2] and [B, N] of a state of the peer's or of ours."""
    if hasattr(state, "enemy_policy_state"):
        return np.asarray(state.state.unit_positions), np.asarray(state.state.unit_types)
    return np.stack([state.x, state.y], axis=-1), np.asarray(state.unit_type)


def layout(position: np.ndarray, types: np.ndarray, n_allies: int) -> np.ndarray:
    """One number per reset for each of `LAYOUT`, so that the samples are independent."""
    allies, enemies = position[:, :n_allies], position[:, n_allies:]
    n = position.shape[1]
    apart = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1) + 99 * np.eye(n)
    pairs = min(n_allies, n - n_allies)
    return np.stack(
        [
            allies[..., 0].mean(1),
            allies[..., 1].mean(1),
            enemies[..., 0].mean(1),
            enemies[..., 1].mean(1),
            allies[..., 0].std(1),
            enemies[..., 1].std(1),
            np.minimum(position, SIDE - position).min((1, 2)),
            apart.min((1, 2)),
            (types[:, :pairs] != types[:, n_allies : n_allies + pairs]).sum(1),
            np.array([len(set(row)) for row in types]),
            types.sum(1),
        ]
    )


class Steps:
    """The same steps from the same states; subclasses name the scenario."""

    scenario: ClassVar[str]

    def test_single_steps_from_constructed_states(self) -> None:
        result = compare_constructed(peer_of(self.scenario), bridge_of(self.scenario), rounds=12)
        assert result.steps >= 3000
        result.check()

    def test_every_step_of_whole_episodes(self) -> None:
        result = follow(np.random.default_rng(8), peer_of(self.scenario), bridge_of(self.scenario), BATCH, 80)
        result.check()
        wanted = {"kills": 500, "pushes": 200, "wall_deaths": 50, "draws": 20, "timeouts": 20}
        assert all(result.events[name] >= count for name, count in wanted.items()), result.events


class Statistics:
    """The same starts, wins, lengths and returns when each plays with its own random numbers."""

    scenario: ClassVar[str]
    episodes: ClassVar[int]

    def test_resets_are_alike(self) -> None:
        theirs, ours = games_of(self.scenario)
        samples = []
        for game in (theirs, ours):
            states = [game.reset(jax.random.key(seed), BATCH).state for seed in range(8)]
            positions = [positions_and_types(state) for state in states]
            samples.append(
                np.concatenate([layout(*part, theirs.peer.n_allies) for part in positions], axis=1)
            )
        for name, a, b in zip(LAYOUT, *samples, strict=True):
            assert ks_2samp(a, b).pvalue > 1e-4, f"{name}: means {a.mean():.3f} and {b.mean():.3f}"

    def test_random_allies_fare_alike(self) -> None:
        self.check_alike(RandomPlayer(), RandomPlayer())

    def test_heuristic_allies_fare_alike(self) -> None:
        ours = games_of(self.scenario)[1].env.scripted_policies()["scripted"]()
        self.check_alike(PeerBot(peer_of(self.scenario)), OurPlayer(ours))

    def check_alike(self, their_player: Player, our_player: Player) -> None:
        """Fails when two independent tries both differ; one alone does so by chance now and then."""
        theirs, ours = games_of(self.scenario)
        for seed in (1, 2):
            differences = unlike(
                play(theirs, their_player, seed, BATCH, self.episodes),
                play(ours, our_player, seed + 100, BATCH, self.episodes),
            )
            if not differences:
                return
        pytest.fail(f"{self.scenario}, theirs and ours: {'; '.join(differences)}")


class TestThreeMarines(Steps, Statistics):
    scenario = "3m"
    episodes = 4 * BATCH

    @pytest.mark.parametrize(
        ("name", "factor"),
        [
            ("speed", 1.001),
            ("damage", 1.01),
            ("range", 1.005),
            ("sight", 1.005),
            ("radius", 1.01),
            ("reload", 1.001),
            ("health", 1.01),
            ("map_width", 0.999),
            ("map_height", 0.999),
            ("seconds_per_world_step", 1.001),
            ("win_bonus", 1.01),
        ],
    )
    def test_a_changed_number_is_noticed(self, name: str, factor: float) -> None:
        result = compare_constructed(
            peer_of(self.scenario),
            bridge_of(self.scenario),
            rounds=2,
            change=lambda params: params.replace(**{name: np.float32(factor) * getattr(params, name)}),
        )
        assert len(result.faults) >= 3, f"{name} x {factor} made {len(result.faults)} faults"


class TestTwoStalkersThreeZealots(Steps, Statistics):
    scenario = "2s3z"
    episodes = 2 * BATCH


class TestFiveMarinesAgainstSix(Steps, Statistics):
    scenario = "5m_vs_6m"
    episodes = 2 * BATCH


class TestEightAgainstNine(Steps):
    scenario = "3s5z_vs_3s6z"


class TestTenRandomUnits(Steps, Statistics):
    scenario = "smacv2_10_units"
    episodes = BATCH

    def test_one_cooldown_deviation_per_step_and_unit_suffices(self) -> None:
        """Nobody fires twice in a step: of the eight that the peer draws for a unit it uses one at most."""
        peer, bridge = peer_of(self.scenario), bridge_of(self.scenario)
        rng = np.random.default_rng(10)
        result = Comparison(peer)
        reload, dt = np.asarray(peer.inner.unit_type_weapon_cooldowns), peer.inner.time_per_step
        for i in range(4):
            battle = battles(rng, peer.inner, BATCH)
            state = battle.to_peer()
            action = mixed_actions(rng, np.asarray(peer.look(state)[1]), i)
            theirs = peer.step(jax.random.split(jax.random.key(100 + i), BATCH), state, action)
            # The deviation that was used explains the weapon's cooldown after the step.
            deviation = np.asarray(theirs.draws.deviation)
            after = np.asarray(theirs.state.state.unit_weapon_cooldowns)
            idle = dt * np.arange(7, -1, -1)[:, None]
            unexplained = np.abs(reload[battle.types][:, None] + deviation - idle - after[:, None])
            used = np.take_along_axis(deviation, unexplained.argmin(1)[:, None], axis=1)
            theirs = theirs._replace(draws=theirs.draws._replace(deviation=used))
            result.add(state, theirs, bridge.compare(bridge.env.params, state, action, theirs))
        result.check()


class TestOptions:
    """Every option that changes the rules, several at a time."""

    @pytest.mark.parametrize(
        "options",
        [
            {"attack_mode": "random", "see_enemy_actions": False, "walls_cause_death": False},
            {"enemy_shoots": False, "max_steps": 40, "map_width": 30.0, "won_battle_bonus": 2.0},
            {"world_steps_per_env_step": 5, "time_per_step": 0.1, "map_height": 34.0},
        ],
        ids=["random targets", "enemies hold fire", "coarser time"],
    )
    def test_steps_under_options(self, options: dict[str, Any]) -> None:
        names = {
            "world_steps_per_env_step": "world_steps",
            "time_per_step": "seconds_per_world_step",
            "won_battle_bonus": "win_bonus",
        }
        ours = {names.get(name, name): value for name, value in options.items()}
        compare_constructed(Peer("3m", **options), Bridge("combat/smax-3m", **ours), rounds=8).check()
