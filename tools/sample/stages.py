"""Where a photo is taken, and in what light: ground, backdrop, clutter, sky and lamps.

The objects stand round the origin on z = 0; the camera looks along +y; `wall` metres behind the
origin stands whatever closes the view. Clutter never shows one of the sample's categories.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from geometry import (
    box,
    ellipsoid,
    grid_faces,
    hair,
    lathe,
    leaves,
    mesh,
    rotation,
    transform,
    tube,
)
from materials import (
    bricks,
    fabric,
    leaf,
    linear,
    math,
    metal,
    mix,
    node,
    noise,
    patterned,
    principled,
    ramp,
    shade,
    surface,
    wood,
)
from mathutils import Vector


@dataclass(frozen=True)
class View:
    """What a stage must know about the objects and the camera."""

    low: np.ndarray
    """Lower corner of the objects' bounding box, metres `[3]`."""
    high: np.ndarray
    """Upper corner `[3]`."""
    feet: np.ndarray
    """Circles the objects cover on the ground: x, y, radius `[n, 3]`."""
    eye: np.ndarray
    """Camera position `[3]`."""
    angle: float
    """Half of the camera's widest angle of view, radians."""
    wall: float
    """Distance of the backdrop behind the origin, metres."""


def build(setting: str, view: View, rng) -> None:
    """Add the ground, backdrop and clutter of a setting to the scene."""
    STAGES[setting](view, rng)


def pick(rng, *choices):
    """One of the choices."""
    return choices[rng.integers(len(choices))]


def ground(material, size=60.0, z=0.0):
    """A square of ground."""
    s = size / 2
    return mesh(
        "ground", [(-s, -s, z), (s, -s, z), (s, s, z), (-s, s, z)], [(0, 1, 2, 3)], material
    )


def wall(material, y, *, height=6.0, width=60.0, low=0.0):
    """A wall across the view."""
    w = width / 2
    corners = [(-w, y, low), (w, y, low), (w, y, height), (-w, y, height)]
    return mesh("wall", corners, [(0, 1, 2, 3)], material)


def plaster(rng):
    """Painted or bare plaster in one of several colours."""
    colour = pick(
        rng, "#d9d3c6", "#b9c3c4", "#c9b79a", "#8fa3a0", "#a9a5a0", "#c4a59a", "#7f8c9a", "#e2ddd2"
    )
    return surface(
        colour,
        shade(colour, 0.88),
        scale=2.5,
        contrast=0.4,
        roughness=0.85,
        bumps=0.12,
        bump_scale=90,
    )


def tiles(rng, axes):
    """Glazed wall tiles or floor tiles."""
    colours = pick(
        rng,
        ("#e9e6df", "#d9d6cf"),
        ("#9db5b0", "#7f9c98"),
        ("#3f5f73", "#56788c"),
        ("#c7b9a4", "#b5a48c"),
        ("#d8c8b8", "#efe4d6"),
    )
    size = pick(rng, (0.10, 0.10), (0.15, 0.075), (0.2, 0.1))
    joints = pick(rng, "#b8b3a8", "#8d8880", "#e5e2da")
    return bricks(
        colours, joints, width=size[0], height=size[1], gap=0.0022, roughness=0.2,
        offset=pick(rng, 0.0, 0.5), axes=axes, bumps=0.5,
    )  # fmt: skip


def clear(view: View, x, y, radius) -> bool:
    """Whether a circle keeps off the objects."""
    gap = np.hypot(view.feet[:, 0] - x, view.feet[:, 1] - y) - view.feet[:, 2]
    inside = (
        view.low[0] - radius < x < view.high[0] + radius
        and view.low[1] - radius < y < view.high[1] + radius
    )
    return bool((gap > radius).all() and not inside)


def places(view: View, rng, count, radius, *, back, front):
    """Up to `count` free places (x, y) for clutter, within the given depths."""
    found: list[tuple[float, float]] = []
    span = 0.6 * abs(view.eye[1] - back) * np.tan(view.angle) + 0.5 * (view.high[0] - view.low[0])
    for _ in range(200):
        if len(found) == count:
            break
        x, y = rng.uniform(-span, span), rng.uniform(front, back)
        near = any(np.hypot(x - a, y - b) < 2.2 * radius for a, b in found)
        hidden = np.hypot(x - view.eye[0], y - view.eye[1]) < 0.35 * np.hypot(*view.eye[:2])
        if clear(view, x, y, radius) and not near and not hidden:
            found.append((x, y))
    return found


# Clutter


