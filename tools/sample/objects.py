"""The eighteen categories as procedural models, at their real size in metres.

`build(entry)` makes one instance of an entry of the scene table from its `category`, `variant`,
`colours`, `pattern` and `seed`. Models stand upright round the origin and face −y; `render.py`
turns, scales and sets them down. A part with `part["frame"] = False` (a pole, say) is left out
when the camera frames the object, though it is part of the mask.
"""

from __future__ import annotations

import numpy as np
from food import apple, banana, donut, orange
from furniture import bench, chair, stop_sign
from geometry import Parts
from plants import potted_plant, vase
from playthings import book, clock, sports_ball, teddy_bear, umbrella
from tableware import bottle, bowl, cup, wine_glass

BUILDERS = {
    "apple": apple,
    "banana": banana,
    "bench": bench,
    "book": book,
    "bottle": bottle,
    "bowl": bowl,
    "chair": chair,
    "clock": clock,
    "cup": cup,
    "donut": donut,
    "orange": orange,
    "potted plant": potted_plant,
    "sports ball": sports_ball,
    "stop sign": stop_sign,
    "teddy bear": teddy_bear,
    "umbrella": umbrella,
    "vase": vase,
    "wine glass": wine_glass,
}


def build(entry: dict) -> Parts:
    """The parts of one instance, at the origin, not yet set down."""
    rng = np.random.default_rng(entry["seed"])
    return BUILDERS[entry["category"]](entry, rng)
