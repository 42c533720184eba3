"""Fruit and donuts, at their real size in metres."""

from __future__ import annotations

import numpy as np
from geometry import (
    Parts,
    ellipsoid,
    lathe,
    leaves,
    mesh,
    points_of,
    rotation,
    sphere_points,
    spline,
    transform,
    tube,
)
from geometry import grid_faces as grid
from materials import (
    leaf,
    principled,
    shade,
    surface,
)


def orange(entry: dict, rng) -> Parts:
    colour = entry["colours"][0]
    peel = surface(
        colour, shade(colour, 0.86), scale=30, roughness=0.38, bumps=0.55, bump_scale=420,
        subsurface_weight=0.1, subsurface_scale=0.004,
    )  # fmt: skip
    radius = 0.037
    if entry["variant"] == "half":
        return orange_half(peel, colour, radius)
    parts = whole_orange(peel, radius)
    turn = rotation("x", rng.uniform(-0.9, 0.9)) @ rotation("y", rng.uniform(-0.6, 0.6))
    for part in parts:
        transform(part, turn, (0, 0, 0))
    if entry["variant"] == "leaf":
        stem = turn @ np.array([0, 0, radius * 0.95])
        ways = [[1, 0.3, 0.5], [-0.7, -0.6, 0.5]]
        parts.append(leaves("leaf", [stem] * 2, ways, 0.05, 0.026, leaf("#3f6b2a")))
    return parts


def whole_orange(peel, radius: float) -> Parts:
    """The fruit with its dimple, and the button where it hung."""

    def lobes(angle, z):
        return 1 + 0.012 * np.sin(3 * angle + 1) * np.cos(z / radius)

    polar = np.linspace(0, np.pi, 40)
    dimple = 0.05 * np.exp(-((polar / 0.16) ** 2))
    r = radius * (1 - dimple)
    profile = np.column_stack([r * np.sin(polar), r * np.cos(polar) * 0.96])
    body = lathe("orange", profile, peel, lobes=lobes)
    bark = surface("#6d7a35", "#4c4a20", scale=300)
    return [body, ellipsoid("button", (0, 0, radius * 0.92), (0.0042, 0.0038, 0.002), bark)]


def orange_half(peel, colour: str, radius: float) -> Parts:
    polar = np.linspace(np.pi / 2, np.pi, 24)
    shell = lathe("peel", np.column_stack([radius * np.sin(polar), radius * np.cos(polar)]), peel)
    pith = lathe(
        "pith", [(radius, 0), (radius * 0.99, 0.0006), (0, 0.0006)], surface("#f3e3bd", "#ecd29a")
    )
    flesh = surface(
        shade(colour, 1.15),
        "#f7b64a",
        scale=160,
        stretch=(1, 1, 0.3),
        roughness=0.2,
        bumps=0.5,
        bump_scale=420,
        subsurface_weight=0.3,
        subsurface_scale=0.006,
    )
    parts = [shell, pith]
    for k in range(10):
        mid = 2 * np.pi * k / 10
        half = np.pi / 10 * 0.9
        outer = np.linspace(-half, half, 9) * 0.93
        rim = [(0.88 * radius * np.cos(mid + a), 0.88 * radius * np.sin(mid + a)) for a in outer]
        tip = (0.1 * radius * np.cos(mid), 0.1 * radius * np.sin(mid))
        outline = np.array([tip, *rim])
        centre = outline.mean(0)
        rows = []
        for scale, z in [(1, 0.0007), (0.97, 0.0016), (0.85, 0.0022), (0.02, 0.0024)]:
            ring = centre + (outline - centre) * scale
            rows.append(np.column_stack([ring, np.full(len(ring), z)]))
        parts.append(mesh("segment", np.concatenate(rows), grid(4, len(outline), wrap=True), flesh))
    for part in parts:  # lean it so that the cut face shows
        transform(part, rotation("x", 1.0), (0, 0, 0))
    return parts


