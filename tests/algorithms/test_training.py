"""The compiled program: chunks, members, devices, and lowering for other platforms."""

import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import shoal_toys as toys
from jax import export

from shoal.envs.core import UserError


def plain(state):
    """Everything of a state as NumPy arrays, keys as their data."""
    return jax.tree.map(
        lambda x: np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x),
        state,
    )


def assert_same(a, b, **tolerance):
    def compare(x, y):
        if tolerance and x.dtype.kind == "f":
            np.testing.assert_allclose(x, y, **tolerance)
        else:
            np.testing.assert_array_equal(x, y)

    jax.tree.map(compare, plain(a), plain(b))


def keys(*seeds):
    return jnp.stack([jax.random.key(seed) for seed in seeds])


@pytest.fixture(scope="module")
def after_four(program):
    return program.run(program.init(keys(0, 1)), 4)


def test_chunks_of_any_length_reach_the_same_numbers(program, after_four):
    state, env_steps = program.init(keys(0, 1)), 0
    for updates in (1, 3):
        state, totals, _ = program.run(state, updates)
        env_steps += totals.env_steps
    assert_same(state, after_four[0])
    np.testing.assert_array_equal(env_steps, after_four[1].env_steps)
    np.testing.assert_array_equal(env_steps, [4 * 6 * 8] * 2)


def test_one_compilation_serves_every_chunk(program, after_four):
    compiled = program._run._cache_size()
    state, _, _ = program.run(program.init(keys(0, 1)), 2)
    program.run(state, 5)
    assert program._run._cache_size() == compiled


def test_preparing_gives_what_init_and_run_give(program, after_four):
    state, run = program.prepare(keys(0, 1))
    # Compiled with less effort: the same but for rounding.
    assert_same(state, program.init(keys(0, 1)), rtol=1e-5, atol=1e-6)
    state, totals, _ = run(state, jnp.asarray(4, jnp.int32))
    np.testing.assert_array_equal(totals.env_steps, after_four[1].env_steps)
    assert_same(state.learners, after_four[0].learners, rtol=1e-3, atol=1e-4)


def test_members_equal_runs_of_their_own(program, after_four):
    for member, seed in enumerate((0, 1)):
        alone, totals, _ = program.run(program.init(keys(seed)), 4)
        ours = jax.tree.map(operator.itemgetter(slice(member, member + 1)), after_four[0])
        # A batch of members sums in another order, so floats agree to rounding only.
        assert_same(alone.learners, ours.learners, rtol=2e-3, atol=2e-5)
        assert_same(totals.episodes, after_four[1].episodes[member][None])


def test_seeds_differ(after_four):
    params = after_four[0].learners["all"].params
    differ = jax.tree.map(lambda x: bool(jnp.any(x[0] != x[1])), params)
    assert sum(jax.tree.leaves(differ)) >= 6  # all kernels at least


def test_two_devices_equal_one(make_program, program, after_four):
    wide = make_program(devices=2)
    state, totals, _ = wide.run(wide.init(keys(0, 1)), 4)
    assert len(state.play.timestep.reward.sharding.device_set) == 2
    assert_same(state.learners, after_four[0].learners, rtol=2e-3, atol=2e-5)
    assert_same(totals.env_steps, after_four[1].env_steps)


def test_finished_episodes_are_counted(program, after_four):
    _, totals, metrics = after_four
    # Every episode lasts two steps, so each of the 8 environments finishes 12 in 24 steps.
    np.testing.assert_array_equal(totals.episodes, [96, 96])
    np.testing.assert_array_equal(totals.episode_length, [192.0, 192.0])
    np.testing.assert_allclose(totals.episode_return_sum, 2 * totals.episode_return, rtol=1e-6)
    np.testing.assert_allclose(totals.metrics["right"], totals.episode_return, rtol=1e-6)
    assert all(np.isfinite(value).all() for value in metrics["all"].values())


def test_an_update_lowers_for_every_platform(program):
    state = jax.eval_shape(lambda k: program.init(k), keys(0))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_agents_must_be_owned_once(make_program, program):
    ((name, (group, learner)),) = program.learners.items()
    with pytest.raises(UserError, match="own agents"):
        type(program)(program.env, {name: (type(group)("one", (0,)), learner)}, 8, 6)


def test_environments_must_divide_over_devices(make_program):
    with pytest.raises(UserError, match="num_envs=9 does not divide over 2 devices"):
        make_program(num_envs=9, devices=2, minibatches=1)


class Dearer(toys.Chain):
    """A chain whose steps cost more from update to update."""

    def curriculum(self, progress):
        return self.params.replace(step_cost=progress)


def test_a_curriculum_goes_with_the_updates(make_program):
    """Episodes that start in an update are played with its numbers; those before go on with theirs."""
    env = Dearer.from_overrides("dearer", {"max_steps": 3, "length": 50})
    program, plainly = make_program(env, curriculum=4), make_program(env)
    state = program.init(keys(0))
    costs = [np.asarray(state.play.vector.env.params.step_cost)]
    for _ in range(2):
        state, _, _ = program.run(state, 1)  # six steps: an episode of three, its reset, two of the next
        costs.append(np.asarray(state.play.vector.env.params.step_cost))
    assert [set(cost.ravel().tolist()) for cost in costs] == [{0.0}, {0.0}, {0.25}]
    untouched = plainly.init(keys(0)).play.vector.env.params.step_cost
    np.testing.assert_array_equal(untouched, np.float32(0.125))
