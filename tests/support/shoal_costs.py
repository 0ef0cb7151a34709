"""What a program costs, read off its jaxpr and its compiled form instead of a clock."""

import jax

from shoal.baselines.bench import costs
from shoal.baselines.bench.costs import primitives


def equations(function, *shapes):
    """How many equations ``function`` is traced to."""
    return primitives(jax.make_jaxpr(function)(*shapes).jaxpr).total()


def counted(function, *shapes):
    """Arithmetic operations and bytes read and written, as XLA counts them in the compiled program."""
    lowered = jax.jit(function).lower(*shapes)
    return costs.counted(lowered.compile({"xla_backend_optimization_level": 0}))
