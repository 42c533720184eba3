"""Chairs, benches and stop signs, at their real size in metres."""

from __future__ import annotations

import numpy as np
from geometry import (
    Parts,
    box,
    facing_front,
    lathe,
    mesh,
    points_of,
    polygon_slab,
    rotation,
    spline,
    text,
    transform,
    tube,
)
from geometry import grid_faces as grid
from materials import (
    fabric,
    metal,
    shade,
    surface,
    wood,
)

SEAT, HALF = 0.45, 0.21  # of a chair: height, and half its width, metres


def chair(entry: dict, rng) -> Parts:
    """Seat at 0.45 m, front towards −y."""
    variant = entry["variant"]
    first, second = entry["colours"]
    if variant == "shell":
        return shell_chair(first, second, rng)
    frame = wood(first, along="z") if variant != "metal" else metal(first, 0.35)
    thick = 0.02 if variant != "metal" else 0.012
    parts = chair_legs(thick, frame)
    if variant == "upholstered":
        parts += upholstery(fabric(second, scale=14))
    else:
        plate = frame if variant != "metal" else surface(second, roughness=0.4)
        size = (2 * HALF + 0.04, 2 * HALF + 0.02, 0.025)
        parts.append(box("seat", size, (0, 0, SEAT), plate, bevel=0.008))
        parts += slats(frame) if variant == "slats" else rungs(plate)
    rail = [(-HALF + 0.02, HALF + 0.068, 0.92), (0, HALF + 0.085, 0.94),
            (HALF - 0.02, HALF + 0.068, 0.92)]  # fmt: skip
    parts.append(tube("rail", spline(rail, 16), thick * 1.15, frame))
    return parts


def shell_chair(first: str, second: str, rng) -> Parts:
    """A bent shell on four legs."""
    shell = surface(first, scale=5, roughness=0.3, coat_weight=0.2)
    rows, columns = 30, 24
    t = np.linspace(0, 1, rows)
    side = [(-0.24, 0.43), (-0.22, 0.455), (-0.05, 0.435), (0.12, 0.44), (0.2, 0.5), (0.24, 0.65),
            (0.28, 0.82)]  # fmt: skip
    spine = spline(side, rows)
    width = np.interp(t, [0, 0.1, 0.5, 0.7, 0.92, 1], [0.19, 0.22, 0.235, 0.24, 0.21, 0.15])
    u = np.linspace(-1, 1, columns)
    y = spine[:, :1] - 0.06 * np.clip(t[:, None] - 0.45, 0, 1) * 3 * u[None, :] ** 2 * 0.5
    z = spine[:, 1:] + 0.05 * np.exp(-(((t[:, None] - 0.5) / 0.35) ** 2)) * u[None, :] ** 4
    top = np.stack([width[:, None] * u[None, :], y + 0 * u, z + 0 * u], -1).reshape(-1, 3)
    body = mesh("shell", top, grid(rows, columns, wrap=False), shell)
    body.modifiers.new("thickness", "SOLIDIFY").thickness = 0.012
    parts = [body]
    leg = wood(second, along="z") if rng.random() < 0.6 else metal("#b5b5b5")
    for x in (-1, 1):
        for yy in (-1, 1):
            path = [(x * 0.13, yy * 0.12, 0.43), (x * 0.235, yy * 0.23, 0.0)]
            parts.append(tube("leg", path, [0.017, 0.011], leg))
    parts.append(box("cross", (0.34, 0.03, 0.02), (0, 0.12, 0.425), leg))
    parts.append(box("cross", (0.34, 0.03, 0.02), (0, -0.12, 0.425), leg))
    return parts


def chair_legs(thick: float, frame) -> Parts:
    """Four legs, of which the back ones go up to the rail, and what joins them."""
    parts = []
    for x in (-1, 1):
        leg = [(x * (HALF - 0.02), -HALF + 0.02, SEAT), (x * (HALF + 0.005), -HALF, 0)]
        parts.append(tube("leg", leg, [thick, thick * 0.75], frame))
        back = [(x * (HALF + 0.005), HALF + 0.05, 0), (x * (HALF - 0.015), HALF - 0.01, SEAT),
                (x * (HALF - 0.02), HALF + 0.07, 0.92)]  # fmt: skip
        parts.append(tube("post", spline(back, 20), thick * 0.9, frame))
        side = [(x * HALF, -HALF + 0.01, 0.2), (x * HALF, HALF + 0.01, 0.22)]
        parts.append(tube("side", side, thick * 0.6, frame))
    front = [(-HALF, -HALF + 0.02, 0.27), (HALF, -HALF + 0.02, 0.27)]
    parts.append(tube("front", front, thick * 0.6, frame))
    return parts


def upholstery(cloth) -> Parts:
    seat, back = (2 * HALF + 0.04, 2 * HALF + 0.02, 0.075), (2 * HALF - 0.05, 0.06, 0.36)
    at, turn = (0, HALF + 0.035, 0.74), rotation("x", -0.15)
    return [
        box("seat", seat, (0, 0, SEAT), cloth, bevel=0.025),
        box("back", back, at, cloth, bevel=0.025, turn=turn),
    ]


def slats(frame) -> Parts:
    parts = []
    for x in np.linspace(-0.125, 0.125, 5):
        path = spline([(x, HALF - 0.01, SEAT), (x, HALF + 0.03, 0.7), (x, HALF + 0.07, 0.9)], 12)
        parts.append(tube("slat", path, 0.011, frame))
    return parts


