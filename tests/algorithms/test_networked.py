"""Networked actor-critic: its structures beside plain NumPy, its loss by hand, and what an update changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from shoal_recall import Recall

from shoal.algorithms.blocks.episode_batches import Beyond
from shoal.algorithms.blocks.learner import Group, Moment, Setting, TrainState, Trajectory, hyper_of
from shoal.algorithms.blocks.messages.graph import Graph
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.networked import Networked, NetworkedConfig
from shoal.algorithms.training import Program
from shoal.baselines.composition import compose
from shoal.envs.core import Observation, UserError, make

KEY = jax.random.key(0)
ENVS, STEPS, AGENTS, HIDDEN, CHOICES = 2, 6, 3, 5, 3
CHAIN = ((0, 1, 0), (1, 0, 1), (0, 1, 0))  # the ends have one neighbour, the middle has two
JOINT, SEEING = ("commnet", "dial", "neurcomm"), ("na2c", "fprint")


class Chain(Recall):
    def make_metadata(self) -> Any:
        return replace(super().make_metadata(), extras={"neighbours": CHAIN})


@pytest.fixture(scope="module")
def chain() -> Any:
    """Three agents that recall two cues; episodes of two steps, the third action is never legal."""
    return Chain.from_overrides("chain", {"num_agents": AGENTS, "cues": 2, "delay": 1})


def learner_of(env: Any, structure: str, hidden: int = HIDDEN, sharing: str = "none", **config: Any) -> Any:
    group = Group("all", tuple(range(env.num_agents)))
    setting = Setting(env, group, ENVS, 10, not env.time_limit_is_termination, sharing=sharing)
    known = NetworkedConfig(structure=structure, rollout_length=STEPS, **config)
    return Networked(known, NetworkConfig(hidden_size=hidden), setting)


def params_of(learner: Any) -> Any:
    """Any parameters of the right shapes; drawing real ones compiles for longer than all else here."""
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda key: learner.init(key).params, KEY)
    return jax.tree.map(lambda x: jnp.asarray(rng.normal(size=x.shape) * 0.5, jnp.float32), shapes)


def moment_of(view: Any, reset: Any, action: Any = ()) -> Moment:
    """Moments of which the third action is illegal."""
    mask = np.broadcast_to(np.arange(CHOICES) < 2, (*reset.shape, CHOICES))
    seen = Observation(jnp.asarray(view, jnp.float32), jnp.asarray(mask), jnp.ones(reset.shape, bool))
    return Moment(seen, jnp.asarray(reset), jnp.asarray(reset), action)


# Plain NumPy, one agent after the other ---------------------------------------------------------------------


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def relu(x: Any) -> Any:
    return np.maximum(x, 0)


def lin(p: Any, x: Any) -> Any:
    return x @ p["kernel"] + p["bias"]


def softmax(x: Any) -> Any:
    return np.exp(x) / np.sum(np.exp(x))


def slots(rows: Any, size: int) -> Any:
    """Two slots: what neighbours say in the order of their numbers, then silence."""
    return np.concatenate([*rows, *[np.zeros(size)] * (2 - len(rows))])


def said_to(structure: str, i: int, ears: Any, view: Any, old: Any, seen: Any) -> Any:
    """What enters agent i's core."""
    near = [j for j in range(AGENTS) if CHAIN[i][j]]
    p = ears[i]
    if structure in JOINT:
        view = np.stack([relu(lin(ears[j]["told"], view[j])) for j in range(AGENTS)])
    own, size = [view[i]], view.shape[1]
    if structure in SEEING + JOINT:
        own += [view[j] for j in near if j in seen[i]]
        own += [np.zeros(size)] * (1 + max(len(s) for s in seen) - len(own))
    if "each" in p:
        own = [relu(x @ p["each"]["kernel"][k] + p["each"]["bias"][k]) for k, x in enumerate(own)]
    looked = lin(p["seen"], np.concatenate(own))
    said = [relu(lin(ears[j]["memories"], old["h"][j])) if structure == "dial" else old["h"][j] for j in near]
    h = slots(said, HIDDEN)
    if structure == "commnet":
        return np.tanh(looked) + lin(p["message"], np.mean([old["h"][j] for j in near], axis=0))
    if structure == "dial":
        action = np.eye(HIDDEN)[np.argmax(old["policy"][i])]
        return relu(looked) + relu(lin(p["message"], h)) + action
    parts = [relu(looked)]
    policies = slots([old["policy"][j] for j in near], CHOICES) if "policy" in old else None
    if structure == "fprint":
        parts.append(policies)
    if structure == "neurcomm":
        parts += [relu(lin(p["policies"], policies)), relu(lin(p["memories"], h))]
    return np.concatenate(parts)


