"""Compiling what a test runs for long: `make test` has XLA try as little as it can, which suits others."""

from functools import partial

import jax

from shoal.algorithms.blocks.effort import FULL, compiler_options

jit_to_run = partial(jax.jit, compiler_options=compiler_options(FULL, "cpu"))
"""`jax.jit` with LLVM at level 1: whole battles are played in two thirds of the time."""
