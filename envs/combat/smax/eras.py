"""The forms that SMAX's rules had before today's, which many published numbers come from: option ``legacy``.

Here stands what differs. The rules ask for the differences by name, where the rule stands.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool

_GHOSTS = "push and are pushed; dead scripted enemies walk on, dead agents only stop"


@dataclass(frozen=True)
class Era:
    """What the rules of one time do differently from today's."""

    ghosts: bool = False  # the dead keep their bodies: they walk, push and are pushed
    raw_features: bool = False  # views hold the last attack's index and the seconds of cooldown unscaled
    fixed_starts: bool = False  # teams start around (8, 16) and (24, 16), whatever the size of the map

    @property
    def declared(self) -> dict[str, str]:
        """What the metadata say of it."""
        return {"dead_units": _GHOSTS} if self.ghosts else {}

    def bodies(self, alive: Bool[Array, "*units"]) -> Bool[Array, "*units"]:
        """Returns who walks, pushes and can be pushed."""
        return jnp.ones_like(alive) if self.ghosts else alive


ERAS = {
    "none": Era(),  # jaxmarl 0.2.0
    "B": Era(ghosts=True, raw_features=True),  # jaxmarl 0.0.4 to 0.1.0, June 2024 to June 2025
    "B-pre": Era(ghosts=True, raw_features=True, fixed_starts=True),  # jaxmarl 0.0.3, April 2024
}
