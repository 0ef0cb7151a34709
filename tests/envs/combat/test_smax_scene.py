"""Drawing: eight frames per step, which lead to the recorded states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.combat.smax.scene import picture
from shoal.envs.core import Recording, make
from shoal.envs.scene import BLUE, GREEN, LIGHT_GREEN, Circle, Rectangle, Text


@pytest.fixture(scope="module")
def recording():
    env = make("combat/smax-3m")
    state, timestep = env.reset(jax.random.key(0))
    states, steps, keys, actions = [state], [timestep], [], []
    step = jax.jit(env.step)
    for i in range(8):
        key = jax.random.key(i)
        action = jnp.where(timestep.observation.action_mask[:, 5], 5, 1).astype(jnp.int32)
        state, timestep = step(key, state, action)
        states.append(state), steps.append(timestep), keys.append(key), actions.append(action)
    numbers = jax.tree.map(np.asarray, (states, actions, steps))
    return env, Recording(tuple(numbers[0]), tuple(numbers[1]), tuple(keys), tuple(numbers[2]))


def test_frames_end_in_the_recorded_states(recording):
    env, record = recording
    for t, (key, state, action) in enumerate(zip(record.keys, record.states, record.actions, strict=False)):
        after, (x, y, health, cooldown) = env.frames(key, state, action)
        reached = record.states[t + 1]
        assert x.shape == (8, 6)
        np.testing.assert_allclose(x[-1], reached.x, atol=1e-5)
        np.testing.assert_allclose(health[-1], reached.health)
        np.testing.assert_allclose(cooldown[-1], reached.cooldown, atol=1e-6)
        np.testing.assert_allclose(after.y, y[-1], atol=1e-5)


def test_a_clip_has_eight_frames_per_step(recording):
    env, record = recording
    clip = env.scene(record)
    assert len(clip.frames) == 1 + 8 * 8 and clip.frame_seconds == 0.064
    assert [frame.title for frame in clip.frames[:10]] == ["Step 0"] + ["Step 1"] * 8 + ["Step 2"]
    assert clip.frames[0].bounds == (0, 0, 32, 32)
    discs = [item for item in clip.frames[0].items if isinstance(item, Circle)]
    assert [disc.fill for disc in discs] == [BLUE] * 3 + [GREEN] * 3 and discs[0].radius == 0.375
    assert any(isinstance(item, Rectangle) for frame in clip.frames for item in frame.items)


def test_a_single_state_can_be_drawn(recording):
    env, record = recording
    assert len(env.scene(Recording(record.states[:1], (), (), record.timesteps[:1])).frames) == 1


def test_bullets_fly_from_shooter_to_target(arena):
    battle = arena("3m", control="both")
    state = battle.units({0: (10, 10), 3: (10, 14), 4: (30, 30)}, attack=[5, 0, 0, 0, 7, 0])
    items = picture(battle.env.options, jax.tree.map(np.asarray, state), 0.25).items
    bullets = [item for item in items if isinstance(item, Rectangle)]
    assert [(b.x, b.y, b.width) for b in bullets] == [(10, 11, 0.5)], "enemy 4 is out of range"
    assert [item.fill for item in items if isinstance(item, Circle)] == [BLUE, LIGHT_GREEN, GREEN]
    assert [item.text for item in items if isinstance(item, Text)] == ["m", "m", "m"]