def by_hand(structure: str, flags: Any, p: Any, carry: Any, view: Any, reset: Any, action: Any) -> Any:
    """Heads [T, A, N], values [T, A] and the memory of one environment."""
    seen = [{j for j in range(AGENTS) if CHAIN[i][j]} for i in range(AGENTS)]
    if "last-neighbour" in flags:
        seen = [s - {max(s)} for s in seen]
    memory = {name: np.array(x) for name, x in carry.items()}
    ears = [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i], np.float64), p["ear"]) for i in range(AGENTS)]
    heads, values = [], []
    for t in range(len(view)):
        heard_h = memory["h"].copy()
        for x in memory.values():
            x[reset[t]] = 0.0
        old = {name: x.copy() for name, x in memory.items()}
        heard = old | {"h": heard_h} if "stale-messages" in flags else old
        head, value = [], []
        for i in range(AGENTS):
            mine = jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i], np.float64), p)
            x = said_to(structure, i, ears, view[t], heard, seen)
            lstm = mine["lstm"]
            gates = x @ lstm["wi"] + old["h"][i] @ lstm["wh"] + lstm["b"]
            g_in, g_keep, g_out, new = np.split(gates, 4)
            c = sigmoid(g_keep) * old["c"][i] + sigmoid(g_in) * np.tanh(new)
            h = sigmoid(g_out) * np.tanh(c)
            memory["h"][i], memory["c"][i] = h, c
            head.append(lin(mine["policy"], h))
            if "policy" in memory:
                memory["policy"][i] = [*softmax(head[-1][:2]), 0.0]
            known = (
                []
                if structure == "ia2c"
                else [np.eye(CHOICES)[action[t][j]] for j in np.nonzero(CHAIN[i])[0]]
            )
            value.append(lin(mine["value"], np.concatenate([h, slots(known, CHOICES)]) if known else h)[0])
        heads.append(head)
        values.append(value)
    return np.array(heads), np.array(values), memory


CASES = [
    *((name, ()) for name in ("ia2c", "na2c", "fprint", "consenet", "commnet", "dial", "neurcomm")),
    ("fprint", ("last-neighbour",)),
    ("neurcomm", ("stale-messages",)),
]


@pytest.mark.parametrize(("structure", "compat"), CASES)
def test_a_structure_beside_numpy(chain: Any, structure: str, compat: Any) -> None:
    """Three steps from a memory, an episode's end before the second; then whose parameters agent 0 moves."""
    learner = learner_of(chain, structure, compat=compat)
    params = params_of(learner)
    rng = np.random.default_rng(0)
    carry = {k: rng.uniform(0, 1, x.shape) for k, x in learner.initial_carry((1, AGENTS)).items()}
    view = rng.normal(size=(3, 1, AGENTS, 3))
    action = rng.integers(0, 2, (3, 1, AGENTS))
    reset = np.zeros((3, 1, AGENTS), bool)
    reset[1, 0, 1:] = True
    moment = moment_of(view, reset, jnp.asarray(action, jnp.int32))

    def first_agents(params: Any) -> Any:
        given = {k: jnp.asarray(x, jnp.float32) for k, x in carry.items()}
        carried, head, value = learner.forward(params, given, moment)
        return jnp.sum(head[:, 0, 0] ** 2), (carried, head, value)

    (_, (carried, head, value)), grads = jax.jit(jax.value_and_grad(first_agents, has_aux=True))(params)
    wants = by_hand(
        structure, compat, params, {k: x[0] for k, x in carry.items()}, view[:, 0], reset[:, 0], action[:, 0]
    )
    np.testing.assert_allclose(head[:, 0], wants[0], atol=1e-5)
    np.testing.assert_allclose(value[:, 0], wants[1], atol=1e-5)
    for name, x in wants[2].items():
        np.testing.assert_allclose(carried[name][0], x, atol=1e-5)
    reached = [bool(jnp.any(grads["lstm"]["wi"][i] != 0)) for i in range(2)]
    assert reached == [True, structure in JOINT]  # a neighbour's, across a message
    assert not bool(jnp.any(grads["policy"]["kernel"][1:] != 0))  # nothing is learned through policies


