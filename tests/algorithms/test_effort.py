"""What XLA is asked for on a CPU."""

import jax
import pytest

from shoal.algorithms.blocks.effort import EFFORTS, FULL, ONCE, QUICK, SHORT, compiler_options, effort_for


@pytest.mark.parametrize("options", [FULL, QUICK, ONCE])
def test_a_cpu_takes_them_and_nothing_else_is_asked(options):
    assert compiler_options(options, "gpu") == {}
    given = compiler_options(options, "cpu")
    assert given.keys() <= dict(options).keys()
    assert "xla_backend_optimization_level" in given
    assert jax.jit(lambda x: x + 1).lower(1).compile(given)(1) == 2


def test_what_this_jaxlib_does_not_know_is_left_out():
    assert compiler_options((("xla_no_such_option", 1), *FULL), "cpu") == dict(FULL)


def test_short_runs_are_compiled_quickly():
    assert effort_for(SHORT) == "quick"
    assert effort_for(SHORT + 1) == "full"
    assert {"quick", "full"} == EFFORTS.keys()
