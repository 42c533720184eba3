"""Vases with flowers, and plants in pots, at their real size in metres."""

from __future__ import annotations

import numpy as np
from geometry import (
    Parts,
    ellipsoid,
    hair,
    lathe,
    leaves,
    points_of,
    spline,
    transform,
    tube,
)
from materials import (
    leaf,
    patterned,
    principled,
    shade,
    surface,
)
from tableware import glazed


def vase(entry: dict, rng) -> Parts:
    shapes = {
        "classic": [(0, 0), (0.04, 0), (0.043, 0.01), (0.07, 0.07), (0.08, 0.13), (0.062, 0.19),
                    (0.032, 0.225), (0.03, 0.245), (0.042, 0.265)],
        "bottle": [(0, 0), (0.05, 0), (0.068, 0.02), (0.075, 0.06), (0.06, 0.105), (0.025, 0.14),
                   (0.02, 0.2), (0.022, 0.235), (0.03, 0.245)],
        "cylinder": [(0, 0), (0.045, 0), (0.05, 0.006), (0.052, 0.1), (0.055, 0.2), (0.058, 0.23)],
        "amphora": [(0, 0), (0.034, 0), (0.032, 0.012), (0.06, 0.07), (0.085, 0.15), (0.075, 0.2),
                    (0.035, 0.235), (0.032, 0.27), (0.046, 0.285)],
        "flared": [(0, 0), (0.045, 0), (0.046, 0.01), (0.03, 0.05), (0.035, 0.1), (0.05, 0.17),
                   (0.08, 0.24)],
    }  # fmt: skip
    outer = np.array(shapes[entry["variant"]])
    inner = (outer[3:] - [0.004, 0])[::-1]
    profile = np.vstack([outer, inner, [[0, inner[-1][1]]]])
    clay = glazed(entry, coat_weight=0.4)
    parts = [lathe("vase", profile, clay, samples=160, segments=96)]
    if entry["variant"] == "amphora":
        for side in (-1, 1):
            path = spline(
                [(0.068, 0, 0.205), (0.09, 0, 0.24), (0.075, 0, 0.27), (0.034, 0, 0.262)], 24
            )
            parts.append(tube("handle", path * [side, 1, 1], 0.0065, clay, sides=12))
    if entry.get("flowers"):
        mouth = outer[-1]
        parts += flowers(entry["flowers"], entry["blossom"], mouth[0] * 0.55, mouth[1], rng)
    return parts


def flowers(kind: str, colour: str, spread: float, height: float, rng) -> Parts:
    """A bunch of tulips, daisies or roses whose stems leave a mouth at `height`."""
    green = leaf("#4d7a33")
    petals = surface(
        colour, shade(colour, 1.5), scale=50, roughness=0.55, subsurface_weight=0.2,
        subsurface_scale=0.005,
    )  # fmt: skip
    heart = surface("#d9a020", "#8a5a12", scale=300, roughness=0.8, bumps=0.6)
    parts = []
    for k in range(7 if kind != "daisies" else 9):
        angle = 2.4 * k
        out = spread * np.sqrt((k + 0.5) / 8)
        lean = np.array([np.cos(angle), np.sin(angle), 0]) * (0.25 + 0.75 * np.sqrt(k / 8))
        long = rng.uniform(0.13, 0.2) * (1.1 - 0.2 * k / 8)
        start = np.array([out * np.cos(angle) * 0.5, out * np.sin(angle) * 0.5, height - 0.09])
        end = np.array([0, 0, height]) + lean * 0.1 + [0, 0, long]
        path = spline([start, (start + end) / 2 + lean * 0.012, end], 12)
        parts.append(tube("stem", path, 0.0022, green, sides=6))
        facing = path[-1] - path[-3]
        facing /= np.linalg.norm(facing)
        parts += blossom(kind, end, facing, petals, heart, rng)
        if kind != "daisies" or k % 2:
            parts.append(
                leaves("leaf", [path[5]], [lean + [0, 0, 0.9]], 0.11, 0.022, green, droop=0.3)
            )
    return parts


