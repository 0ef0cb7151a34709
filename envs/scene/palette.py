"""A small palette that stays readable with the common forms of colour blindness.

The eight hues are those proposed by Okabe and Ito ("Color universal design", 2008); the light tints mark a
state of the same thing (being hit, say), and the neutrals serve for ground, walls and projectiles.
"""

from __future__ import annotations

BLACK = "#000000"
ORANGE = "#e69f00"
SKY = "#56b4e9"
GREEN = "#009e73"
YELLOW = "#f0e442"
BLUE = "#0072b2"
VERMILION = "#d55e00"
PURPLE = "#cc79a7"

LIGHT_BLUE = "#8cc4f0"
LIGHT_GREEN = "#7fdcb8"

WHITE = "#ffffff"
PAPER = "#f6f6f4"
LIGHT_GREY = "#d0d0d0"
GREY = "#8a8a8a"
DARK_GREY = "#444444"

PALETTE: dict[str, str] = {
    "black": BLACK,
    "orange": ORANGE,
    "sky": SKY,
    "green": GREEN,
    "yellow": YELLOW,
    "blue": BLUE,
    "vermilion": VERMILION,
    "purple": PURPLE,
    "light_blue": LIGHT_BLUE,
    "light_green": LIGHT_GREEN,
    "white": WHITE,
    "paper": PAPER,
    "light_grey": LIGHT_GREY,
    "grey": GREY,
    "dark_grey": DARK_GREY,
}

_CYCLE = (BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, BLACK)


def cycle_color(index: int) -> str:
    """The colour of the ``index``-th team or agent: eight that are easily told apart, then those again."""
    return _CYCLE[index % len(_CYCLE)]
