"""What every swarm task on the grid is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flax import struct
from jax import Array

from shoal.envs.core.options import option, param

WALL, NEST, FOOD = 1, 2, 3
"""What stands on a cell that never moves; 0 is floor."""
CITATION = "Ruan et al., Benchmarking LLMs' Swarm Intelligence (SwarmBench), arXiv 2505.04364 v4"


@dataclass(frozen=True)
class Options:
    """What shapes arrays or picks code; the defaults are those of the published main runs."""

    height: int = option(10, "rows, the ring of walls included", low=6, high=4096)
    width: int = option(10, "columns, the ring of walls included", low=6, high=4096)
    num_agents: int = option(12, "agents", low=1, high=1_000_000)
    view_size: int = option(5, "cells along a side of what an agent sees around it; odd", low=1, high=31)
    view: str = option(
        "flat",
        "one vector, or a grid for network=cnn whose numbers beside the window fill layers of their own",
        choices=("flat", "grid"),
    )
    max_steps: int = option(100, "rounds in an episode", low=1, high=1_000_000)
    vocabulary: int = option(8, "tokens, silence among them; 0: no communication", low=0, high=256)
    message_range: int = option(
        -1, "how many cells away a token is heard, diagonals as one; -1: as far as the view", low=-1, high=15
    )
    noisy_messages: bool = option(False, "whether tokens are corrupted and late (published Table S.6)")
    max_delay: int = option(4, "rounds that a noisy token can be late by, uniform from 0", low=0, high=16)
    joint_actions: bool = option(
        False, "one action for primitive and token together, for learners of values, instead of two"
    )
    agent_id: bool = option(True, "whether agents see which one they are")
    show_place: bool = option(True, "whether agents see their row and column")
    show_time: bool = option(True, "whether agents see the share of the rounds that is over")
    reward: str = option(
        "score",
        "what is paid: growth of the score, or that and the growth of a potential",
        choices=("score", "shaped"),
    )

    @property
    def speaks(self) -> bool:
        """Whether there is anything to say."""
        return self.vocabulary > 1

    @property
    def hearing(self) -> int:
        """How far tokens are heard, cells."""
        return self.view_size // 2 if self.message_range < 0 else self.message_range


@struct.dataclass
class Params:
    """Numbers of the reward and of the messages, [] f32 each."""

    reward_scale: Array = param(1.0, "reward of a point", low=0.0)
    shaping: Array = param(1.0, "weight of the potential where reward=shaped", low=0.0)
    discount: Array = param(0.99, "discount of the potential: the learner's", low=0.0, high=1.0)
    corruption: Array = param(0.2, "share of the noisy tokens replaced by any other", low=0.0, high=1.0)


@struct.dataclass
class Level:
    """What a reset draws for every task."""

    i: Array  # [A] i32, rows of the agents
    j: Array  # [A] i32, columns of the agents
    params: Any  # the task's own numbers


@struct.dataclass
class Group:
    """How the swarm behaves: sums over the rounds so far, and what they are made from."""

    sums: Array  # [G] f32, of the values named in `group.NAMES`
    travelled: Array  # [] f32, cells that an agent has moved, mean over agents
    visited: Array  # [H, W] bool, cells where anybody has been
    spoken: Array  # [PRIMITIVES, V] f32, how often each primitive went with each token; V 0 in silence
    first_score: Array  # [] i32, round of the first point, counted from 1; 0 before it


@struct.dataclass
class Post:
    """Noisy tokens on their way, one slot for each of the last rounds."""

    token: Array  # [D + 1, A] i32, what arrives, 0 for nothing
    due: Array  # [D + 1, A] i32, rounds until then; negative once it is over


@struct.dataclass
class State:
    """A swarm between two rounds; a task's own state adds what else it remembers."""

    i: Array  # [A] i32, rows; those who left keep the cell beyond the edge that they went to
    j: Array  # [A] i32, columns
    alive: Array  # [A] bool, whether the agent is on the board
    flag: Array  # [A] bool, light on, or carrying food
    primitive: Array  # [A] i32, what each did last
    token: Array  # [A] i32, what each said last; 0 is silence
    post: Any  # Post where tokens are noisy, else ()
    t: Array  # [] i32, rounds so far
    score: Array  # [] f32, in the benchmark's units
    potential: Array  # [A] f32, of this state where reward=shaped, else 0; the team's or each agent's own
    group: Group
    params: Any
