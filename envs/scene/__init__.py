"""What an environment looks like, drawn without a display: shapes, scenes, clips, and their players.

An environment's ``scene.py`` turns the NumPy values of one state into a ``Scene``; everything else is here.
"""

from shoal.envs.scene.packing import pack_clip, unpack_clip
from shoal.envs.scene.palette import (
    BLACK,
    BLUE,
    DARK_GREY,
    GREEN,
    GREY,
    LIGHT_BLUE,
    LIGHT_GREEN,
    LIGHT_GREY,
    ORANGE,
    PALETTE,
    PAPER,
    PURPLE,
    SKY,
    VERMILION,
    WHITE,
    YELLOW,
    cycle_color,
)
from shoal.envs.scene.players import (
    notebook_html,
    page,
    png_bytes,
    save,
    save_gif,
    save_html,
    save_png,
)
from shoal.envs.scene.primitives import Circle, Clip, Item, Line, Polygon, Rectangle, Scene, Text
from shoal.envs.scene.raster import rasterize, rasterize_clip

__all__ = [
    "BLACK",
    "BLUE",
    "DARK_GREY",
    "GREEN",
    "GREY",
    "LIGHT_BLUE",
    "LIGHT_GREEN",
    "LIGHT_GREY",
    "ORANGE",
    "PALETTE",
    "PAPER",
    "PURPLE",
    "SKY",
    "VERMILION",
    "WHITE",
    "YELLOW",
    "Circle",
    "Clip",
    "Item",
    "Line",
    "Polygon",
    "Rectangle",
    "Scene",
    "Text",
    "cycle_color",
    "notebook_html",
    "pack_clip",
    "page",
    "png_bytes",
    "rasterize",
    "rasterize_clip",
    "save",
    "save_gif",
    "save_html",
    "save_png",
    "unpack_clip",
]
