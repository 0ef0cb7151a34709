"""How a battle is drawn: allies blue, enemies green, lighter while under fire, with grey bullets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from shoal.envs import scene as draw
from shoal.envs.combat.smax.types import FIRST_ATTACK, UNIT_LETTERS, SmaxOptions, State
from shoal.envs.core.types import Recording

FRAME_SECONDS = 0.064  # as published
_BULLET = 0.5  # map units
_COLOURS = ((draw.BLUE, draw.LIGHT_BLUE), (draw.GREEN, draw.LIGHT_GREEN))  # by team: calm, under fire


def clip(options: SmaxOptions, frames: Callable[..., Any], recording: Recording) -> draw.Clip:
    """Draws the first state and then every world step of every step, simulated again from its key.

    Args:
        options: of the environment that was recorded.
        frames: ``Smax.frames``.
        recording: one episode.
    """
    scenes = [picture(options, recording.states[0])]
    for key, state, action in zip(recording.keys, recording.states, recording.actions, strict=False):
        after, moved = frames(key, state, action)
        after = replace(state, attack=np.asarray(after.attack), step=np.asarray(after.step))
        moved = [np.asarray(part) for part in moved]
        total = options.world_steps
        for k in range(total):
            x, y, health, cooldown = (part[k] for part in moved)
            now = replace(after, x=x, y=y, health=health, cooldown=cooldown)
            scenes.append(picture(options, now, (k + 1) / total))
    return draw.Clip(tuple(scenes), FRAME_SECONDS, f"SMAX {options.allies} against {options.enemies}")


def picture(options: SmaxOptions, state: State, progress: float | None = None) -> draw.Scene:
    """Draws one moment.

    Args:
        options: of the environment.
        state: with NumPy leaves; its last attacks are the ones drawn.
        progress: how far bullets have flown, in (0, 1]; without it nobody shoots.
    """
    n_a = options.num_allies
    x, y, health = np.asarray(state.x), np.asarray(state.y), np.asarray(state.health)
    alive = health > 0
    shooter, target = _shots(n_a, state) if progress is not None else (np.zeros(0, int),) * 2
    under_fire = np.isin(np.arange(len(x)), target)
    items: list[draw.Item] = []
    for i in np.flatnonzero(alive):
        letter = UNIT_LETTERS[int(state.unit_type[i])]
        radius = float(state.radius[i])
        colour = _COLOURS[int(i >= n_a)][int(under_fire[i])]
        at_x, at_y, share = float(x[i]), float(y[i]), float(health[i] / state.max_health[i])
        items.append(draw.Circle(at_x, at_y, radius, fill=colour))
        items.append(draw.Text(at_x, at_y, letter, size=1.3 * radius, fill=draw.WHITE))
        items.extend(_health_bar(at_x, at_y + radius + 0.2, radius, share))
    flown = 0.0 if progress is None else progress
    for i, j in zip(shooter, target, strict=True):
        bullet_x, bullet_y = x[i] + flown * (x[j] - x[i]), y[i] + flown * (y[j] - y[i])
        items.append(draw.Rectangle(bullet_x, bullet_y, _BULLET, _BULLET, fill=draw.GREY))
    standing = f"{int(alive[:n_a].sum())} allies, {int(alive[n_a:].sum())} enemies"
    return draw.Scene.of_size(
        float(state.map_width),
        float(state.map_height),
        items,
        title=f"Step {int(state.step)}",
        subtitle=standing,
    )


def _shots(n_a: int, state: State) -> tuple[np.ndarray, np.ndarray]:
    """Returns who has a living target in range, and that target."""
    attack, alive = np.asarray(state.attack), np.asarray(state.health) > 0
    unit = np.arange(len(attack))
    slot = attack - FIRST_ATTACK
    target = np.where(attack > 0, np.where(unit < n_a, n_a + slot, n_a - 1 - slot), unit)
    x, y = np.asarray(state.x), np.asarray(state.y)
    near = np.hypot(x[target] - x, y[target] - y) < np.asarray(state.range)
    shooter = np.flatnonzero((attack > 0) & alive & alive[target] & near)
    return shooter, target[shooter]


def _health_bar(x: float, y: float, half: float, share: float) -> list[draw.Item]:
    """Returns nothing for a unit in full health."""
    if share >= 1.0:
        return []
    left = x - half
    return [
        draw.Rectangle.from_corners(left, y, x + half, y + 0.15, fill=draw.LIGHT_GREY),
        draw.Rectangle.from_corners(left, y, left + 2 * half * share, y + 0.15, fill=draw.VERMILION),
    ]