def clutter(view: View, rng, size=1.0, count=3) -> None:
    """Boxes, jars, candles, boards and baskets between the objects and the wall."""
    back = view.wall - 0.09 * size
    front = max(view.high[1] + 0.06 * size, 0.0)
    if back <= front:
        return
    number = int(rng.integers(0, count + 1))
    for x, y in places(view, rng, number, 0.085 * size, back=back, front=front):
        kind = pick(rng, carton, jar, candle, basket, crock)
        tint = pick(
            rng, "#b5835a", "#8a9a8f", "#c9b27d", "#6f7f94", "#a85c4a", "#dcd6c8", "#4f5f58"
        )
        kind(rng, tint, size, x, y)


def stand(name, profile, material, x, y, **options) -> None:
    """A surface of revolution at a place on the ground."""
    transform(lathe(name, profile, material, **options), np.eye(3), (x, y, 0))


def carton(rng, tint, size, x, y) -> None:
    sides = rng.uniform(0.06, 0.14, 3) * size
    paint = surface(tint, scale=30, roughness=0.7, bumps=0.1)
    turn = rotation("z", rng.uniform(-0.5, 0.5))
    box("box", sides, (x, y, sides[2] / 2), paint, bevel=0.003, turn=turn)


def jar(rng, tint, size, x, y) -> None:
    r, h = rng.uniform(0.03, 0.045) * size, rng.uniform(0.09, 0.15) * size
    side = [(0, 0), (r, 0), (r, h), (r * 0.96, h * 1.02), (0, h * 1.02)]
    stand("jar", side, surface(tint, scale=80, roughness=0.3), x, y)
    lid = [(r * 1.03, h * 0.9), (r * 1.05, h * 1.08), (0, h * 1.1)]
    stand("lid", lid, metal("#a8a8a0", 0.4), x, y)


def candle(rng, tint, size, x, y) -> None:
    r, h = rng.uniform(0.025, 0.04) * size, rng.uniform(0.06, 0.14) * size
    side = [(0, 0), (r, 0), (r, h), (r * 0.8, h * 0.97), (0, h * 0.96)]
    stand("candle", side, surface("#efe6cf", tint, scale=4, subsurface_weight=0.4), x, y)


def basket(rng, tint, size, x, y) -> None:
    r = 0.08 * size
    straw = patterned("checks", ["#b08a55", "#7d5c34"], size=0.016 * size, count=40, roughness=0.8)
    side = [(0, 0), (r * 0.8, 0), (r, 0.12 * size), (r * 0.96, 0.125 * size), (r * 0.75, 0.02)]
    stand("basket", side, straw, x, y, samples=40)


def crock(rng, tint, size, x, y) -> None:
    """A crock with wooden paddles."""
    r, h = 0.042 * size, 0.12 * size
    side = [(0, 0), (r, 0), (r * 1.05, h), (r * 0.95, h), (r * 0.9, 0.01)]
    stand("crock", side, surface(tint, roughness=0.3), x, y)
    for k in range(4):
        a = 1.6 * k + rng.uniform(0, 1)
        tip = (x + 0.05 * size * np.cos(a), y + 0.04 * size * np.sin(a), 0.27 * size)
        tube("stick", [(x, y, 0.01), tip], 0.006 * size, wood("#a37746", along="z"), sides=8)
        radii = (0.022 * size, 0.006 * size, 0.034 * size)
        ellipsoid("paddle", tip, radii, wood("#a37746", along="z"), segments=16)


def picture(rng, view: View, low: float) -> None:
    """Sometimes a framed abstract picture on the wall."""
    if rng.random() < 0.45:
        return
    w, h = rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.7)
    x, z = rng.uniform(-0.9, 0.9), low + h / 2 + rng.uniform(0, 0.25)
    box(
        "frame",
        (w, 0.03, h),
        (x, view.wall - 0.015, z),
        wood(pick(rng, "#3a2a1c", "#c2a878", "#e8e4da")),
        bevel=0.004,
    )
    tones = pick(rng, ("#31607a", "#d6b26a"), ("#8c3f33", "#d9cbb3"), ("#4f6b4a", "#e3dcc4"))
    box(
        "image",
        (w - 0.08, 0.032, h - 0.08),
        (x, view.wall - 0.016, z),
        surface(*tones, scale=5, contrast=0.08, roughness=0.6),
    )


def facing(view: View) -> float:
    """Direction on the ground in which the camera looks."""
    middle = (view.low + view.high) / 2 - view.eye
    return float(np.arctan2(middle[1], middle[0]))