def rungs(plate) -> Parts:
    parts = []
    for z in (0.62, 0.75, 0.87):
        at = (0, HALF + 0.07 * ((z - SEAT) / 0.47) ** 1.3, z)
        size, turn = (2 * HALF - 0.03, 0.016, 0.07), rotation("x", -0.15)
        parts.append(box("rung", size, at, plate, bevel=0.005, turn=turn))
    return parts


def bench(entry: dict, rng) -> Parts:
    """Seat at 0.45 m, 1.5 m long, front towards −y."""
    variant = entry["variant"]
    first, second = entry["colours"]
    plank = wood(first, along="x", scale=8)
    iron = metal(second, 0.5) if variant != "rustic" else wood(second, along="z")
    parts: Parts = []
    if variant == "backless":
        stone = surface(second, shade(second, 0.8), scale=30, roughness=0.9, bumps=0.5)
        for y in np.linspace(-0.17, 0.17, 4):
            parts.append(box("slat", (1.5, 0.095, 0.045), (0, y, 0.43), plank, bevel=0.006))
        for x in (-0.5, 0.5):
            parts.append(box("block", (0.16, 0.4, 0.405), (x, 0, 0.2025), stone, bevel=0.015))
        return parts
    for y in np.linspace(-0.2, 0.16, 4):
        parts.append(box("slat", (1.5, 0.1, 0.03), (0, y, 0.45), plank, bevel=0.006))
    for k, z in enumerate((0.58, 0.70, 0.82)):
        at, turn = (0, 0.235 + 0.035 * k, z), rotation("x", -0.28)
        parts.append(box("back", (1.5, 0.025, 0.095), at, plank, bevel=0.006, turn=turn))
    for x in (-0.62, 0.62):
        parts += rustic_end(x, iron) if variant == "rustic" else iron_end(x, iron)
    return parts


def rustic_end(x: float, beam) -> Parts:
    """A bench's end of squared timber."""
    lean = rotation("x", -0.12)
    return [
        box("leg", (0.07, 0.07, 0.435), (x, -0.2, 0.2175), beam, bevel=0.006),
        box("leg", (0.07, 0.06, 0.9), (x, 0.27, 0.43), beam, bevel=0.006, turn=lean),
        box("rest", (0.08, 0.52, 0.035), (x, 0.03, 0.66), beam, bevel=0.006),
        box("post", (0.06, 0.06, 0.2), (x, -0.2, 0.56), beam, bevel=0.006),
        box("beam", (0.05, 0.46, 0.05), (x, 0.02, 0.41), beam),
    ]


def iron_end(x: float, iron) -> Parts:
    """A bench's end of bent bars."""
    leg = [(x, -0.25, 0), (x, -0.18, 0.12), (x, -0.22, 0.3), (x, -0.2, 0.42)]
    post = [(x, 0.3, 0), (x, 0.2, 0.15), (x, 0.2, 0.42), (x, 0.27, 0.66), (x, 0.33, 0.88)]
    arm = [(x, -0.2, 0.43), (x, -0.26, 0.55), (x, -0.2, 0.65), (x, 0.0, 0.66), (x, 0.26, 0.67)]
    return [
        tube("leg", spline(leg, 16), 0.02, iron),
        tube("post", spline(post, 24), 0.02, iron),
        tube("beam", [(x, -0.23, 0.425), (x, 0.2, 0.425)], 0.018, iron),
        tube("arm", spline(arm, 24), 0.02, iron),
    ]


def stop_sign(entry: dict, rng) -> Parts:
    """Plate 0.75 m wide, its middle at 2.1 m, on a pole."""
    wear = entry.get("wear", 0.1)
    red = surface("#b3141d", shade("#b3141d", 1 - 0.5 * wear), scale=6, roughness=0.4, bumps=0.05)
    white = surface("#eeece6", shade("#eeece6", 1 - 0.3 * wear), scale=9, roughness=0.45)
    grey = metal("#8f9294", 0.45)
    middle = 2.1
    parts = stop_plate(red, white)
    for z in (0.22, -0.22):
        profile = [(0, -0.006), (0.012, -0.005), (0.013, 0)]
        bolt = facing_front(lathe("bolt", profile, grey, segments=16))
        transform(bolt, np.eye(3), (0, 0, z + 0.04 * np.sign(z)))
        parts.append(bolt)
    for part in parts:
        transform(part, rotation("y", rng.uniform(-0.04, 0.04)), (0, 0, middle))
    if entry["variant"] == "wooden":
        timber = wood("#8a6f50", along="z")
        pole = box("pole", (0.09, 0.09, 2.35), (0, 0.05, 1.175), timber, bevel=0.006)
    else:
        pole = tube("pole", [(0, 0.035, 0), (0, 0.035, 2.45)], 0.03, grey)
    pole["frame"] = False
    return [*parts, pole]


def stop_plate(red, white) -> Parts:
    """The octagon, red in a white edge, and its letters."""
    half = 0.375
    angles = np.pi / 8 + np.arange(8) * np.pi / 4

    def octagon(radius):
        return np.column_stack([np.cos(angles), np.sin(angles)]) * radius / np.cos(np.pi / 8)

    plate = polygon_slab("edge", octagon(half), 0.004, white)
    inner = polygon_slab("red", octagon(half * 0.93), 0.002, red)
    transform(inner, np.eye(3), (0, -0.0015, 0))
    letters = text("STOP", "STOP", 0.36, white, depth=0.001)
    points = points_of(letters)
    width, height = np.ptp(points[:, 0]), np.ptp(points[:, 2])
    transform(letters, np.diag([0.59 / width, 1.0, 0.25 / height]), (0, -0.003, 0))
    centre = points_of(letters)
    shift = -(centre.max(0) + centre.min(0)) / 2
    transform(letters, np.eye(3), (shift[0], 0, shift[2]))
    return [plate, inner, letters]
