"""Particle physics by hand; tests/parity steps it beside the original."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from shoal.envs.common.particles import Bodies, Contact, Motion, Particles, contact_forces, integrate, push

MOTION, CONTACT = Motion(), Contact()


def at(x: list[float], y: list[float], vx: list[float] | None = None) -> Particles:
    zeros = jnp.zeros(len(x), jnp.float32)
    return Particles(
        x=jnp.asarray(x, jnp.float32),
        y=jnp.asarray(y, jnp.float32),
        vx=zeros if vx is None else jnp.asarray(vx, jnp.float32),
        vy=zeros,
    )


def bodies(count: int, **rest: tuple[float, ...]) -> Bodies:
    return Bodies(**{"size": (0.1,) * count, "movable": (True,) * count, "collide": (True,) * count, **rest})


def test_directions() -> None:
    x, y = push(jnp.asarray([0, 1, 2, 3, 4, 5, -1], jnp.int32))
    assert x.tolist() == [0, -1, 1, 0, 0, 0, 0]
    assert y.tolist() == [0, 0, 0, -1, 1, 0, 0]


def test_overlap_pushes_apart(strict_numerics: None) -> None:
    fx, fy = contact_forces(at([0.0, 0.15], [0.0, 0.0]), bodies(2), CONTACT)
    np.testing.assert_allclose(fx, [-5.0, 5.0], rtol=1e-5)  # 100 x overlap of 0.05
    assert fy.tolist() == [0.0, 0.0]


def test_touching_is_soft(strict_numerics: None) -> None:
    fx, _ = contact_forces(at([0.0, 0.2], [0.0, 0.0]), bodies(2), CONTACT)
    np.testing.assert_allclose(fx, [-0.1 * np.log(2), 0.1 * np.log(2)], rtol=1e-3)


def test_only_colliders_push() -> None:
    fx, fy = contact_forces(at([0.0, 0.05, 0.1], [0.0] * 3), bodies(3, collide=(True, False, False)), CONTACT)
    assert not fx.any() and not fy.any()


def test_a_world_without_contacts_does_not_pay_for_them() -> None:
    ghosts = bodies(3, collide=(False,) * 3)
    program = jax.make_jaxpr(lambda p: contact_forces(p, ghosts, CONTACT))(at([0.0] * 3, [0.0] * 3))
    assert len(program.eqns) <= 2


def test_the_same_place_gives_no_nan() -> None:
    fx, fy = contact_forces(at([0.3, 0.3], [0.1, 0.1]), bodies(2), CONTACT)
    assert fx.tolist() == [0.0, 0.0] and fy.tolist() == [0.0, 0.0]


def test_positions_follow_the_old_velocity(strict_numerics: None) -> None:
    force = jnp.asarray([1.0, 1.0], jnp.float32)
    still = jnp.zeros(2, jnp.float32)
    b = bodies(2, movable=(True, False), mass=(2.0, 1.0))
    after = integrate(at([0.0, 0.0], [0.0, 0.0], [1.0, 1.0]), force, still, b, MOTION)
    np.testing.assert_allclose(after.x, [0.1, 0.0], rtol=1e-6)
    np.testing.assert_allclose(after.vx, [0.75 + 0.05, 1.0], rtol=1e-6)


def test_speed_is_capped_in_its_direction(strict_numerics: None) -> None:
    force = jnp.asarray([30.0, 3.0], jnp.float32)
    b = bodies(2, max_speed=(1.0, 1.0))
    after = integrate(at([0.0, 0.0], [0.0, 0.0]), force, force * 4.0 / 3.0, b, MOTION)
    np.testing.assert_allclose(after.vx, [0.6, 0.3], rtol=1e-5)
    np.testing.assert_allclose(after.vy, [0.8, 0.4], rtol=1e-5)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="3 values for 2 entities"):
        bodies(2, mass=(1.0, 1.0, 1.0))
