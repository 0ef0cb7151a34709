"""Drawing: what stands where, whose flag is on, what was said, what has left, and the score's curve."""

import time
from typing import Any

import jax
import numpy as np
import pytest
from shoal_swarms import KEY, Cell, Game, game

from shoal.envs.core import Recording
from shoal.envs.scene import (
    BLUE,
    GREEN,
    GREY,
    WHITE,
    YELLOW,
    Circle,
    Clip,
    Line,
    Rectangle,
    Scene,
    Text,
    rasterize,
)
from shoal.envs.swarm.grid import scene
from shoal.envs.swarm.grid.physics import DOWN, RIGHT


def clip(world: Game, *states: Any) -> Clip:
    numbers = tuple(jax.device_get(state) for state in states)
    return world.env.scene(Recording(numbers, (), (), ()))


def centre(cell: Cell, rows: int = 10) -> tuple[float, float]:
    return cell[1] + 0.5, rows - cell[0] - 0.5


def discs(frame: Scene, radius: float = scene.RADIUS) -> dict[tuple[float, float], Circle]:
    circles = [item for item in frame.items if isinstance(item, Circle) and item.radius == radius]
    return {(circle.x, circle.y): circle for circle in circles}


def covered(frame: Scene, colour: str) -> set[Cell]:
    """Cells below the rectangles of a colour, each by one of them."""
    found: list[Cell] = []
    for item in frame.items:
        if isinstance(item, Rectangle) and item.fill == colour:
            left, top = item.x - item.width / 2, 10 - item.y - item.height / 2
            found += [
                (round(top) + i, round(left) + j)
                for i, j in np.ndindex(round(item.height), round(item.width))
            ]
    assert len(set(found)) == len(found)
    return set(found)


def test_pursuit() -> None:
    hunt = game("pursuit", num_agents=4)
    state = hunt.state([(3, 3), (5, 5)], prey_i=6, prey_j=2, token=[3, 0, 0, 0])
    frame = clip(hunt, state).frames[0]
    assert frame.bounds == (0, 0, 15, 10) and frame.title == "Pursuit"
    assert covered(frame, GREY) == {(int(i), int(j)) for i, j in np.argwhere(hunt.env.ring())}
    found = discs(frame)
    assert found[centre((3, 3))].fill == found[centre((5, 5))].fill == BLUE
    assert found[centre((6, 2))].fill == scene.RED
    assert len(found) == 3, "who is not there is not drawn"
    assert [item.text for item in frame.items if isinstance(item, Text)][:2] == ["0", "1"]
    assert len(discs(frame, scene.DOT)) == 1, "who said nothing has no dot"
    later = clip(hunt, state.replace(prey_static=np.bool_(True))).frames[0]
    assert covered(later, scene.RED) == {(6, 2)}, "a square one cannot be pushed"


@pytest.mark.parametrize(("task", "told"), [("synchronization", "on 1 of 3"), ("foraging", "carrying 1")])
def test_flags(task: str, told: str) -> None:
    world = game(task, num_agents=3)
    layout = {"layout": 0} if task == "foraging" else {}
    frame = clip(world, world.state([(5, 5), (5, 6), (6, 8)], flag=[False, True, False], **layout)).frames[0]
    fills = [discs(frame)[centre(cell)].fill for cell in ((5, 5), (5, 6), (6, 8))]
    assert fills == [WHITE, BLUE, WHITE] and frame.subtitle.endswith(told)
    if task == "foraging":
        board = world.env.layouts[0]
        for kind, colour in ((1, GREY), (2, scene.BROWN), (3, GREEN)):
            assert covered(frame, colour) == {(int(i), int(j)) for i, j in np.argwhere(board == kind)}


def test_box_and_agents_beyond_the_edge() -> None:
    world = game("transport")
    state = world.state([(9, 6), (2, 2)], layout=0)
    box = np.roll(np.asarray(state.box), (2, 1), (0, 1))
    out = world.state({0: (10, 6), 1: (2, 2)}, layout=0, box=box, alive=[False, True, *[False] * 10])
    clips = clip(world, state, out)
    assert clips.frames[0].bounds == (-3, -3, 18, 13)
    assert len(covered(clips.frames[0], YELLOW)) == len(covered(clips.frames[1], YELLOW)) == 13
    assert covered(clips.frames[1], YELLOW) >= {(10, 8), (11, 9), (11, 10)}
    found = discs(clips.frames[1])
    assert found[centre((10, 6))].opacity < 0.5 < found[centre((2, 2))].opacity
    assert clips.frames[1].subtitle == "round 0   score 0   left 11 of 12"


def test_the_curve_follows_the_score() -> None:
    flock = game("flocking")
    state = flock.state([(2, 2)], distance=17.0)
    states = [state.replace(t=np.int32(t), score=np.float32(s)) for t, s in ((0, 0.0), (1, 2.0), (2, 4.0))]
    frames = clip(flock, *states).frames
    assert [frame.subtitle for frame in frames] == [
        f"round {t}   score {s}   distance 17" for t, s in ((0, 0), (1, 2), (2, 4))
    ]
    curves = [
        [item for item in frame.items if isinstance(item, Line) and item.stroke == BLUE] for frame in frames
    ]
    assert [len(lines) for lines in curves] == [0, 1, 1]
    heights = [y for _, y in curves[2][0].points]
    assert heights == [0.5, 4.75, 9.0] and len(curves[1][0].points) == 2


def test_every_played_state_can_be_drawn() -> None:
    world = game("transport")
    states = [world.opening(KEY)]
    for primitive in (RIGHT, DOWN, DOWN):
        states.append(world.advance(states[-1], dict.fromkeys(range(12), primitive))[0])
    frames = clip(world, *states).frames
    assert len(frames) == 4 and len({frame.items for frame in frames}) == 4
    assert rasterize(frames[-1]).std() > 10


def test_large_boards_are_drawn_quickly_and_without_numbers() -> None:
    world = game("foraging", height=300, width=200, num_agents=500)
    state = world.state([(6, 6)] * 500, layout=0, token=[1] * 500)
    begun = time.perf_counter()
    frames = clip(world, *[state] * 10).frames
    assert time.perf_counter() - begun < 5.0
    texts = [item.text for item in frames[0].items if isinstance(item, Text)]
    assert texts == ["score 0", "100 rounds"] and not discs(frames[0], scene.DOT)
    assert sum(isinstance(item, Rectangle) for item in frames[0].items) < 500, "runs of cells are one"
