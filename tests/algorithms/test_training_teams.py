"""The compiled program with opponents out of a pool: its content, chunks, members, devices, lowering."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_duel import duel

from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.opponents import PRESENT, Opponent, PoolConfig
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program
from shoal.envs.core import UserError

ENVS, UPDATES = 8, 5
REDS, BLUES = Group("reds", (0, 1)), Group("blues", (2, 3))
POOL = PoolConfig(size=2, every=2, present=0.3, blocks=4)
CONFIG = IPPOConfig(rollout_length=3, epochs=1, minibatches=2)


class Fresh(IPPO):
    """Every rollout opens new episodes."""

    fresh_rollouts = True


def program_of(devices=1, kind=IPPO, pool=POOL, **change):
    env = duel(rounds=2)

    def learner(group):
        return kind(CONFIG, NetworkConfig(hidden_size=8), Setting(env, group, ENVS, 10, False, 2))

    opponents = {"blues": Opponent(BLUES, learner(BLUES).policy, "ippo", pool.blocks)}
    learners = {"ippo": (REDS, learner(REDS))}
    given = {"opponents": opponents, "pool": pool, "swap_sides": True} | change
    return Program(env, learners, ENVS, CONFIG.rollout_length, jax.devices()[:devices], **given)


def keys(*seeds):
    return jnp.stack([jax.random.key(seed) for seed in seeds])


def plain(state):
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x),
        state,
    )


def assert_same(a, b, **tolerance):
    def compare(x, y):
        if tolerance and x.dtype.kind == "f":
            return np.testing.assert_allclose(x, y, **tolerance)
        return np.testing.assert_array_equal(x, y)

    jax.tree.map(compare, plain(a), plain(b))


@pytest.fixture(scope="module")
def program():
    return program_of()


@pytest.fixture(scope="module")
def states(program):
    """The state after each update, run one by one."""
    state = program.init(keys(0, 1))
    seen = [plain(state)]
    for _ in range(UPDATES):
        state, _, _ = program.run(state, 1)
        seen.append(plain(state))
    return seen


def test_the_pool_holds_past_parameters(states):
    # Taken after updates 2 and 4, into places 1 and 0.
    held = states[UPDATES].pool.snapshots
    for place, update in ((1, 2), (0, 4)):
        jax.tree.map(
            lambda slots, then, place=place: np.testing.assert_array_equal(slots[:, place], then),
            held,
            states[update].learners["ippo"].params,
        )
    np.testing.assert_array_equal(states[UPDATES].pool.taken, [3, 3])


def test_whom_they_meet_is_drawn_anew_for_every_update_and_member(states):
    drawn = np.stack([state.pool.drawn for state in states[1:]])  # [updates, members, blocks]
    assert drawn[0].max() == 0  # one is there
    assert drawn.min() == PRESENT and drawn.max() == 1
    assert (drawn[1:] != drawn[:-1]).any()
    assert (drawn[:, 0] != drawn[:, 1]).any()


def test_chunks_of_any_length_reach_the_same_numbers(program, states):
    """Also with a state that was on disk in between: nothing else is remembered."""
    compiled = program._run._cache_size()
    state, _, _ = program.run(program.init(keys(0, 1)), 2)
    state = jax.device_put(jax.tree.map(lambda x: x.copy(), state), program.shardings)
    state, _, metrics = program.run(state, UPDATES - 2)
    assert_same(state, states[UPDATES])
    assert metrics.keys() == {"ippo"}
    assert program._run._cache_size() == compiled


def test_members_equal_runs_of_their_own(program, states):
    alone, _, _ = program.run(program.init(keys(1)), UPDATES)
    ours = jax.tree.map(lambda x: x[1:2], states[UPDATES])
    assert_same(alone.learners, ours.learners, rtol=2e-3, atol=2e-5)
    assert_same(alone.pool, ours.pool, rtol=2e-3, atol=2e-5)


def test_two_devices_equal_one(states):
    wide = program_of(devices=2)
    state, _, _ = wide.run(wide.init(keys(0, 1)), UPDATES)
    assert len(state.play.carries["blues"].sharding.device_set) == 2
    assert_same(state.learners, states[UPDATES].learners, rtol=2e-3, atol=2e-5)
    assert_same(state.pool, states[UPDATES].pool, rtol=2e-3, atol=2e-5)


def test_memory_is_emptied_where_another_policy_plays_on(program, states):
    changed = jnp.asarray([True, False, True, False])
    member = jax.tree.map(lambda x: jnp.asarray(x[0]), states[UPDATES].play.carries)
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    params = jax.tree.map(lambda x: jnp.zeros((4, *x.shape[1:])), state.learners["ippo"].params)
    memory = program.opponents["blues"].reopened(params, member["blues"], changed, ENVS)
    assert float(jnp.abs(member["blues"]).max()) > 0
    np.testing.assert_array_equal(memory[0::2], 0.0)
    np.testing.assert_array_equal(memory[1::2], member["blues"][1::2])


def test_an_update_lowers_for_every_platform(program):
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_rollouts_that_open_new_episodes_have_opponents_too():
    program = program_of(kind=Fresh)
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    after, _, _ = jax.eval_shape(program.update, member)
    assert jax.tree.map(lambda x: x.shape, after) == jax.tree.map(lambda x: x.shape, member)


def test_environments_must_divide_into_blocks():
    with pytest.raises(UserError, match=r"num_envs=8 does not divide into opponent_pool\.blocks=3"):
        program_of(pool=PoolConfig(blocks=3))


def test_agents_need_one_player():
    with pytest.raises(UserError, match="own agents"):
        program_of(opponents={})
