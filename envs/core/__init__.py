"""The environment contract: what every environment is, and how it is made, batched and checked."""

from shoal.envs.core.environment import Environment, Metadata, MetricSpec
from shoal.envs.core.errors import UserError
from shoal.envs.core.options import option, param
from shoal.envs.core.policy import IdlePolicy, Policy, RandomPolicy, Scripted
from shoal.envs.core.registry import describe, list_environments, make, register
from shoal.envs.core.spaces import Box, Discrete, MultiDiscrete, Space, is_legal, sample_actions
from shoal.envs.core.types import EntityView, Key, Observation, Outcome, PyTree, Recording, TimeStep
from shoal.envs.core.vector import Episode, VectorEnv, VectorState

__all__ = [
    "Box",
    "Discrete",
    "EntityView",
    "Environment",
    "Episode",
    "IdlePolicy",
    "Key",
    "Metadata",
    "MetricSpec",
    "MultiDiscrete",
    "Observation",
    "Outcome",
    "Policy",
    "PyTree",
    "RandomPolicy",
    "Recording",
    "Scripted",
    "Space",
    "TimeStep",
    "UserError",
    "VectorEnv",
    "VectorState",
    "describe",
    "is_legal",
    "list_environments",
    "make",
    "option",
    "param",
    "register",
    "sample_actions",
]
