"""What a program costs, read off its jaxpr and its compiled form instead of a clock."""

from collections import Counter

import jax


def primitives(jaxpr):
    """How often each primitive occurs, programs inside of programs included."""
    found = Counter()
    for equation in jaxpr.eqns:
        found[equation.primitive.name] += 1
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    found += primitives(inner)
    return found


def equations(function, *shapes):
    """How many equations ``function`` is traced to."""
    return primitives(jax.make_jaxpr(function)(*shapes).jaxpr).total()


def counted(function, *shapes):
    """Arithmetic operations and bytes read and written, as XLA counts them in the compiled program."""
    lowered = jax.jit(function).lower(*shapes)
    analysis = lowered.compile({"xla_backend_optimization_level": 0}).cost_analysis()
    return analysis["flops"], analysis["bytes accessed"]