# Graphs -----------------------------------------------------------------------------------------------------


def test_who_hears_whom(chain: Any) -> None:
    group = Group("all", (0, 1, 2))
    graph = Graph.of(chain, group)
    heard = graph.heard(jnp.arange(3.0)[:, None] + 1.0)
    assert heard[..., 0].tolist() == [[2.0, 0.0], [1.0, 3.0], [2.0, 0.0]]
    assert graph.mean(heard)[:, 0].tolist() == [2.0, 2.0, 2.0]
    assert Graph.of(chain, Group("ends", (0, 2))).heard(jnp.ones((2, 1))).tolist() == [[[0.0]]] * 2
    assert graph.without_last().neighbours.tolist() == [[False] * 3, [True, False, False], [False] * 3]
    water = make("commons/water")  # four agents, all neighbours
    assert Graph.of(water, Group("valves", (0, 1, 2, 3))).slots[0].tolist()[1] == [0, 2, 3]
    alone = Graph.of(make("commons/water", num_agents=1), Group("one", (0,)))
    assert alone.heard(jnp.ones((1, 2))).tolist() == [[[0.0, 0.0]]]


def test_consensus(chain: Any) -> None:
    """The mean over oneself and one's neighbours: at once, or each after those before."""
    learner = learner_of(chain, "consenet")
    x = np.array([3.0, 6.0, 12.0], np.float32)
    np.testing.assert_allclose(learner.mixing @ x, [4.5, 7.0, 9.0])
    np.testing.assert_allclose(
        learner_of(chain, "consenet", compat=("in-order",)).mixing @ x, [4.5, 7.5, 9.75]
    )


# The learner ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def played(chain: Any) -> Any:
    """A NeurComm learner, its state and a rollout of three episodes in each environment; views are noise."""
    learner = learner_of(chain, "neurcomm")
    params, hyper = params_of(learner), hyper_of(learner.config)
    opened = learner.open_optimiser(params, hyper["max_grad_norm"])
    state = TrainState(params, opened, hyper, jnp.zeros((), jnp.int32), KEY)
    over = np.zeros((STEPS, ENVS), bool)
    over[1::2] = True
    first = np.broadcast_to(np.roll(over, 1, axis=0)[..., None], (STEPS, ENVS, AGENTS))
    rng = np.random.default_rng(2)
    view, reward = rng.normal(size=(STEPS + 1, ENVS, AGENTS, 3)), rng.normal(size=(STEPS, ENVS, AGENTS))
    moments, last = moment_of(view[:-1], first), moment_of(view[-1], np.ones((ENVS, AGENTS), bool))
    opening = learner.initial_carry((ENVS, AGENTS))

    def step(carry: Any, xs: Any) -> Any:
        key, moment = xs
        carry, action, notes = learner.explore(state, key, carry, moment)
        return carry, (action, notes)

    play = jax.jit(lambda m: jax.lax.scan(step, opening, (jax.random.split(KEY, STEPS), m)))
    carry, (action, notes) = play(moments)
    never = jnp.zeros((STEPS, ENVS), bool)
    trajectory = Trajectory(
        moments, action, notes, jnp.asarray(reward, jnp.float32), jnp.asarray(over), never,
        jnp.zeros((STEPS, ENVS, AGENTS), bool), ~never, last, opening, carry,
    )  # fmt: skip
    return learner, state, trajectory