def blossom(kind, at, facing, petals, heart, rng) -> Parts:
    side = np.cross(facing, [0.3, 0.9, 0.1])
    side /= np.linalg.norm(side)
    frame = np.column_stack([side, np.cross(facing, side), facing])
    if kind == "tulips":
        profile = [(0.001, 0), (0.014, 0.006), (0.019, 0.02), (0.016, 0.036), (0.012, 0.046)]

        def lobes(angle, z):
            return 1 + 0.1 * np.cos(3 * angle) + 0.12 * np.cos(6 * angle) * np.clip(z / 0.04, 0, 1)

        parts = [lathe("tulip", profile, petals, samples=24, segments=48, lobes=lobes)]
    elif kind == "roses":
        parts = []
        for layer in range(5):
            n = 3 + layer
            angle = np.linspace(0, 2 * np.pi, n, endpoint=False) + layer
            tilt = 0.25 + 0.27 * layer
            ways = np.column_stack([np.cos(angle) * tilt, np.sin(angle) * tilt, np.ones(n)])
            roots = np.column_stack([np.cos(angle), np.sin(angle), 0 * angle]) * 0.003 * layer
            parts.append(
                leaves(
                    "petals", roots, ways, 0.026 + 0.002 * layer, 0.03, petals, droop=0.1, fold=0.5
                )
            )
    else:
        n = 16
        angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
        ways = np.column_stack([np.cos(angle), np.sin(angle), 0.2 + 0 * angle])
        parts = [leaves("petals", np.zeros((n, 3)), ways, 0.03, 0.011, petals, droop=0.0, fold=0.1)]
        parts.append(ellipsoid("heart", (0, 0, 0.002), (0.010, 0.010, 0.006), heart, segments=24))
    for part in parts:
        transform(part, frame, at)
    return parts


POTS = {
    "round": [(0, 0), (0.05, 0), (0.07, 0.02), (0.09, 0.06), (0.088, 0.1), (0.075, 0.13),
              (0.07, 0.13), (0.07, 0.118), (0, 0.118)],
    "straight": [(0, 0), (0.055, 0), (0.058, 0.004), (0.078, 0.115), (0.078, 0.117), (0.086, 0.117),
                 (0.088, 0.14), (0.086, 0.142), (0.08, 0.142), (0.077, 0.125), (0, 0.125)],
}  # fmt: skip
SOIL = 0.12  # height in the pot, metres


def potted_plant(entry: dict, rng) -> Parts:
    clay = patterned(
        entry.get("pattern", "plain"), entry["colours"], size=0.035, roughness=0.7, bumps=0.2
    )
    shape = "round" if entry.get("pot") == "round" else "straight"
    earth = surface("#3a2a1c", "#20160e", scale=150, roughness=1.0, bumps=1.0, bump_scale=180)
    parts = [lathe("pot", POTS[shape], clay, segments=80)]
    parts.append(lathe("soil", [(0, 0.124), (0.078 if shape != "round" else 0.071, SOIL)], earth))
    green = leaf(entry.get("green", "#3f7a35"))
    return parts + PLANTS[entry["variant"]](entry, green, rng)


def snake_plant(entry: dict, green, rng) -> Parts:
    n = 13
    angle = 2.4 * np.arange(n)
    r = 0.05 * np.sqrt(np.arange(n) / n)
    roots = np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(n, SOIL)])
    ways = np.column_stack([np.cos(angle) * 0.22, np.sin(angle) * 0.22, np.ones(n)])
    stripes = surface(
        entry.get("green", "#3f7a35"), "#b9c77a", scale=28, contrast=0.1, stretch=(0.6, 0.6, 3),
        roughness=0.4,
    )  # fmt: skip
    long = rng.uniform(0.22, 0.4, n)
    return [leaves("leaves", roots, ways, long, 0.05, stripes, droop=0.02, rows=9)]


def bush(entry: dict, green, rng) -> Parts:
    n = 260
    direction = rng.normal(size=(n, 3))
    direction[:, 2] = np.abs(direction[:, 2]) * 1.1 - 0.25
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    shell = direction * rng.uniform(0.35, 1.0, (n, 1)) ** 0.6 * [0.13, 0.13, 0.17]
    roots, ways = shell + [0, 0, SOIL + 0.15], direction + [0, 0, 0.15]
    parts = [leaves("leaves", roots, ways, rng.uniform(0.045, 0.075, n), 0.034, green)]
    bark = surface("#6b5238", "#4a3624", scale=100)
    for k in range(5):
        a = 2.5 * k
        out = np.array([np.cos(a), np.sin(a), 0])
        path = spline(
            [
                0.01 * out + [0, 0, SOIL - 0.01],
                0.03 * out + [0, 0, SOIL + 0.1],
                0.07 * out + [0, 0, SOIL + 0.2],
            ],
            10,
        )
        parts.append(tube("branch", path, 0.004, bark, sides=6))
    return parts