def apple(entry: dict, rng) -> Parts:
    first, second = entry["colours"]
    skin = surface(
        first,
        second,
        scale=38,
        contrast=0.2,
        stretch=(1, 1, 0.22),
        roughness=0.22,
        coat_weight=0.4,
        bumps=0.04,
    )
    profile = [
        (0.001, 0.0585), (0.008, 0.0600), (0.018, 0.0685), (0.030, 0.0660), (0.0385, 0.052),
        (0.0385, 0.038), (0.033, 0.018), (0.022, 0.0035), (0.013, 0.001), (0.006, 0.006),
        (0.001, 0.009),
    ]  # fmt: skip
    tall = rng.uniform(0.92, 1.08)
    shift = rng.uniform(0, 6)

    def lobes(angle, z):
        return (
            1
            + 0.035 * np.cos(5 * angle) * np.clip(1 - z / 0.04, 0, 1)
            + 0.02 * np.sin(angle * 2 + shift)
        )

    body = lathe("apple", np.array(profile) * [1, tall], skin, samples=60, lobes=lobes)
    top = 0.06 * tall
    bark = surface("#5b3d22", "#3a2817", scale=200)
    path = spline([(0, 0, top - 0.004), (0.001, 0, top + 0.008), (0.005, 0.002, top + 0.02)], 10)
    parts = [body, tube("stem", path, np.linspace(0.0011, 0.0018, 10), bark, sides=8)]
    if entry["variant"] == "leaf":
        parts.append(
            leaves("leaf", [path[5]], [[0.9, -0.5, 0.5]], 0.045, 0.024, leaf("#4f7a2c"), droop=0.4)
        )
    turn = rotation("y", rng.uniform(-0.25, 0.25)) @ rotation("x", rng.uniform(-0.25, 0.25))
    for part in parts:
        transform(part, turn, (0, 0, 0))
    return parts


def banana(entry: dict, rng) -> Parts:
    count = {"single": 1, "pair": 2, "bunch": 4}[entry["variant"]]
    yellow, second = entry["colours"]
    skin = surface(
        yellow, second, scale=26, contrast=0.16, roughness=0.45, bumps=0.1, bump_scale=60
    )
    spots = principled("tip", "#3b2a18", 0.8)[0]
    stalk = surface(shade(yellow, 0.8), "#8a7a30", scale=60, roughness=0.6)
    parts = []
    for k in range(count):
        finger = banana_finger(skin, stalk, spots, rng)
        for part in finger:  # hang all from the shared stem, fanned out
            transform(part, rotation("z", 0.32 * (k - (count - 1) / 2)), (0, 0, 0))
            if count > 1:
                lift = 0.06 * (k % 2)
                transform(part, rotation("y", -lift), (0, 0, 0.012 * (k % 2)))
        parts += finger
    if count > 1:
        parts.append(ellipsoid("crown", (-0.004, 0, 0.004), (0.013, 0.017, 0.011), stalk))
    middle = np.concatenate([points_of(p) for p in parts]).mean(0) * [1, 1, 0]
    for part in parts:
        transform(part, np.eye(3), -middle)
    return parts


def banana_finger(skin, stalk, spots, rng) -> Parts:
    """One bent fruit, its stem at the origin."""
    bend = rng.uniform(1.15, 1.45)
    length = rng.uniform(0.17, 0.2)
    t = np.linspace(0, 1, 40)
    arc = (t - 0.5) * bend
    radius = length / bend
    path = np.column_stack([radius * np.sin(arc), radius * (np.cos(arc) - 1) * 1.0, 0 * t])
    thick = 0.0185 * np.interp(
        t,
        [0, 0.06, 0.16, 0.3, 0.5, 0.75, 0.9, 0.97, 1],
        [0.33, 0.34, 0.55, 0.9, 1, 0.95, 0.66, 0.33, 0.26],
    )
    section = 1 + 0.055 * np.cos(5 * np.linspace(0, 2 * np.pi, 30, endpoint=False))
    finger = [
        tube("banana", path[5:], thick[5:], skin, sides=30, shape=section),
        tube("stem", path[:7], thick[:7], stalk, sides=30, shape=section),
        tube("tip", path[-3:] + [[0, 0, 0]], thick[-3:] * 1.06, spots, sides=12),
    ]
    for part in finger:
        transform(part, np.eye(3), -path[0])
    return finger


