"""Encoders and heads: what may not matter does not, sizes may change, and wrong views are refused."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_sights import sights

from shoal.algorithms.blocks.encoders import flatten_state, flatten_view
from shoal.algorithms.blocks.learner import Group, Setting
from shoal.algorithms.blocks.networks import (
    Actor,
    ActorCritic,
    Critic,
    NetworkConfig,
    Trunk,
    entity_actions_of,
    initial_carry,
    memory,
)
from shoal.algorithms.ippo import IPPO, IPPOConfig
from shoal.algorithms.training import Program
from shoal.envs.core import EntityView, UserError, make

SET = NetworkConfig(name="set", hidden_size=8, attention_heads=2, self_attention=1)
TARGETS = (-1, -1, 5, 3, 4)  # actions 0, 1 and 2 are aimed at nobody
B, K, FEATURES = 3, len(TARGETS), 4


def view_of(key, slots=K):
    keys = jax.random.split(key, 3)
    mask = jax.random.bernoulli(keys[2], 0.7, (1, B, slots)).at[..., 0].set(True)
    entities = jax.random.normal(keys[1], (1, B, slots, FEATURES)) * mask[..., None]
    return EntityView(jax.random.normal(keys[0], (1, B, 2)), entities, mask)


RESET = jnp.zeros((1, B), bool)


@pytest.fixture(scope="module")
def actor():
    """A set network with heads that are no longer near zero, as a function of (view, targets)."""
    network = Actor(SET, 6, TARGETS)
    params = jax.jit(network.init)(jax.random.key(0), memory(SET, (B,)), view_of(jax.random.key(1)), RESET)
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)

    def apply(view, targets=TARGETS, outputs=6):
        return Actor(SET, outputs, targets).apply(params, memory(SET, (B,)), view, RESET)

    return jax.jit(apply, static_argnums=(1, 2))


def test_reordering_entities_reorders_the_actions_aimed_at_them(actor):
    view = view_of(jax.random.key(2))
    order = np.asarray([1, 0, 4, 2, 3])  # allies among themselves, targets among themselves
    moved = replace(view, entities=view.entities[..., order, :], entity_mask=view.entity_mask[..., order])
    (carry, head), (carry_moved, head_moved) = actor(view), actor(moved)
    np.testing.assert_allclose(carry, carry_moved, atol=1e-5)
    np.testing.assert_allclose(head[..., :3], head_moved[..., :3], atol=1e-5)
    # Slots 2, 3, 4 are aimed at by 5, 3, 4 and now hold what was in 4, 2, 3.
    np.testing.assert_allclose(head_moved[..., [5, 3, 4]], head[..., [4, 5, 3]], atol=1e-5)
    assert np.ptp(np.asarray(head[..., 3:]), axis=-1).min() > 1e-3


def test_what_is_not_seen_does_not_matter(actor):
    view = view_of(jax.random.key(3))
    unseen = ~view.entity_mask
    assert unseen.any()
    noisy = replace(view, entities=view.entities + 5.0 * unseen[..., None])
    (carry, head), (carry_noisy, head_noisy) = actor(view), actor(noisy)
    np.testing.assert_allclose(carry, carry_noisy, atol=1e-5)
    np.testing.assert_allclose(head[..., :3], head_noisy[..., :3], atol=1e-5)
    louder = replace(view, entities=view.entities + 5.0 * view.entity_mask[..., None])
    assert np.abs(np.asarray(actor(louder)[0]) - np.asarray(carry)).max() > 1e-2


def test_friends_and_targets_are_told_apart(actor):
    view = view_of(jax.random.key(4))
    view = replace(view, entity_mask=jnp.ones_like(view.entity_mask))
    swapped = replace(view, entities=view.entities[..., np.asarray([2, 1, 0, 3, 4]), :])
    assert np.abs(np.asarray(actor(view)[0]) - np.asarray(actor(swapped)[0])).max() > 1e-3


def test_parameters_serve_any_number_of_entities(actor):
    fewer, more = view_of(jax.random.key(5), 3), view_of(jax.random.key(5), 9)
    assert actor(fewer, (-1, 3, 4), 5)[1].shape == (1, B, 5)
    assert actor(more, (-1, -1, *range(3, 10)), 10)[1].shape == (1, B, 10)
    # An entity that nobody sees adds nothing but the action aimed at it.
    empty = EntityView(
        fewer.own,
        jnp.concatenate([fewer.entities, jnp.zeros((1, B, 1, FEATURES))], axis=-2),
        jnp.concatenate([fewer.entity_mask, jnp.zeros((1, B, 1), bool)], axis=-1),
    )
    wider = actor(empty, (-1, 3, 4, 5), 6)[1]
    np.testing.assert_allclose(wider[..., :5], actor(fewer, (-1, 3, 4), 5)[1], atol=1e-5)


def test_a_lone_observer_sees_no_nan(actor):
    view = view_of(jax.random.key(6))
    alone = replace(
        view, entities=jnp.zeros_like(view.entities), entity_mask=jnp.zeros_like(view.entity_mask)
    )
    assert np.isfinite(np.asarray(actor(alone)[1])).all()


def test_parameters_of_smax_do_not_depend_on_the_teams():
    shapes = []
    for team in ("3m", "5m"):
        env = make("combat/smax-custom", allies=team, enemies=team, view="entities")
        network = ActorCritic(SET, env.action_space.n, entity_actions_of(SET, env))

        def params(key, env=env, network=network):
            view = env.reset(key)[1].observation.view
            view = jax.tree.map(lambda leaf: leaf[None], view)
            agents = (env.num_agents,)
            return network.init(key, initial_carry(SET, agents), view, jnp.zeros((1, *agents), bool))

        shapes.append(jax.eval_shape(params, jax.random.key(0)))
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("core", ["gru", "none"])
def test_a_grid_becomes_features(core):
    config = NetworkConfig(name="cnn", hidden_size=6, channels=(2, 3), core=core)
    view = jax.random.bernoulli(jax.random.key(0), 0.5, (2, B, 4, 5, 3)).astype(jnp.uint8)
    trunk, reset = Trunk(config), jnp.zeros((2, B), bool)
    params = jax.jit(trunk.init)(jax.random.key(1), memory(config, (B,)), view, reset)
    kernels = [leaf.shape for leaf in jax.tree.leaves(params) if leaf.ndim == 4]
    assert kernels == [(3, 3, 3, 2), (3, 3, 2, 3)]
    _, features = jax.jit(trunk.apply)(params, memory(config, (B,)), view, reset)
    assert features.shape == (2, B, 6)
    # A convolution looks at neighbours, so that moving a pattern inside the grid moves its answer.
    moved = jnp.roll(view, 1, axis=-2)
    assert np.abs(np.asarray(trunk.apply(params, memory(config, (B,)), moved, reset)[1] - features)).max() > 0


@pytest.mark.parametrize(
    ("name", "view", "words"),
    [
        ("cnn", jnp.zeros((1, B, 7)), "network=cnn needs views that are grids"),
        ("set", jnp.zeros((1, B, 7)), "network=set needs entity views"),
        ("cnn", view_of(jax.random.key(0)), "network=cnn needs views that are grids"),
    ],
)
def test_views_of_another_kind_are_refused(name, view, words):
    config = NetworkConfig(name=name, hidden_size=8)
    with pytest.raises(UserError, match=words):
        jax.eval_shape(Critic(config).init, jax.random.key(0), memory(config, (B,)), view, RESET)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "cmm"}, "network.name='cmm' is not one of mlp, cnn, set"),
        (
            {"name": "set", "hidden_size": 10},
            "hidden_size=10 must be a multiple of network.attention_heads=4",
        ),
        ({"name": "cnn", "channels": ()}, r"network.channels=\[\] must be"),
        ({"self_attention": -1}, "network.self_attention=-1 must be at least 0"),
    ],
)
def test_bad_shapes_are_one_line(change, words):
    with pytest.raises(UserError, match=words):
        NetworkConfig(**change)


@pytest.mark.parametrize("view", ["entities", "grid"])
def test_an_update_lowers_everywhere(view):
    env, group = sights(view=view), Group("all", (0,))
    network = replace(SET, name="set" if view == "entities" else "cnn")
    learner = IPPO(IPPOConfig(rollout_length=2), network, Setting(env, group, 4, 10, False))
    program = Program(env, {"all": (group, learner)}, 4, 2)
    state = jax.eval_shape(lambda k: program.init(k), jax.random.split(jax.random.key(0), 1))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_flattening():
    view = view_of(jax.random.key(0))
    assert flatten_view(view).shape == (1, B, K * FEATURES + 2)
    grid = jnp.ones((2, B, 4, 4, 1), jnp.uint8)
    assert flatten_view(grid, 2).shape == (2, B, 16) and flatten_view(grid, 2).dtype == jnp.float32
    state = flatten_state({"a": jnp.zeros((2, 3, 4)), "b": jnp.ones((2, 3), jnp.int32)}, 2)
    assert state.shape == (2, 3, 5) and state.dtype == jnp.float32