def test_the_loss_is_that_of_a2c(played: Any) -> None:
    """The sum over agents of -log p A - 0.05 H + 0.25 (R - v)^2, means over time; A = R - v is data."""
    learner, state, trajectory = played
    trajectory = replace(trajectory, terminated=trajectory.terminated.at[-1].set(False))  # to bootstrap from
    reward, over = np.asarray(trajectory.reward), np.asarray(trajectory.terminated)

    def prepared(params: Any) -> Any:
        current = replace(state, params=params)
        return learner._samples(current, trajectory), learner.last_value(current, trajectory)

    (samples, carry), following = jax.jit(prepared)(state.params)
    returns = np.zeros_like(reward)
    for t in reversed(range(STEPS)):
        following = returns[t] = reward[t] + 0.99 * np.asarray(following) * ~over[t][:, None]
    advantage = returns - np.asarray(trajectory.extras["value"])
    np.testing.assert_allclose(samples["target"], returns, atol=1e-5)

    def hand(params: Any) -> Any:
        _, head, value = learner.forward(params, carry, samples["moment"])
        log = jax.nn.log_softmax(head[..., :2])
        chosen = jnp.take_along_axis(log, trajectory.action[..., None], axis=-1)[..., 0]
        entropy = -jnp.sum(jnp.exp(log) * log, axis=-1)
        each = -chosen * advantage - 0.05 * entropy + 0.5 * 0.5 * (returns - value) ** 2
        return jnp.sum(jnp.mean(each, axis=(0, 1)))

    def ours(params: Any) -> Any:
        return learner._loss(params, carry, samples, state.hyper)

    slope = jax.grad(ours, has_aux=True)
    (got, watch), want = jax.jit(lambda p: (slope(p), jax.grad(hand)(p)))(state.params)
    assert float(watch["clip_fraction"]) == 0.0 and abs(float(watch["approx_kl"])) < 1e-6
    got = learner.sharing.own_means(got)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(("structure", "norm"), [("ia2c", np.sqrt(AGENTS)), ("consenet", 1.0)])
def test_a_step_of_adam(chain: Any, structure: str, norm: float) -> None:
    """Gradients are clipped to norm 1 for each agent, or for all together; then neighbours agree."""
    learner = learner_of(chain, structure)
    params = params_of(learner)
    hyper, grads = hyper_of(learner.config), jax.tree.map(jnp.ones_like, params)
    hyper["max_grad_norm"] = jnp.ones(())

    def step(params: Any) -> Any:
        opened = learner.open_optimiser(params, hyper["max_grad_norm"])
        return learner.descend(params, opened, grads, hyper, {"learning_rate": jnp.asarray(0.01)})

    after, state, _ = jax.jit(step)(params)
    first = next(x for x in jax.tree.leaves(state) if x.size > AGENTS)  # Adam's first moments, a tenth
    np.testing.assert_allclose(jnp.linalg.norm(first), 0.1 * norm, rtol=1e-5)
    wh, seen = params["lstm"]["wh"], params["ear"]["seen"]["kernel"]
    means = np.einsum("ij,jkl->ikl", learner.mixing, wh) if structure == "consenet" else wh
    np.testing.assert_allclose(after["lstm"]["wh"], means - 0.01, atol=1e-4)
    np.testing.assert_allclose(after["ear"]["seen"]["kernel"], seen - 0.01, atol=1e-4)