def cactus(entry: dict, green, rng) -> Parts:
    flesh = surface(entry.get("green", "#4d7f46"), scale=40, roughness=0.6, bumps=0.2)

    def ribs(angle, z):
        return 1 + 0.09 * np.cos(14 * angle)

    body = [(0.03, SOIL - 0.01), (0.045, SOIL + 0.04), (0.05, SOIL + 0.1), (0.046, SOIL + 0.16),
            (0.03, SOIL + 0.2), (0.001, SOIL + 0.212)]  # fmt: skip
    parts = [lathe("cactus", body, flesh, samples=60, segments=112, lobes=ribs)]
    skin = points_of(parts[-1])
    outward = skin - [0, 0, 1] * skin
    outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
    pick = rng.integers(112 * 8, len(skin), 700)
    spine = outward[pick] + rng.normal(0, 0.45, (700, 3))
    needle = principled("spine", "#efe6c8", 0.6)[0]
    parts.append(hair("spines", skin[pick], skin[pick] + spine * 0.011, 0.0004, needle))
    petals = surface(entry.get("blossom", "#d94f7a"), scale=60)
    a = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    ways = np.column_stack([np.cos(a), np.sin(a), 0.9 + 0 * a])
    roots = np.zeros((9, 3)) + [0, 0, SOIL + 0.21]
    parts.append(leaves("flower", roots, ways, 0.03, 0.016, petals))
    return parts


def flowering_plant(entry: dict, green, rng) -> Parts:
    n = 120
    direction = rng.normal(size=(n, 3))
    direction[:, 2] = np.abs(direction[:, 2]) * 0.6
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    roots = direction * [0.09, 0.09, 0.07] * rng.uniform(0.4, 1, (n, 1)) + [0, 0, SOIL + 0.05]
    parts = [leaves("leaves", roots, direction + [0, 0, 0.2], 0.055, 0.04, green)]
    petals = surface(entry.get("blossom", "#d94f7a"), scale=60, roughness=0.6)
    heart = surface("#d9a020", "#8a5a12", scale=300, roughness=0.8)
    for k in range(14):
        a, r = 2.4 * k, 0.105 * np.sqrt((k + 0.5) / 14)
        height = SOIL + 0.145 - r * 0.45 + rng.uniform(-0.01, 0.015)
        way = np.array([np.cos(a) * r * 8, np.sin(a) * r * 8, 1.0])
        at = np.array([r * np.cos(a), r * np.sin(a), height])
        parts += blossom("daisies", at, way / np.linalg.norm(way), petals, heart, rng)
    return parts


def palm(entry: dict, green, rng) -> Parts:
    """Arching fronds."""
    parts = []
    for k in range(11):
        a = 2.4 * k
        long = rng.uniform(0.24, 0.36)
        out = np.array([np.cos(a), np.sin(a), 0])
        t = np.linspace(0, 1, 22)[:, None]
        rise = [0, 0, 1.0] * (long * (1.15 * t - 0.75 * t**2))
        path = [0, 0, SOIL - 0.005] + out * (0.75 * long * t) + rise
        parts.append(tube("rib", path, np.linspace(0.0028, 0.0008, 22), green, sides=5))
        side = np.cross(out, [0, 0, 1.0])
        pick = path[4:]
        grow = np.sin(np.linspace(0.5, 3.0, len(pick))) * 0.085
        along = np.gradient(path, axis=0)[4:]
        along /= np.linalg.norm(along, axis=1, keepdims=True)
        for s in (-1, 1):
            ways = along + 1.3 * s * side
            parts.append(leaves("frond", pick, ways, grow, 0.012, green, droop=0.35))
    return parts


PLANTS = {
    "snake": snake_plant,
    "bush": bush,
    "cactus": cactus,
    "flowering": flowering_plant,
    "palm": palm,
}