def donut(entry: dict, rng) -> Parts:
    ring, thick = 0.031, 0.0185
    dough = surface(
        "#b9783c", "#d9a869", scale=45, contrast=0.3, stretch=(1, 1, 2), roughness=0.7, bumps=0.3,
        bump_scale=300,
    )  # fmt: skip
    around = np.linspace(0, 2 * np.pi, 96, endpoint=False)[None, :]
    wobble = 1 + 0.02 * np.sin(3 * around + rng.uniform(0, 6))

    def torus(across, extra=0.0):
        r = ring * wobble + (thick + extra) * np.cos(across)
        z = 0.86 * (thick + extra) * np.sin(across) * np.ones_like(around)
        return np.stack([r * np.cos(around), r * np.sin(around), z], -1)

    across = np.linspace(0, 2 * np.pi, 40)[:, None] * np.ones_like(around)
    parts = [mesh("dough", torus(across).reshape(-1, 3), grid(40, 96, wrap=True), dough)]
    if entry["variant"] == "sugar":
        sugar = principled("sugar", "#ffffff", 0.4)[0]
        parts.append(crumbs(torus, rng, 900, sugar, size=0.0006, reach=(0.1, 3.0)))
        return parts
    parts.append(icing(torus, around, entry["colours"][0], rng))
    second = entry["colours"][1]
    if entry["variant"] == "sprinkles":
        for tint in (second, "#f5f0e0", "#e8453c", "#f0c330", "#3f8fd0"):
            stick = principled("sprinkle", tint, 0.35)[0]
            parts.append(
                crumbs(torus, rng, 26, stick, size=0.0011, long=3.2, reach=(0.35, 2.6), lift=0.0022)
            )
    elif entry["variant"] == "drizzle":
        stripe = principled("drizzle", second, 0.2)[0]
        s = np.linspace(0, 2 * np.pi, 400)
        a = np.pi / 2 + 0.75 * np.sin(26 * s)
        r = ring + (thick + 0.0022) * np.cos(a)
        path = np.column_stack([r * np.cos(s), r * np.sin(s), 0.86 * (thick + 0.0022) * np.sin(a)])
        parts.append(tube("drizzle", path, 0.0010, stripe, sides=6))
    return parts


def icing(torus, around, colour: str, rng):
    """The icing of a donut, dripping over its edge."""
    material = surface(
        colour, shade(colour, 0.9), scale=40, roughness=0.16, coat_weight=0.5, bumps=0.12,
        bump_scale=90, subsurface_weight=0.2, subsurface_scale=0.003,
    )  # fmt: skip
    phase = rng.uniform(0, 6, 4)
    drip = sum(
        a * np.sin(n * around + p)
        for a, n, p in zip([0.12, 0.1, 0.07, 0.05], [3, 5, 8, 13], phase, strict=True)
    )
    t = np.linspace(0, 1, 24)[:, None]
    low, high = -0.05 + drip, np.pi - 0.15 - 0.6 * drip
    across = low + (high - low) * t
    edge = np.clip(np.minimum(t, 1 - t) / 0.08, 0, 1) ** 0.5
    points = torus(across, 0.0018 * edge).reshape(-1, 3)
    return mesh("icing", points, grid(24, 96, wrap=True), material)


def crumbs(torus, rng, count, material, *, size, long=1.0, reach, lift=0.0):
    """Small grains or sticks lying on a donut."""
    across = rng.uniform(*reach, (count, 1))
    surface_points = torus(across, lift)[np.arange(count), rng.integers(0, 96, count)]
    unit = sphere_points(8)
    direction = rng.normal(size=(count, 3))
    direction[:, 2] *= 0.25
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    stretched = unit[None] + direction[:, None] * (unit[None] @ direction[:, :, None]) * (long - 1)
    vertices = (surface_points[:, None] + size * stretched).reshape(-1, 3)
    one = np.array(grid(5, 8, wrap=True))
    faces = (one[None] + (np.arange(count) * len(unit))[:, None, None]).reshape(-1, 4)
    return mesh("crumbs", vertices, faces, material)
