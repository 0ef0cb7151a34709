"""QMIX (Rashid et al. 2018, arXiv 1803.11485): agents' values mixed monotonically under the global state.

The mixer's weights are emitted by networks that read the global state and are made positive; it is used in
learning only. Details follow the recurrent baseline of JaxMARL (arXiv 2311.10090); docs/algorithms/qmix.md
lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import jax
import jax.numpy as jnp
from jax import Array

from shoal.algorithms.blocks.learner import Setting
from shoal.algorithms.blocks.mixers import MonotonicMixer
from shoal.algorithms.blocks.networks import NetworkConfig
from shoal.algorithms.blocks.q_learning import QLearner, QLearningConfig
from shoal.envs.core import PyTree


@dataclass(frozen=True)
class QMIXConfig(QLearningConfig):
    """Hyperparameters; floats can be swept in one compiled program."""

    mixer_size: int = 32  # width of the mixing layer
    hypernet_size: int = 128  # width of the networks that emit its weights
    mixer_gain: float = 0.001  # of their orthogonal kernels

    def __post_init__(self) -> None:
        """Refuses values that cannot train."""
        super().__post_init__()
        self.check_least(mixer_size=1, hypernet_size=1)


class QMIX(QLearner):
    """The learner: a hypernetwork for a mixer."""

    Config: ClassVar[type[Any]] = QMIXConfig
    needs_state = True

    def __init__(self, config: QMIXConfig, network: NetworkConfig, setting: Setting) -> None:
        """Fixes everything static."""
        super().__init__(config, network, setting)
        self.mixer = MonotonicMixer(config.mixer_size, config.hypernet_size)

    def draw_mixer(self, key: Array, state: Array, hyper: dict[str, Array]) -> PyTree:
        """Returns the mixer's fresh parameters, shaped by a state [S]."""
        params = self.mixer.init(key, jnp.zeros(len(self.setting.group.indices)), state)
        return jax.tree.map(lambda x: hyper["mixer_gain"] * x, params)  # biases are zero

    def mix(self, params: PyTree, q: Array, state: Array) -> Array:
        """Returns the team's values [*B] of agents' values [*B, G] in states [*B, S]."""
        return cast(Array, self.mixer.apply(params, q, state))