def litter(view: View, rng, count, colours) -> None:
    """Fallen leaves on the ground."""
    n = count
    r = np.abs(view.eye[1]) * 1.6 * np.sqrt(rng.uniform(0.02, 1, n))
    a = rng.uniform(0, 2 * np.pi, n)
    at = np.column_stack([r * np.cos(a), r * np.sin(a), np.full(n, 0.004)])
    keep = np.array([clear(view, x, y, 0.04) for x, y, _ in at], bool)
    ways = np.column_stack([rng.normal(size=(n, 2)), np.full(n, 0.12)])
    for k, colour in enumerate(colours):
        part = keep & (np.arange(n) % len(colours) == k)
        if part.any():
            leaves(
                "litter",
                at[part],
                ways[part],
                rng.uniform(0.04, 0.08, part.sum()),
                0.04,
                leaf(colour),
                droop=0.1,
                fold=0.3,
            )


def foliage(at, size, colours, rng, count=2600) -> None:
    """A shrub or a tree's crown of leaves, `size [3]` its half axes."""
    for colour in colours:
        way = rng.normal(size=(count // len(colours), 3))
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        lump = 1 + 0.25 * np.sin(4 * way[:, :1] + 1) * np.sin(5 * way[:, 2:] + 2)
        roots = way * size * lump * rng.uniform(0.55, 1.0, (len(way), 1)) ** 0.5 + at
        leaf_size = 0.09 * float(np.mean(size)) + 0.05
        leaves(
            "foliage",
            roots,
            way + rng.normal(0, 0.6, way.shape),
            leaf_size * rng.uniform(0.7, 1.4, len(way)),
            leaf_size * 0.55,
            leaf(colour),
            rows=4,
        )


GREENS = ("#3c5a26", "#55742f", "#2f4a22")


def trees(view: View, rng, distance: float) -> None:
    """A row of trees and shrubs closing the view outdoors."""
    for k in range(7):
        x = (k - 3) * distance * 0.42 + rng.uniform(-0.5, 0.5) * distance * 0.3
        y = distance * rng.uniform(0.9, 1.5)
        greens = [shade(g, rng.uniform(0.8, 1.2)) for g in GREENS]
        if rng.random() < 0.5:
            h = distance * rng.uniform(0.22, 0.36)
            tube(
                "trunk",
                [(x, y, 0), (x + 0.1, y, h), (x, y, h * 1.6)],
                0.035 * distance,
                surface("#5a4632", "#3b2d20", scale=12, stretch=(1, 1, 0.2), bumps=0.8),
                sides=12,
            )
            foliage((x, y, h * 1.9), np.array([1.0, 1.0, 0.9]) * distance * 0.24, greens, rng)
        else:
            size = np.array([0.24, 0.16, rng.uniform(0.12, 0.22)]) * distance
            foliage((x, y, size[2] * 0.7), size, greens, rng)


def fence(view: View, y: float, rng) -> None:
    """A plank fence."""
    tone = wood(pick(rng, "#9a7b56", "#d8d4c8", "#6f5a44", "#7c8a86"), along="z")
    half = 1.2 * (abs(view.eye[1]) + y)
    for x in np.arange(-half, half, 0.125):
        height = 1.25 + rng.uniform(-0.02, 0.02)
        box("plank", (0.112, 0.02, height), (x, y + rng.uniform(0, 0.006), height / 2 + 0.03), tone)
    for z in (0.35, 1.0):
        box("rail", (2 * half, 0.04, 0.08), (0, y + 0.035, z), tone)


# Indoors


def counter(view: View, rng) -> None:
    top = pick(
        rng,
        wood(pick(rng, "#a9794a", "#8a5c36", "#c9a06a"), scale=5, roughness=0.35),
        surface("#d9d6d0", "#a9a6a2", scale=6, contrast=0.1, roughness=0.15),
        surface("#4a4a4c", "#2c2c2e", scale=90, contrast=0.1, roughness=0.25),
    )
    front = min(view.low[1] - 0.12, -0.25)
    depth = view.wall - front
    box("counter", (6, depth, 0.04), (0, front + depth / 2, -0.02), top, bevel=0.004)
    ground(surface("#6a5a4a"), z=-0.9)
    wall(tiles(rng, "xz") if rng.random() < 0.6 else plaster(rng), view.wall, low=-1)
    if rng.random() < 0.5:
        board = wood(pick(rng, "#b98a58", "#7d5533"), along="z", scale=6)
        x = rng.uniform(-0.35, 0.35)
        if view.high[1] + 0.07 < view.wall:
            box(
                "board",
                (0.26, 0.018, 0.36),
                (x, view.wall - 0.045, 0.18),
                board,
                bevel=0.006,
                turn=rotation("x", -0.12),
            )
    clutter(view, rng, 1.0, 4)


def shelf(view: View, rng) -> None:
    plank = wood(pick(rng, "#b98d5c", "#e6e1d6", "#5f4230", "#c8b596"), scale=6)
    front, back = min(view.low[1] - 0.02, -0.13), view.wall
    depth, top = back - front, view.high[2] + rng.uniform(0.1, 0.25)
    for z in (-0.0125, top + 0.0125, -0.5):
        box("shelf", (1.9, depth, 0.025), (0, front + depth / 2, z), plank, bevel=0.002)
    for x in (-0.7 + rng.uniform(-0.1, 0.1), 0.75):
        if not view.low[0] - 0.02 < x < view.high[0] + 0.02:
            box("side", (0.025, depth, top + 0.6), (x, front + depth / 2, (top - 0.5) / 2), plank)
    wall(plank if rng.random() < 0.4 else plaster(rng), back, low=-3)
    ground(wood("#7d5a3c", scale=4), z=-1.2)
    clutter(view, rng, 0.9, 4)


def cloth(view: View, rng) -> None:
    """A blanket with folds that flatten out under the objects."""
    n = 220
    reach = 1.1 + 2.2 * float(np.max(view.high[:2] - view.low[:2]))
    back = max(view.wall, 0.6)
    x, y = np.meshgrid(np.linspace(-reach, reach, n), np.linspace(-reach, back + 0.02, n))
    folds = np.zeros_like(x)
    for _ in range(9):
        a, f, p = rng.uniform(0, np.pi), rng.uniform(4, 16), rng.uniform(0, 6)
        warp = 0.4 * np.sin(2.3 * x + p) + 0.4 * np.sin(1.9 * y - p)
        folds += (np.sin(f * (x * np.cos(a) + y * np.sin(a) + 0.3 * warp) + p) + 1) ** 2 * 0.16 / f
    folds *= rng.uniform(0.03, 0.06) / folds.max()
    gap = np.min([np.hypot(x - fx, y - fy) - r for fx, fy, r in view.feet], axis=0)
    free = np.clip((gap - 0.015) / 0.2, 0, 1)
    z = folds * free * free * (3 - 2 * free)
    z -= 0.0006
    colours = pick(rng, *BLANKETS)
    kind = pick(rng, "plain", "plain", "plaid")
    material = fabric(*colours, scale=5) if kind == "plain" else plaid(colours)
    mesh("cloth", np.stack([x, y, z], -1).reshape(-1, 3), grid_faces(n, n, wrap=False), material)
    wall(pick(rng, plaster(rng), wood("#8a6a4a", along="x"), fabric("#8c7f72")), back, low=-2)
    for x0 in (-0.45, 0.35):
        if rng.random() < 0.6 and view.high[1] + 0.15 < back:
            tint = pick(rng, "#d7cfc0", "#5f7486", "#a8584a", "#8a9a74", "#caa35a")
            at = (x0 + rng.uniform(-0.1, 0.1), back - 0.08, 0.17)
            ellipsoid("cushion", at, (0.25, 0.08, 0.2), fabric(tint), turn=rotation("x", 0.3))


BLANKETS = (
    ("#b9b2a4", "#8d8678"), ("#7b4b46", "#c9a58f"), ("#46617a", "#8ea6b8"), ("#6d7a55", "#b7b98f"),
    ("#dcd7cc", "#bfb8a8"), ("#c98a3e", "#8f5a28"),
)  # fmt: skip


def plaid(colours):
    """Cloth with crossing stripes."""
    material, tree, shader = principled("plaid", colours[0], 0.9, sheen_weight=0.3)
    xyz = node(tree, "SeparateXYZ", {0: node(tree, "TexCoord").outputs["Object"]}).outputs
    bands = [
        math(tree, "GREATER_THAN", math(tree, "FRACT", math(tree, "MULTIPLY", xyz[k], 14.0)), 0.55)
        for k in (0, 1)
    ]
    both = math(tree, "MULTIPLY", math(tree, "ADD", *bands), 0.45)
    tree.links.new(mix(tree, both, *colours), shader.inputs["Base Color"])
    return material


def room(view: View, rng) -> None:
    """The wall, skirting, picture and curtain of a room."""
    wall(plaster(rng), view.wall)
    box(
        "skirting",
        (30, 0.018, 0.09),
        (0, view.wall - 0.009, 0.045),
        surface(pick(rng, "#efece4", "#8a6a4a", "#d8d4ca")),
        bevel=0.003,
    )
    picture(rng, view, max(0.9, view.high[2] + 0.1))
    if rng.random() < 0.4:
        t = np.linspace(0, 1, 160)
        x0 = pick(rng, -1, 1) * (0.9 + view.high[0])
        folds = np.column_stack([x0 + 0.9 * (t - 0.5), view.wall - 0.08 + 0.035 * np.sin(55 * t)])
        rows = np.concatenate([np.column_stack([folds, np.full(160, z)]) for z in (0.05, 3.0)])
        mesh(
            "curtain",
            rows,
            grid_faces(2, 160, wrap=False),
            fabric(pick(rng, "#c9bfae", "#7d8c94", "#9c6b5a", "#e3ded2")),
        )


def wood_floor(view: View, rng) -> None:
    tones = pick(
        rng,
        ("#9a6b40", "#b98655"),
        ("#6b452a", "#7f5636"),
        ("#c9a574", "#b28e60"),
        ("#8f7a66", "#a48f7a"),
    )
    ground(
        bricks(
            tones,
            shade(tones[0], 0.35),
            width=1.1,
            height=0.11,
            gap=0.0016,
            roughness=0.35,
            offset=0.37,
            axes="xy",
            bumps=0.25,
        )
    )
    room(view, rng)
    clutter(view, rng, 1.6, 2)


def carpet(view: View, rng) -> None:
    tones = pick(
        rng,
        ("#8a8378", "#6b655c"),
        ("#6f2f2c", "#8c4a3e"),
        ("#4f6272", "#3b4a58"),
        ("#b8aa92", "#9d8f78"),
        ("#5c6b50", "#47553e"),
    )
    ground(
        surface(
            *tones,
            scale=3,
            contrast=0.4,
            roughness=1.0,
            bumps=1.0,
            bump_scale=300,
            sheen_weight=0.3,
        )
    )
    room(view, rng)
    clutter(view, rng, 1.6, 2)


# Outdoors


def patio(view: View, rng) -> None:
    tones = pick(
        rng,
        ("#a39a8c", "#8c8478"),
        ("#b5a48a", "#9c8b70"),
        ("#8f8f8c", "#a6a6a2"),
        ("#b07a5c", "#9a6448"),
    )
    size = pick(rng, (0.4, 0.4), (0.5, 0.25), (0.2, 0.2))
    ground(
        bricks(
            tones,
            "#6a655c",
            width=size[0],
            height=size[1],
            gap=0.006,
            roughness=0.85,
            offset=pick(rng, 0.0, 0.5),
            axes="xy",
        )
    )
    if rng.random() < 0.5:
        wall(plaster(rng), view.wall, height=3.2)
        foliage(
            (rng.uniform(-2, 2), view.wall - 0.15, 0.3),
            np.array([0.6, 0.2, 0.4]),
            [shade(g, 1.1) for g in GREENS],
            rng,
            1200,
        )
    else:
        fence(view, view.wall, rng)
        trees(view, rng, view.wall + 5)
    litter(view, rng, int(rng.integers(0, 25)), ("#a8702e", "#7d5a2c", "#8f8a3a"))


def brick(view: View, rng) -> None:
    tones = pick(
        rng,
        ("#8f4a36", "#a86248"),
        ("#b09a80", "#9c8468"),
        ("#6f5850", "#85695c"),
        ("#c9c2b6", "#dcd6cc"),
    )
    wall(
        bricks(
            tones,
            pick(rng, "#b8b0a2", "#8c857a"),
            width=0.22,
            height=0.075,
            gap=0.006,
            roughness=0.9,
        ),
        view.wall,
        height=7,
    )
    slab = pick(rng, "#8f8d88", "#a39f96", "#76746f")
    ground(
        surface(
            slab, shade(slab, 0.8), scale=4, contrast=0.35, roughness=0.9, bumps=0.5, bump_scale=120
        )
    )
    litter(view, rng, int(rng.integers(0, 30)), ("#a8702e", "#7d5a2c", "#8f8a3a"))


def street(view: View, rng) -> None:
    ground(
        surface(
            "#56565a", "#3f3f43", scale=70, contrast=0.3, roughness=0.9, bumps=0.9, bump_scale=260
        )
    )
    kerb = max(view.wall * 0.55, view.high[1] + 0.25)
    stone = surface("#a09c94", "#8a867e", scale=25, roughness=0.9, bumps=0.4)
    for x in np.arange(-12, 12, 0.8):
        box("kerb", (0.79, 0.14, 0.24), (x, kerb + 0.07, 0.0), stone, bevel=0.012)
    depth = view.wall + 3 - kerb
    paving = bricks(
        ("#8f8b83", "#a19d94"), "#6b675f", width=0.4, height=0.4, gap=0.006, axes="xy", offset=0.0
    )
    box("pavement", (60, depth, 0.2), (0, kerb + 0.14 + depth / 2, 0.0), paving)
    if rng.random() < 0.5:
        paint = surface("#d8d4c8", "#8f8c86", scale=50, contrast=0.12, roughness=0.8)
        y = min(view.low[1], 0) - rng.uniform(0.05, 0.5)
        mesh(
            "line",
            [(-30, y - 0.12, 0.0012), (30, y - 0.12, 0.0012), (30, y, 0.0012), (-30, y, 0.0012)],
            [(0, 1, 2, 3)],
            paint,
        )
    facade(view.wall + 2.5, rng)
    if rng.random() < 0.6:
        trees(view, rng, view.wall + 1.4)
    litter(view, rng, int(rng.integers(0, 20)), ("#a8702e", "#7d5a2c"))


def facade(y: float, rng) -> None:
    """House fronts with windows."""
    tones = pick(
        rng,
        ("#9a5540", "#ab6a50"),
        ("#c2b08f", "#b29e7a"),
        ("#b8b4ac", "#a6a198"),
        ("#7f8c8f", "#93a0a2"),
    )
    wall(bricks(tones, "#a59c8e", width=0.24, height=0.08, gap=0.008), y, height=9)
    frame, pane = surface("#e8e4da"), principled("pane", "#26323c", 0.08)[0]
    for x in np.arange(-14, 14, 2.4):
        for z in (1.7, 4.6):
            box("frame", (1.15, 0.12, 1.65), (x, y, z), frame, bevel=0.01)
            for dx in (-0.27, 0.27):
                box("pane", (0.47, 0.13, 1.45), (x + dx, y - 0.01, z), pane)
            box("sill", (1.3, 0.24, 0.07), (x, y - 0.06, z - 0.88), frame, bevel=0.01)


def lawn(view: View, rng) -> None:
    soil = pick(rng, ("#4a5a2a", "#5d5a30"), ("#3f5526", "#54602c"), ("#6b6a36", "#57592c"))
    ground(surface(*soil, scale=6, contrast=0.35, roughness=1.0, bumps=1.0, bump_scale=120))
    grass(
        view,
        rng,
        42000,
        pick(rng, ("#4f7a28", "#7d9a3c"), ("#3f6b2a", "#6a8f3a"), ("#6f8a38", "#a39a50")),
    )
    trees(view, rng, view.wall + 4)
    if rng.random() < 0.5:
        fence(view, view.wall + 2.5, rng)
    litter(view, rng, int(rng.integers(0, 20)), ("#b5762e", "#8f5a2c"))


def grass(view: View, rng, count, colours) -> None:
    """Blades where the camera sees them, thinner in number and thicker with distance."""
    distance = np.hypot(*view.eye[:2])
    r = distance * np.exp(rng.uniform(np.log(0.25), np.log(5), count))
    heading = facing(view) + rng.uniform(-1, 1, count) * (view.angle + 0.25)
    at = np.column_stack(
        [view.eye[0] + r * np.cos(heading), view.eye[1] + r * np.sin(heading), 0 * r]
    )
    gap = np.min([np.hypot(at[:, 0] - x, at[:, 1] - y) - f for x, y, f in view.feet], axis=0)
    keep = (gap > 0.006) & (r > 0.06)
    at, r = at[keep], r[keep]
    low = 0.022 if distance < 1.2 else 0.045
    long = low * rng.uniform(0.6, 1.5, (len(at), 1))
    lean = rng.normal(0, 0.45, (len(at), 3)) * [1, 1, 0]
    tips = at + (lean + [0, 0, 1.0]) * long
    # the hardest fault to see past is a blade that comes through an object: keep them clear
    over = (
        np.min([np.hypot(tips[:, 0] - x, tips[:, 1] - y) - f for x, y, f in view.feet], axis=0)
        > 0.004
    )
    for k, colour in enumerate(colours):
        part = over & (np.arange(len(at)) % 2 == k)
        hair(
            "grass",
            at[part],
            tips[part],
            0.0008 + 0.0011 * r[part],
            leaf(colour),
            bend=lean[part] * -0.25 * long[part],
        )


def sand(view: View, rng) -> None:
    tone = pick(rng, "#d2bd93", "#c8ad80", "#dccaa6")
    material, tree, shader = principled("sand", tone, 0.95)
    tree.links.new(
        mix(tree, ramp(tree, noise(tree, 260), 0.3, 0.7), tone, shade(tone, 0.72)),
        shader.inputs["Base Color"],
    )
    ripple = math(tree, "MULTIPLY", noise(tree, pick(rng, 7, 11), detail=1, stretch=(1, 3, 1)), 1.0)
    grains = math(tree, "MULTIPLY", noise(tree, 240), 0.08)
    inputs = {"Height": math(tree, "ADD", ripple, grains), "Strength": 0.9, "Distance": 0.07}
    tree.links.new(node(tree, "Bump", inputs).outputs[0], shader.inputs["Normal"])
    ground(material, size=200)
    sea(view.wall + pick(rng, 4.0, 7.0, 25.0), rng)
    for x, y in places(view, rng, 5, 0.1, back=view.wall + 1.5, front=view.low[1]):
        size = rng.uniform(0.02, 0.07) * (1 + 0.4 * abs(view.eye[1]))
        if clear(view, x, y, size * 1.4):
            stone = surface("#8a8278", "#6a6258", scale=30, roughness=0.9, bumps=0.5)
            radii = size * rng.uniform(0.6, 1.2, 3)
            ellipsoid("stone", (x, y, size * 0.2), radii, stone, segments=20)
    if rng.random() < 0.5:
        dune_grass(view, rng)


def sea(shore: float, rng) -> None:
    """Water from the shore to the horizon."""
    water = surface(
        pick(rng, "#2f6f86", "#3f8090", "#37627c"), scale=0.5, roughness=0.12, bumps=0.8,
        bump_scale=1.2, stretch=(0.3, 1, 1),
    )  # fmt: skip
    corners = [(-300, shore, 0.01), (300, shore, 0.01), (300, 900, 0.01), (-300, 900, 0.01)]
    mesh("sea", corners, [(0, 1, 2, 3)], water)


def dune_grass(view: View, rng) -> None:
    """Tufts behind the objects."""
    for _ in range(14):
        x, y = rng.uniform(-3, 3) * (1 + view.wall * 0.3), view.wall + rng.uniform(0.3, 3)
        n = 60
        at = np.column_stack([x + rng.normal(0, 0.06, n), y + rng.normal(0, 0.06, n), np.zeros(n)])
        way = np.column_stack([rng.normal(0, 0.35, (n, 2)), np.ones(n)])
        hair("dune grass", at, at + way * rng.uniform(0.2, 0.5, (n, 1)), 0.004, leaf("#8f9a58"))


def gravel(view: View, rng) -> None:
    tones = pick(
        rng,
        ("#8f887c", "#b5aea2", "#6f6a62"),
        ("#a8907a", "#8a7462", "#c2b09c"),
        ("#7a7f84", "#9aa0a4", "#5f6468"),
    )
    ground(
        surface(tones[2], shade(tones[2], 0.6), scale=40, roughness=1.0, bumps=1.0, bump_scale=70)
    )
    distance = np.hypot(*view.eye[:2])
    n = 5400
    r = distance * np.exp(rng.uniform(np.log(0.3), np.log(4), n))
    heading = facing(view) + rng.uniform(-1, 1, n) * (view.angle + 0.25)
    at = np.column_stack([view.eye[0] + r * np.cos(heading), view.eye[1] + r * np.sin(heading)])
    size = (0.008 + 0.009 * r) * rng.uniform(0.6, 1.3, n)
    gap = np.min([np.hypot(at[:, 0] - x, at[:, 1] - y) - f for x, y, f in view.feet], axis=0)
    keep = (gap > size * 1.05) & (at[:, 1] < view.wall * 6)
    at, size = at[keep], size[keep]
    for k, tone in enumerate(tones):
        part = np.arange(len(at)) % 3 == k
        pebbles(at[part], size[part], tone, rng)
    litter(view, rng, int(rng.integers(5, 40)), ("#a8702e", "#7d5a2c", "#8f8a3a"))
    if rng.random() < 0.5:
        fence(view, view.wall + 1, rng)
    trees(view, rng, view.wall + 4)


def pebbles(at: np.ndarray, size: np.ndarray, tone: str, rng) -> None:
    """Stones of one colour at places `[m, 2]`, sizes `[m]`, each stretched and turned at random."""
    m, blob = len(at), unit_blob()
    stretch = rng.uniform(0.65, 1.2, (m, 1, 3)) * [1, 1, 0.7]
    spin = rng.uniform(0, np.pi, m)
    c, s = np.cos(spin)[:, None], np.sin(spin)[:, None]
    body = blob[None] * stretch * size[:, None, None]  # [m, 70, 3]
    x, y, z = body[..., 0], body[..., 1], body[..., 2]
    body = np.stack([x * c - y * s, x * s + y * c, z], -1)
    body[..., :2] += at[:, None]
    body[..., 2] += (size * 0.25)[:, None]
    one = np.array(grid_faces(7, 10, wrap=True))
    faces = (one[None] + (np.arange(m) * len(blob))[:, None, None]).reshape(-1, 4)
    material = surface(tone, shade(tone, 0.75), scale=60, roughness=0.85, bumps=0.3)
    mesh("pebbles", body.reshape(-1, 3), faces, material)


def unit_blob() -> np.ndarray:
    """A coarse sphere `[70, 3]` for pebbles."""
    polar = np.linspace(0.02, np.pi - 0.02, 7)[:, None]
    angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)[None, :]
    z = np.cos(polar) + 0 * angle
    return np.stack([np.sin(polar) * np.cos(angle), np.sin(polar) * np.sin(angle), z], -1).reshape(
        -1, 3
    )


STAGES = {
    "brick": brick,
    "carpet": carpet,
    "cloth": cloth,
    "counter": counter,
    "gravel": gravel,
    "lawn": lawn,
    "patio": patio,
    "sand": sand,
    "shelf": shelf,
    "street": street,
    "wood_floor": wood_floor,
}


# Light


def light(entry: dict, view: View) -> None:
    """The scene's `light`: `kind` sun, golden, overcast, window or lamp; `from` in degrees.

    `from` is the compass direction the light comes from: 0 behind the camera, 90 right.
    """
    kind, side = entry["kind"], np.radians(entry["from"])
    way = np.array([np.sin(side), -np.cos(side), 0.0])
    if kind in ("sun", "golden", "overcast"):
        elevation = {"sun": entry.get("elevation", 45), "golden": 16, "overcast": 60}[kind]
        up = np.radians(elevation)
        sun = bpy.data.lights.new("sun", "SUN")
        sun.energy = {"sun": 7.0, "golden": 5.0, "overcast": 0.7}[kind]
        sun.angle = {"sun": 0.01, "golden": 0.02, "overcast": 1.0}[kind]
        sun.color = linear({"sun": "#fff4e2", "golden": "#ffc489", "overcast": "#f2f5fa"}[kind])[:3]
        place(sun, np.zeros(3) + 50 * (way * np.cos(up) + [0, 0, np.sin(up)]), np.zeros(3))
        sky(kind)
        return
    centre, size = (view.low + view.high) / 2, float(np.max(view.high - view.low))
    away = 1.0 + 2.5 * size
    lamp = bpy.data.lights.new(kind, "AREA")
    lamp.shape = "RECTANGLE" if kind == "window" else "DISK"
    lamp.size = away * (0.7 if kind == "window" else 0.22)
    lamp.size_y = away * 0.9
    lamp.energy = 9.0 * np.pi * away**2
    lamp.color = linear("#eef4ff" if kind == "window" else "#ffdcb4")[:3]
    rise = 0.65 if kind == "window" else 1.1
    place(lamp, centre + away * (way + [0, 0, rise]) / np.hypot(1, rise), centre)
    tree = bpy.context.scene.world.node_tree
    up = node(tree, "SeparateXYZ", {0: node(tree, "TexCoord").outputs["Generated"]}).outputs[2]
    tones = ("#5f584f", "#c9cdd2") if kind == "window" else ("#3a342e", "#8a7a66")
    colour = mix(tree, ramp(tree, up, -0.6, 0.8), *tones)
    finish_world(tree, colour, 0.9 if kind == "window" else 0.7)


def sky(kind: str) -> None:
    """A sky that pales towards the horizon, with clouds."""
    tree = bpy.context.scene.world.node_tree
    direction = node(tree, "TexCoord").outputs["Generated"]
    up = node(tree, "SeparateXYZ", {0: direction}).outputs[2]
    horizon, zenith, cloud = {
        "sun": ("#c9dcec", "#4f86c6", "#ffffff"),
        "golden": ("#f2cfa4", "#7f96b8", "#f7e0c8"),
        "overcast": ("#d5d9de", "#b4bac2", "#e9ecef"),
    }[kind]
    blue = mix(tree, ramp(tree, up, 0.0, 0.55), horizon, zenith)
    mapped = node(tree, "Mapping", {"Vector": direction, "Scale": (1, 1, 3)}).outputs[0]
    value = node(tree, "TexNoise", {"Vector": mapped, "Scale": 2.2, "Detail": 6.0}).outputs[0]
    finish_world(tree, mix(tree, ramp(tree, value, 0.5, 0.72), blue, cloud), 1.1)


def finish_world(tree, colour, strength: float) -> None:
    background = tree.nodes["Background"]
    tree.links.new(colour, background.inputs["Color"])
    background.inputs["Strength"].default_value = strength


def place(data, at, target) -> None:
    """Put a lamp at a point, shining at a target."""
    lamp = bpy.data.objects.new(data.name, data)
    lamp.location = at
    lamp.rotation_euler = Vector(np.asarray(target) - at).to_track_quat("-Z", "Y").to_euler()
    bpy.context.collection.objects.link(lamp)