def test_the_critics_opinion_of_the_next_step_is_the_expected_one(played: Any) -> None:
    learner, state, _ = played
    hidden = jax.random.normal(KEY, (AGENTS, 1, 1, HIDDEN))
    chances = jnp.broadcast_to(jnp.array([0.25, 0.75, 0.0]), (1, 1, AGENTS, CHOICES))
    got = learner.values(state.params, hidden, chances)[0, 0, 1]  # the middle has two neighbours
    pairs = [(a, b) for a in (0, 1) for b in (0, 1)]
    each = [
        float(chances[0, 0, 0, a] * chances[0, 0, 2, b])
        * float(
            learner.values(state.params, hidden, jax.nn.one_hot(jnp.array([[[a, 0, b]]]), CHOICES))[0, 0, 1]
        )
        for a, b in pairs
    ]
    np.testing.assert_allclose(got, sum(each), rtol=1e-5)


def moved(before: Any, after: Any) -> bool:
    return any(bool(np.any(a != b)) for a, b in zip(*map(jax.tree.leaves, (before, after)), strict=True))


def test_lost_batches(chain: Any, played: Any) -> None:
    """What an end leaves of a batch teaches joint structures nothing; a batch that it closes is whole."""
    _, state, trajectory = played  # episodes of two steps
    losing = learner_of(chain, "neurcomm", compat=("lost-batches",))
    learn = jax.jit(losing.learn)
    sizes = {"memory/h": HIDDEN, "memory/c": HIDDEN, "memory/policy": CHOICES}
    noted = {name: jnp.zeros((STEPS, ENVS, AGENTS, size)) for name, size in sizes.items()}
    trajectory = replace(trajectory, extras=trajectory.extras | noted)
    state = replace(state, extra=jax.jit(losing.init)(KEY).extra)
    after, metrics = learn(state, trajectory)
    assert float(metrics["whole_batches"]) == 0.0 and int(after.updates) == int(state.updates) + 1
    kept = (state.params, state.opt_state)
    assert not moved((after.params, after.opt_state), kept)
    whole = replace(trajectory, terminated=trajectory.terminated.at[:-1, 0].set(False))
    after, metrics = learn(state, whole)
    assert float(metrics["whole_batches"]) == pytest.approx(1 / ENVS) and moved(after.params, state.params)


def test_cropped_batches(chain: Any, played: Any) -> None:
    """The others fill batches up from the next episode; what is over counts in the returns."""
    _, state, trajectory = played  # episodes of two steps
    learner = learner_of(chain, "na2c", compat=("cropped-batches",))
    assert learner_of(chain, "na2c", compat=("paper",)).batches == learner.batches
    assert learner_of(chain, "dial", compat=("cropped-batches",)).batches is None
    state = jax.jit(learner.init)(KEY)
    carry = learner.initial_carry((ENVS, AGENTS))
    noted = {f"memory/{name}": jnp.zeros((STEPS, *leaf.shape)) for name, leaf in carry.items()}
    trajectory = replace(
        trajectory,
        extras=trajectory.extras | noted,
        carry=carry,
        last_carry=jax.tree.map(jnp.ones_like, carry),
    )
    after, metrics = jax.jit(learner.learn)(state, trajectory)
    assert float(metrics["whole_batches"]) == 1.0 and moved(after.params, state.params)

    reward = jnp.zeros((STEPS, ENVS, AGENTS)).at[0].set(1.0).at[1].set(2.0)
    ended = jnp.arange(ENVS) == 0
    beyond = Beyond(reward, jnp.full(ENVS, 2), ended, ended)
    batch = learner._with_beyond(trajectory, beyond, jnp.asarray(0.9))
    value = jax.jit(learner.last_value)
    plain, longer = value(state, trajectory), value(state, batch)
    np.testing.assert_allclose(longer[0], 1.0 + 0.9 * 2.0, rtol=1e-6)
    np.testing.assert_allclose(longer[1:], 2.8 + 0.81 * plain[1:], rtol=1e-6)


def test_the_policy_plays(played: Any) -> None:
    learner, state, trajectory = played
    policy = learner.policy(learner.acting(state.params))
    assert not policy.needs_state
    act = jax.jit(policy.act, static_argnames="greedy")
    first = jax.tree.map(lambda x: x[0], trajectory.moment)
    carry = jax.tree.map(jnp.ones_like, policy.initial_carry((ENVS,)))
    fresh, action = act(KEY, policy.initial_carry((ENVS,)), first.observation, first=first.first)
    after, again = act(jax.random.key(5), carry, first.observation, first=first.first)
    np.testing.assert_array_equal(action, again)  # greedy, and old memory forgotten at the start
    assert not moved(fresh, after)
    drawn = [act(jax.random.key(k), carry, first.observation, greedy=False)[1] for k in range(8)]
    assert int(np.max(drawn)) == 1 and len({str(x) for x in drawn}) > 1


def test_an_update_lowers_everywhere(chain: Any) -> None:
    learner = learner_of(chain, "dial", compat=("paper",))
    program = Program(chain, {"all": (learner.setting.group, learner)}, ENVS, STEPS)
    state = jax.eval_shape(program.init, jax.random.split(KEY, 1))
    member = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    platforms = ("cpu", "cuda", "tpu")
    assert export.export(jax.jit(program.update), platforms=platforms)(member).platforms == platforms


def test_several_epochs_of_shared_parameters(chain: Any, played: Any) -> None:
    """Nothing ties the structures to A2C, nor to parameters of agents' own."""
    *_, trajectory = played
    learner = learner_of(chain, "neurcomm", sharing="all", epochs=2, minibatches=2)
    state = jax.eval_shape(learner.init, KEY)
    learned, _ = jax.eval_shape(learner.learn, state, trajectory)
    assert jax.tree.map(jnp.shape, learned.params) == jax.tree.map(jnp.shape, state.params)
    assert learned.params["lstm"]["wh"].shape == (HIDDEN, 4 * HIDDEN)


@pytest.mark.parametrize(
    ("structure", "options", "words"),
    [
        ("consenet", {"sharing": "all"}, "it needs sharing=none"),
        ("dial", {"hidden": 2}, "network.hidden_size=2"),
        ("neurcom", {}, "did you mean 'neurcomm'"),
        ("ia2c", {"compat": ("lost-batch",)}, "did you mean 'lost-batches'"),
    ],
)
def test_bad_options(chain: Any, structure: str, options: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        learner_of(chain, structure, **options)


def test_where_it_cannot_learn(chain: Any) -> None:
    group = Group("all", (0, 1, 2))
    setting = Setting(chain, group, ENVS, 10, False, sharing="none")
    with pytest.raises(UserError, match="brings an LSTM"):
        Networked(NetworkedConfig(), NetworkConfig(core="none"), setting)
    with pytest.raises(UserError, match="discrete actions"):
        learner_of(make("particle/simple-spread", continuous_actions=True), "ia2c")
    bad = Chain.from_overrides("chain", {"num_agents": 2})
    with pytest.raises(UserError, match="with an empty diagonal"):
        learner_of(bad, "ia2c")


@pytest.mark.parametrize("structure", ["ia2c", "consenet"])
def test_presets_are_the_published_ones(structure: str) -> None:
    run = compose([f"experiment=water-{structure}", "sweep.env.regeneration=[0.1,0.03]"])
    c = run.algorithm
    assert (run.num_envs, run.total_env_steps, run.sharing, run.eval.greedy) == (1, 50_000, "none", False)
    assert (c.gamma, c.gae_lambda, c.entropy_coef, c.value_coef, c.max_grad_norm) == (
        0.99,
        1.0,
        0.05,
        0.5,
        40.0,
    )
    assert c.learning_rate == (5e-4 if structure == "consenet" else 1e-3) and not c.anneal_learning_rate
    assert (c.rollout_length, c.epochs, c.minibatches) == (50, 1, 1) and c.flags == set(c.paper_flags)
    assert dict(run.env_options) == {"max_steps": 1000, "coop_gamma": 0.1, "reward_norm": 0.325}
    assert run.network.hidden_size == 64
