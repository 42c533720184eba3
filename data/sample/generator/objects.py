"""The eighteen categories as procedural models, at their real size in metres.

`build(entry)` makes one instance of an entry of the scene table from its `category`, `variant`,
`colours`, `pattern` and `seed`. Models stand upright round the origin and face −y; `render.py`
turns, scales and sets them down. A part with `part["frame"] = False` (a pole, say) is left out
when the camera frames the object, though it is part of the mask.
"""

from __future__ import annotations

import bpy
import numpy as np
from geometry import (
    box,
    ellipsoid,
    hair,
    lathe,
    leaves,
    mesh,
    paint_points,
    points_of,
    polygon_slab,
    rotation,
    sphere_points,
    spline,
    text,
    transform,
    tube,
)
from geometry import grid_faces as grid
from materials import (
    fabric,
    glass,
    leaf,
    linear,
    metal,
    painted,
    patterned,
    principled,
    shade,
    surface,
    wood,
)

Parts = list[bpy.types.Object]


def build(entry: dict) -> Parts:
    """The parts of one instance, at the origin, not yet set down."""
    rng = np.random.default_rng(entry["seed"])
    return BUILDERS[entry["category"]](entry, rng)


def glazed(entry: dict, **extra):
    """The entry's pattern and colours as glazed ceramic."""
    return patterned(
        entry.get("pattern", "plain"),
        entry["colours"],
        size=entry.get("size", 0.03),
        roughness=extra.pop("roughness", 0.22),
        coat_weight=extra.pop("coat_weight", 0.3),
        **extra,
    )


# Fruit and food


def orange(entry: dict, rng) -> Parts:
    colour = entry["colours"][0]
    peel = surface(
        colour,
        shade(colour, 0.86),
        scale=30,
        roughness=0.38,
        bumps=0.55,
        bump_scale=420,
        subsurface_weight=0.1,
        subsurface_scale=0.004,
    )
    radius = 0.037
    if entry["variant"] == "half":
        return orange_half(peel, colour, radius)

    def lobes(angle, z):
        return 1 + 0.012 * np.sin(3 * angle + 1) * np.cos(z / radius)

    polar = np.linspace(0, np.pi, 40)
    dimple = 0.05 * np.exp(-((polar / 0.16) ** 2))
    r = radius * (1 - dimple)
    body = lathe(
        "orange",
        np.column_stack([r * np.sin(polar), r * np.cos(polar) * 0.96]),
        peel,
        lobes=lobes,
    )
    button = ellipsoid(
        "button",
        (0, 0, radius * 0.92),
        (0.0042, 0.0038, 0.002),
        surface("#6d7a35", "#4c4a20", scale=300),
    )
    parts = [body, button]
    turn = rotation("x", rng.uniform(-0.9, 0.9)) @ rotation("y", rng.uniform(-0.6, 0.6))
    for part in parts:
        transform(part, turn, (0, 0, 0))
    if entry["variant"] == "leaf":
        stem = turn @ np.array([0, 0, radius * 0.95])
        parts.append(
            leaves(
                "leaf", [stem] * 2, [[1, 0.3, 0.5], [-0.7, -0.6, 0.5]], 0.05, 0.026, leaf("#3f6b2a")
            )
        )
    return parts


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
        angle = np.linspace(0, 2 * np.pi, 30, endpoint=False)
        section = 1 + 0.055 * np.cos(5 * angle)
        body = tube("banana", path[5:], thick[5:], skin, sides=30, shape=section)
        stem = tube("stem", path[:7], thick[:7], stalk, sides=30, shape=section)
        tip = tube("tip", path[-3:] + [[0, 0, 0]], thick[-3:] * 1.06, spots, sides=12)
        group = [body, stem, tip]
        start = path[0].copy()
        for part in group:  # hang all from the shared stem, fanned out
            transform(part, np.eye(3), -start)
            transform(part, rotation("z", 0.32 * (k - (count - 1) / 2)), (0, 0, 0))
            if count > 1:
                lift = 0.06 * (k % 2)
                transform(part, rotation("y", -lift), (0, 0, 0.012 * (k % 2)))
        parts += group
    if count > 1:
        parts.append(ellipsoid("crown", (-0.004, 0, 0.004), (0.013, 0.017, 0.011), stalk))
    middle = np.concatenate([points_of(p) for p in parts]).mean(0) * [1, 1, 0]
    for part in parts:
        transform(part, np.eye(3), -middle)
    return parts


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
    colour, second = entry["colours"]
    icing = surface(
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
    parts.append(
        mesh("icing", torus(across, 0.0018 * edge).reshape(-1, 3), grid(24, 96, wrap=True), icing)
    )
    if entry["variant"] == "sprinkles":
        sticks = [second, "#f5f0e0", "#e8453c", "#f0c330", "#3f8fd0"]
        for tint in sticks:
            parts.append(
                crumbs(torus, rng, 26, principled("sprinkle", tint, 0.35)[0], size=0.0011, long=3.2,
                       reach=(0.35, 2.6), lift=0.0022)
            )  # fmt: skip
    elif entry["variant"] == "drizzle":
        stripe = principled("drizzle", second, 0.2)[0]
        s = np.linspace(0, 2 * np.pi, 400)
        a = np.pi / 2 + 0.75 * np.sin(26 * s)
        r = ring + (thick + 0.0022) * np.cos(a)
        path = np.column_stack([r * np.cos(s), r * np.sin(s), 0.86 * (thick + 0.0022) * np.sin(a)])
        parts.append(tube("drizzle", path, 0.0010, stripe, sides=6))
    return parts


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


# Tableware


def cup(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    drink = principled("drink", entry.get("drink", "#2b1508"), 0.08)[0]
    if variant == "paper":
        body = glazed(entry, roughness=0.6, coat_weight=0.0)
        sleeve = surface("#b08756", "#96703f", scale=80, roughness=0.8)
        lid = principled("lid", entry.get("lid", "#f2f0ea"), 0.35)[0]
        return [
            lathe("cup", [(0, 0), (0.029, 0), (0.030, 0.002), (0.042, 0.108), (0.041, 0.11)], body),
            lathe("sleeve", [(0.0335, 0.035), (0.0342, 0.035), (0.0392, 0.08), (0.0385, 0.08)], sleeve),
            lathe("lid", [(0.044, 0.104), (0.0445, 0.108), (0.043, 0.112), (0.0405, 0.113),
                          (0.0395, 0.120), (0.0365, 0.121), (0.035, 0.117), (0, 0.117)], lid),
        ]  # fmt: skip
    clay = glazed(entry)
    if variant == "tea":
        outer = [
            (0, 0.012),
            (0.019, 0.012),
            (0.021, 0.015),
            (0.034, 0.03),
            (0.043, 0.05),
            (0.047, 0.066),
        ]
        inner = [(0.0445, 0.066), (0.041, 0.051), (0.032, 0.032), (0.015, 0.019), (0, 0.018)]
        level, level_r, handle_z, handle_r, reach = 0.056, 0.0425, 0.045, 0.015, 0.042
    elif variant == "tall":
        outer = [(0, 0), (0.031, 0), (0.034, 0.004), (0.035, 0.06), (0.041, 0.12), (0.042, 0.124)]
        inner = [(0.039, 0.124), (0.038, 0.12), (0.031, 0.06), (0.03, 0.008), (0, 0.007)]
        level, level_r, handle_z, handle_r, reach = 0.11, 0.0368, 0.066, 0.03, 0.036
    else:
        outer = [(0, 0), (0.036, 0), (0.040, 0.004), (0.041, 0.05), (0.041, 0.092), (0.0405, 0.095)]
        inner = [(0.0375, 0.095), (0.037, 0.09), (0.037, 0.012), (0.03, 0.006), (0, 0.006)]
        level, level_r, handle_z, handle_r, reach = 0.078, 0.0375, 0.048, 0.026, 0.039
    parts = [lathe("cup", outer + inner, clay, samples=120)]
    parts.append(lathe("drink", [(0, level), (level_r, level)], drink))
    a = np.linspace(-1.75, 1.75, 30)
    path = np.column_stack(
        [reach + handle_r * 0.95 * np.cos(a) + 0.001, 0 * a, handle_z + handle_r * np.sin(a)]
    )
    parts.append(tube("handle", path, 0.0052, clay, sides=14))
    if variant == "tea":
        plate = [(0, 0.004), (0.03, 0.004), (0.04, 0.006), (0.07, 0.016), (0.072, 0.018), (0.07, 0.019),
                 (0.04, 0.010), (0.024, 0.009), (0.022, 0.0125), (0, 0.0125)]  # fmt: skip
        parts.append(lathe("saucer", plate, clay, samples=60))
    return parts


def bowl(entry: dict, rng) -> Parts:
    shapes = {
        "deep": [(0, 0), (0.034, 0), (0.036, 0.007), (0.055, 0.02), (0.072, 0.045), (0.078, 0.072)],
        "wide": [(0, 0), (0.045, 0), (0.048, 0.006), (0.075, 0.016), (0.1, 0.038), (0.112, 0.056)],
        "footed": [(0, 0), (0.035, 0), (0.033, 0.012), (0.045, 0.022), (0.078, 0.05), (0.09, 0.08)],
    }
    variant = entry["variant"]
    outer = np.array(shapes.get(variant, shapes["wide"]))
    wall = 0.0045 if variant != "wooden" else 0.007
    inner = (outer[2:] + [-wall, 0.0])[::-1]
    inner[-1] = (outer[2][0] - wall, outer[2][1] + 0.006)
    profile = np.vstack([outer, inner, [[0, inner[-1][1]]]])
    clay = wood(entry["colours"][0], scale=14) if variant == "wooden" else glazed(entry)
    parts = [lathe("bowl", profile, clay, samples=140, segments=96)]
    content = entry.get("content")
    if content:
        height = outer[-1][1]
        level = height * 0.72
        radius = np.interp(level, outer[2:, 1], outer[2:, 0]) - wall * 0.6
        if content == "soup":
            soup = surface(
                entry["food"], shade(entry["food"], 0.8), scale=50, roughness=0.12, bumps=0.1
            )
            parts.append(lathe("soup", [(0, level), (radius, level)], soup))
            herb = leaf("#4c7a2a")
            n = 16
            spot = rng.uniform(-0.6, 0.6, (n, 2)) * radius
            roots = np.column_stack([spot, np.full(n, level + 0.0005)])
            ways = np.column_stack([rng.normal(size=(n, 2)), np.full(n, 0.1)])
            parts.append(leaves("herbs", roots, ways, 0.009, 0.006, herb, droop=0.0))
        else:
            parts += heap(entry["food"], radius, level, rng)
    return parts


def heap(colour: str, radius: float, level: float, rng) -> Parts:
    """Cereal: a mound of small rings and balls filling a bowl."""
    parts = []
    for tint in (colour, shade(colour, 0.8), shade(colour, 1.2)):
        n = 110
        r = radius * np.sqrt(rng.uniform(0, 0.9, n))
        angle = rng.uniform(0, 2 * np.pi, n)
        z = level - 0.004 + 0.008 * (1 - (r / radius) ** 2) + rng.uniform(-0.004, 0.003, n)
        unit = sphere_points(10)
        sizes = rng.uniform(0.005, 0.007, (n, 1, 1)) * rng.uniform(0.7, 1.1, (n, 1, 3))
        at = np.column_stack([r * np.cos(angle), r * np.sin(angle), z])
        vertices = (at[:, None] + unit[None] * sizes).reshape(-1, 3)
        one = np.array(grid(6, 10, wrap=True))
        faces = (one[None] + (np.arange(n) * len(unit))[:, None, None]).reshape(-1, 4)
        food = surface(tint, scale=120, roughness=0.75, bumps=0.4, bump_scale=500)
        parts.append(mesh("heap", vertices, faces, food))
    base = surface(shade(colour, 0.7), scale=100, roughness=0.8)
    parts.append(lathe("base", [(0, level - 0.003), (radius, level - 0.006)], base))
    return parts


def wine_glass(entry: dict, rng) -> Parts:
    bowls = {
        "red": [(0.004, 0.088), (0.022, 0.098), (0.040, 0.125), (0.043, 0.150), (0.036, 0.195), (0.033, 0.212)],
        "white": [(0.004, 0.095), (0.018, 0.104), (0.032, 0.13), (0.035, 0.155), (0.030, 0.19), (0.028, 0.205)],
        "flute": [(0.004, 0.085), (0.014, 0.098), (0.022, 0.13), (0.025, 0.165), (0.024, 0.2), (0.0225, 0.225)],
        "wide": [(0.004, 0.085), (0.026, 0.094), (0.046, 0.118), (0.050, 0.140), (0.046, 0.170), (0.043, 0.182)],
    }  # fmt: skip
    side = np.array(bowls[entry["variant"]])
    stem_top = side[0][1]
    foot = [(0, 0), (0.034, 0), (0.035, 0.0015), (0.03, 0.0035), (0.009, 0.007), (0.0042, 0.014),
            (0.0034, 0.03), (0.0034, stem_top - 0.02)]  # fmt: skip
    outer = np.vstack([spline(foot, 40), spline(side, 40)])
    wall = 0.0012
    inside = spline(side, 40)[:, :] - [wall, 0]
    inside[:, 1] += np.linspace(0.003, 0, 40)
    inside = np.maximum(inside, [1e-4, 0])
    profile = np.vstack([outer, inside[::-1], [[0, inside[0][1]]]])
    parts = [lathe("glass", profile, glass(entry.get("glass", "#ffffff")), segments=80)]
    wine = entry.get("drink")
    if wine:
        fill = entry.get("fill", 0.45)
        top = stem_top + fill * (side[-1][1] - stem_top)
        liquid = inside[inside[:, 1] < top] - [0.0003, 0]
        liquid = np.maximum(liquid, [1e-4, 0])
        profile = np.vstack([[[0, liquid[0][1]]], liquid, [[liquid[-1][0], top], [0, top]]])
        stuff = principled("wine", wine, 0.0, transmission_weight=0.85, ior=1.34)[0]
        parts.append(lathe("wine", profile, stuff, segments=80))
    return parts


def bottle(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    first, second = entry["colours"]
    if variant == "wine":
        side = [(0, 0), (0.035, 0), (0.0375, 0.004), (0.0375, 0.175), (0.034, 0.2), (0.018, 0.232),
                (0.0145, 0.25), (0.0142, 0.292), (0.0158, 0.294), (0.0158, 0.3), (0.012, 0.301), (0, 0.301)]  # fmt: skip
        body, label, neck = glass_body(entry), (0.0379, 0.05, 0.135), (0.0150, 0.245, 0.303)
    elif variant == "beer":
        side = [(0, 0), (0.028, 0), (0.0305, 0.004), (0.0305, 0.125), (0.028, 0.145), (0.016, 0.18),
                (0.0132, 0.2), (0.0128, 0.226), (0.0138, 0.228), (0.0138, 0.234), (0, 0.234)]  # fmt: skip
        body, label, neck = glass_body(entry), (0.0309, 0.03, 0.1), (0.0155, 0.2255, 0.237)
    elif variant == "sauce":
        side = [(0, 0), (0.029, 0), (0.032, 0.005), (0.030, 0.05), (0.032, 0.12), (0.029, 0.145),
                (0.017, 0.165), (0.016, 0.168), (0, 0.168)]  # fmt: skip
        body = surface(first, scale=10, roughness=0.3, subsurface_weight=0.1, coat_weight=0.2)
        label, neck = (0.0324, 0.035, 0.12), (0.0172, 0.163, 0.184)
    else:
        side = [(0, 0), (0.026, 0.001), (0.031, 0.006), (0.0322, 0.02), (0.0318, 0.13), (0.031, 0.155),
                (0.022, 0.185), (0.0128, 0.2), (0.0128, 0.212), (0, 0.212)]  # fmt: skip
        body, label, neck = (
            glass("#eaf4f7", 0.03, 1.2),
            (0.0327, 0.07, 0.12),
            (0.0152, 0.204, 0.222),
        )
    parts = [lathe("bottle", side, body, samples=0 if variant != "sauce" else 80, segments=72)]
    radius, low, high = label
    paper = patterned(
        entry.get("pattern", "plain"), [second, first if variant == "sauce" else entry.get("accent", "#c0392b")],
        size=(high - low) / 1.6, roughness=0.6,
    )  # fmt: skip
    parts.append(lathe("label", [(radius, low), (radius, high)], paper, segments=72))
    ink = principled("ink", entry.get("accent", "#2d2d2d"), 0.6)[0]
    for z, h in [(0.72, 0.10), (0.45, 0.05), (0.32, 0.03)]:
        mid = low + z * (high - low)
        parts.append(
            wrapped_bar(radius + 0.0002, mid, h * (high - low), 0.8 - 0.3 * (h < 0.09), ink)
        )
    radius, low, high = neck
    cap_colour = entry.get("cap", "#7a1f2b")
    cap = (
        metal(cap_colour, 0.35)
        if variant in ("wine", "beer")
        else principled("cap", cap_colour, 0.35)[0]
    )
    ridge = 0.0006 if variant != "wine" else 0.0

    def lobes(angle, z):
        return 1 + ridge / radius * np.cos(24 * angle)

    profile = [(radius * 0.98, low), (radius, low + 0.001), (radius * (0.62 if variant == "sauce" else 1), high - 0.0015),
               (radius * (0.5 if variant == "sauce" else 0.93), high), (0, high)]  # fmt: skip
    parts.append(lathe("cap", profile, cap, segments=144, lobes=lobes))
    if variant == "water":
        water = [
            (0, 0.004),
            (0.0295, 0.008),
            (0.0305, 0.02),
            (0.0302, 0.13),
            (0.0293, 0.15),
            (0, 0.15),
        ]
        parts.append(lathe("water", water, glass("#e6f3fa", 0.0, 1.33)))
    return parts


def glass_body(entry: dict):
    """Coloured bottle glass: dark in the middle, glossy outside."""
    colour = entry["colours"][0]
    return principled(
        "bottle glass", colour, 0.05, transmission_weight=0.45, ior=1.5, coat_weight=0.5
    )[0]


def wrapped_bar(radius, middle, height, half_angle, material):
    """A printed bar on a label, centred on −y."""
    angle = np.linspace(-np.pi / 2 - half_angle, -np.pi / 2 + half_angle, 24)
    rows = [
        np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(24, z)])
        for z in (middle - height / 2, middle + height / 2)
    ]
    return mesh("print", np.concatenate(rows), grid(2, 24, wrap=False), material)


def vase(entry: dict, rng) -> Parts:
    shapes = {
        "classic": [(0, 0), (0.04, 0), (0.043, 0.01), (0.07, 0.07), (0.08, 0.13), (0.062, 0.19), (0.032, 0.225), (0.03, 0.245), (0.042, 0.265)],
        "bottle": [(0, 0), (0.05, 0), (0.068, 0.02), (0.075, 0.06), (0.06, 0.105), (0.025, 0.14), (0.02, 0.2), (0.022, 0.235), (0.03, 0.245)],
        "cylinder": [(0, 0), (0.045, 0), (0.05, 0.006), (0.052, 0.1), (0.055, 0.2), (0.058, 0.23)],
        "amphora": [(0, 0), (0.034, 0), (0.032, 0.012), (0.06, 0.07), (0.085, 0.15), (0.075, 0.2), (0.035, 0.235), (0.032, 0.27), (0.046, 0.285)],
        "flared": [(0, 0), (0.045, 0), (0.046, 0.01), (0.03, 0.05), (0.035, 0.1), (0.05, 0.17), (0.08, 0.24)],
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


def potted_plant(entry: dict, rng) -> Parts:
    clay = patterned(
        entry.get("pattern", "plain"), entry["colours"], size=0.035, roughness=0.7, bumps=0.2
    )
    pot = [(0, 0), (0.055, 0), (0.058, 0.004), (0.078, 0.115), (0.078, 0.117), (0.086, 0.117),
           (0.088, 0.14), (0.086, 0.142), (0.08, 0.142), (0.077, 0.125), (0, 0.125)]  # fmt: skip
    if entry.get("pot") == "round":
        pot = [(0, 0), (0.05, 0), (0.07, 0.02), (0.09, 0.06), (0.088, 0.1), (0.075, 0.13), (0.07, 0.13),
               (0.07, 0.118), (0, 0.118)]  # fmt: skip
    soil = surface("#3a2a1c", "#20160e", scale=150, roughness=1.0, bumps=1.0, bump_scale=180)
    parts = [lathe("pot", pot, clay, segments=80)]
    parts.append(
        lathe("soil", [(0, 0.124), (0.078 if entry.get("pot") != "round" else 0.071, 0.12)], soil)
    )
    green = leaf(entry.get("green", "#3f7a35"))
    variant, base = entry["variant"], 0.12
    if variant == "snake":
        n = 13
        angle = 2.4 * np.arange(n)
        r = 0.05 * np.sqrt(np.arange(n) / n)
        roots = np.column_stack([r * np.cos(angle), r * np.sin(angle), np.full(n, base)])
        ways = np.column_stack([np.cos(angle) * 0.22, np.sin(angle) * 0.22, np.ones(n)])
        stripes = surface(
            entry.get("green", "#3f7a35"), "#b9c77a", scale=28, contrast=0.1, stretch=(0.6, 0.6, 3),
            roughness=0.4,
        )  # fmt: skip
        parts.append(
            leaves(
                "leaves", roots, ways, rng.uniform(0.22, 0.4, n), 0.05, stripes, droop=0.02, rows=9
            )
        )
    elif variant == "bush":
        n = 260
        direction = rng.normal(size=(n, 3))
        direction[:, 2] = np.abs(direction[:, 2]) * 1.1 - 0.25
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        shell = direction * rng.uniform(0.35, 1.0, (n, 1)) ** 0.6 * [0.13, 0.13, 0.17]
        roots = shell + [0, 0, base + 0.15]
        parts.append(
            leaves(
                "leaves",
                roots,
                direction + [0, 0, 0.15],
                rng.uniform(0.045, 0.075, n),
                0.034,
                green,
            )
        )
        bark = surface("#6b5238", "#4a3624", scale=100)
        for k in range(5):
            a = 2.5 * k
            path = spline(
                [
                    (0.01 * np.cos(a), 0.01 * np.sin(a), base - 0.01),
                    (0.03 * np.cos(a), 0.03 * np.sin(a), base + 0.1),
                    (0.07 * np.cos(a), 0.07 * np.sin(a), base + 0.2),
                ],
                10,
            )
            parts.append(tube("branch", path, 0.004, bark, sides=6))
    elif variant == "cactus":
        flesh = surface(entry.get("green", "#4d7f46"), scale=40, roughness=0.6, bumps=0.2)

        def ribs(angle, z):
            return 1 + 0.09 * np.cos(14 * angle)

        body = [
            (0.03, base - 0.01),
            (0.045, base + 0.04),
            (0.05, base + 0.1),
            (0.046, base + 0.16),
            (0.03, base + 0.2),
            (0.001, base + 0.212),
        ]
        parts.append(lathe("cactus", body, flesh, samples=60, segments=112, lobes=ribs))
        skin = points_of(parts[-1])
        outward = skin - [0, 0, 1] * skin
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
        pick = rng.integers(112 * 8, len(skin), 700)
        spine = outward[pick] + rng.normal(0, 0.45, (700, 3))
        parts.append(
            hair(
                "spines",
                skin[pick],
                skin[pick] + spine * 0.011,
                0.0004,
                principled("spine", "#efe6c8", 0.6)[0],
            )
        )
        flower = surface(entry.get("blossom", "#d94f7a"), scale=60)
        a = np.linspace(0, 2 * np.pi, 9, endpoint=False)
        ways = np.column_stack([np.cos(a), np.sin(a), 0.9 + 0 * a])
        parts.append(
            leaves("flower", np.zeros((9, 3)) + [0, 0, base + 0.21], ways, 0.03, 0.016, flower)
        )
    elif variant == "flowering":
        n = 120
        direction = rng.normal(size=(n, 3))
        direction[:, 2] = np.abs(direction[:, 2]) * 0.6
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        roots = direction * [0.09, 0.09, 0.07] * rng.uniform(0.4, 1, (n, 1)) + [0, 0, base + 0.05]
        parts.append(leaves("leaves", roots, direction + [0, 0, 0.2], 0.055, 0.04, green))
        petals = surface(entry.get("blossom", "#d94f7a"), scale=60, roughness=0.6)
        heart = surface("#d9a020", "#8a5a12", scale=300, roughness=0.8)
        for k in range(14):
            a, r = 2.4 * k, 0.105 * np.sqrt((k + 0.5) / 14)
            at = np.array(
                [r * np.cos(a), r * np.sin(a), base + 0.145 - r * 0.45 + rng.uniform(-0.01, 0.015)]
            )
            way = np.array([np.cos(a) * r * 8, np.sin(a) * r * 8, 1.0])
            parts += blossom("daisies", at, way / np.linalg.norm(way), petals, heart, rng)
    else:  # palm: arching fronds
        for k in range(11):
            a = 2.4 * k
            long = rng.uniform(0.24, 0.36)
            out = np.array([np.cos(a), np.sin(a), 0])
            t = np.linspace(0, 1, 22)[:, None]
            path = (
                [0, 0, base - 0.005]
                + out * (0.75 * long * t)
                + [0, 0, 1.0] * (long * (1.15 * t - 0.75 * t**2))
            )
            parts.append(tube("rib", path, np.linspace(0.0028, 0.0008, 22), green, sides=5))
            side = np.cross(out, [0, 0, 1.0])
            pick = path[4:]
            grow = np.sin(np.linspace(0.5, 3.0, len(pick))) * 0.085
            along = np.gradient(path, axis=0)[4:]
            along /= np.linalg.norm(along, axis=1, keepdims=True)
            for s in (-1, 1):
                parts.append(
                    leaves("frond", pick, along + 1.3 * s * side, grow, 0.012, green, droop=0.35)
                )
    return parts


# Things to play with, to read, to tell the time


def sports_ball(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    unit = sphere_points(240)
    first, second = (np.array(linear(c)[:3]) for c in entry["colours"])
    dark = np.array(linear("#161616")[:3])
    radius = {
        "soccer": 0.11,
        "basketball": 0.12,
        "volleyball": 0.105,
        "tennis": 0.033,
        "beach": 0.17,
        "baseball": 0.037,
    }[variant]
    seam = np.zeros(len(unit))
    if variant == "soccer":
        panel, seam = soccer_panels(unit)
        colours = np.where((panel < 12)[:, None], second, first)
        width = 0.010
    elif variant == "volleyball":
        axis = np.abs(unit).argmax(1)
        across = unit[np.arange(len(unit)), (axis + 1) % 3] / np.abs(unit).max(1)
        strip = np.clip(((across + 1) * 1.5).astype(int), 0, 2)
        colours = np.where(((strip + axis) % 3 == 1)[:, None], second, first)
        edges = np.abs(across[:, None] - np.array([-1, -1 / 3, 1 / 3, 1])).min(1)
        ordered = np.sort(np.abs(unit), axis=1)
        seam = np.minimum(edges, 1 - ordered[:, 1] / ordered[:, 2])
        width = 0.022
    elif variant == "basketball":
        colours = np.tile(first, (len(unit), 1))
        curved = np.abs(np.abs(unit[:, 0]) - 0.62 - 0.16 * unit[:, 2] ** 2)
        seam = np.minimum.reduce([np.abs(unit[:, 1]), np.abs(unit[:, 2]), curved])
        width = 0.022
    elif variant in ("tennis", "baseball"):
        colours = np.tile(first, (len(unit), 1))
        t = np.linspace(0, 2 * np.pi, 400)
        a, b = 0.75, 0.25
        curve = np.column_stack([
            a * np.cos(t) + b * np.cos(3 * t), a * np.sin(t) - b * np.sin(3 * t), 2 * np.sqrt(a * b) * np.sin(2 * t)
        ])  # fmt: skip
        curve /= np.linalg.norm(curve, axis=1, keepdims=True)
        nearest = (unit @ curve.T).max(1)
        seam = np.arccos(np.clip(nearest, -1, 1))
        width = 0.07 if variant == "tennis" else 0.03
        dark = np.array(linear("#f4f4ec" if variant == "tennis" else "#9a2a25")[:3])
    else:
        sector = ((np.arctan2(unit[:, 1], unit[:, 0]) / (2 * np.pi) * 6 + 6) % 6).astype(int)
        palette = np.array(
            [
                linear(c)[:3]
                for c in (
                    entry["colours"][0],
                    "#f4f4f0",
                    entry["colours"][1],
                    "#f4f4f0",
                    "#e8b820",
                    "#f4f4f0",
                )
            ]
        )
        colours = palette[sector]
        colours[np.abs(unit[:, 2]) > 0.965] = linear("#f4f4f0")[:3]
        seam, width = np.ones(len(unit)), 0.01
    line = np.clip(1 - seam / width, 0, 1)[:, None] ** 0.5
    thin = (seam < width)[:, None]
    colours = np.where(thin, dark * line + colours * (1 - line), colours)
    depth = 1 - 0.012 * line
    skin = painted(
        roughness={"beach": 0.2, "tennis": 0.95, "basketball": 0.6}.get(variant, 0.42),
        bumps={"basketball": 0.7, "tennis": 0.5}.get(variant, 0.08),
        bump_scale=700 if variant in ("basketball", "tennis") else 300,
        coat_weight=0.5 if variant == "beach" else 0.0,
    )
    ball = mesh("ball", unit * depth * radius, grid(121, 240, wrap=True), skin)
    paint_points(ball, colours)
    parts = [ball]
    if variant == "baseball":
        parts += stitches(curve, radius)
    turn = (
        rotation("z", rng.uniform(0, 6))
        @ rotation("x", rng.uniform(-0.7, 0.7))
        @ rotation("y", rng.uniform(0, 6))
    )
    if variant == "basketball":
        turn = rotation("z", 0.5) @ rotation("x", rng.uniform(-0.4, 0.4))
    for part in parts:
        transform(part, turn, (0, 0, 0))
    if variant == "tennis":
        points = points_of(ball)[::2]
        out = points / radius
        fuzz = hair(
            "fuzz",
            points,
            points + (out + rng.normal(0, 0.7, out.shape)) * 0.0016,
            0.00016,
            surface(entry["colours"][0], roughness=0.9),
        )
        parts.append(fuzz)
    return parts


def soccer_panels(unit: np.ndarray):
    """Panel number (0–11 pentagons, 12–31 hexagons) and distance to the seam, per point."""
    g = (1 + 5**0.5) / 2
    corners = []
    for s in (-1, 1):
        for t in (-1, 1):
            corners += [(0, s, t * g), (s, t * g, 0), (t * g, 0, s)]
    corners = np.array(corners) / np.hypot(1, g)
    triples = []
    for i in range(12):
        for j in range(i):
            for k in range(j):
                if (
                    min(corners[i] @ corners[j], corners[j] @ corners[k], corners[i] @ corners[k])
                    > 0.4
                ):
                    triples.append(corners[i] + corners[j] + corners[k])
    hexagons = np.array(triples)
    hexagons /= np.linalg.norm(hexagons, axis=1, keepdims=True)
    # distances of the faces of a truncated icosahedron from its centre, over its edge length
    normals = np.vstack([corners / 2.32744, hexagons / 2.26728])
    reach = unit @ normals.T
    order = np.argsort(reach, axis=1)
    rows = np.arange(len(unit))
    seam = (reach[rows, order[:, -1]] - reach[rows, order[:, -2]]) * 2.3
    return order[:, -1], seam


def stitches(curve: np.ndarray, radius: float) -> Parts:
    """Red stitches across a baseball's seam."""
    red = principled("thread", "#b3231f", 0.6)[0]
    middle = curve[::5] * radius
    along = np.gradient(curve, axis=0)[::5]
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.cross(curve[::5], along)
    parts = []
    for side in (-1, 1):
        roots = middle * 1.003
        tips = middle * 1.003 + (across * side + 0.5 * along) * 0.0042
        parts.append(hair("stitch", roots, tips, 0.0006, red, bend=curve[::5] * 0.0004))
    return parts


def umbrella(entry: dict, rng) -> Parts:
    panels, radius, rise = 8, 0.52, 0.24
    if entry["variant"] == "parasol":
        radius, rise = 1.1, 0.42
    rows, per = 20, 12
    columns = panels * per
    t = np.linspace(0.0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
    cell = (np.arange(columns) % per) / per
    sag = np.sin(np.pi * cell)[None, :]
    r = radius * np.sin(t * 1.25) / np.sin(1.25) * (1 - 0.075 * sag * t**2)
    z = rise * (np.cos(t * 1.25) - np.cos(1.25)) / (1 - np.cos(1.25)) - 0.02 * sag * t * radius
    vertices = np.stack([r * np.cos(angle), r * np.sin(angle), z + 0 * angle], -1).reshape(-1, 3)
    height = 0.62 if entry["variant"] != "parasol" else 2.1
    vertices[:, 2] += height
    pattern = entry.get("pattern", "plain")
    cloth = painted(
        roughness=0.7, bumps=0.1, bump_scale=900, sheen_weight=0.3, transmission_weight=0.0
    )
    canopy = mesh("canopy", vertices, grid(rows, columns, wrap=True), cloth)
    first, second = (np.array(linear(c)[:3]) for c in entry["colours"])
    panel = np.tile(np.arange(columns) // per, rows)
    ring = np.repeat(t[:, 0], columns)
    if pattern == "stripes":
        choose = panel % 2 == 1
    elif pattern == "bands":
        choose = (ring * 4).astype(int) % 2 == 1
    elif pattern == "twotone":
        choose = ring > 0.8
    else:
        choose = np.zeros(len(panel), bool)
    paint_points(canopy, np.where(choose[:, None], second, first))
    steel = metal("#b8b8b8", 0.3)
    parts = [canopy]
    for k in range(panels):
        a = 2 * np.pi * k / panels
        tt = np.linspace(0, 1, 14)
        rr = radius * np.sin(tt * 1.25) / np.sin(1.25)
        zz = height + rise * (np.cos(tt * 1.25) - np.cos(1.25)) / (1 - np.cos(1.25)) - 0.006
        parts.append(
            tube(
                "rib", np.column_stack([rr * np.cos(a), rr * np.sin(a), zz]), 0.0022, steel, sides=6
            )
        )
        strut = np.array(
            [
                (0.012 * np.cos(a), 0.012 * np.sin(a), height - 0.12 * radius),
                (rr[6] * np.cos(a), rr[6] * np.sin(a), zz[6]),
            ]
        )
        parts.append(tube("strut", strut, 0.002, steel, sides=6))
    top = height + rise
    if entry["variant"] == "parasol":
        pole = wood("#b08a5a", along="z")
        parts.append(tube("pole", [(0, 0, 0), (0, 0, top)], 0.02, pole))
        parts[-1]["frame"] = False
        base = surface("#6f6f6c", "#5a5a58", scale=60, roughness=0.9, bumps=0.3)
        parts.append(
            lathe(
                "base",
                [
                    (0, 0),
                    (0.24, 0),
                    (0.25, 0.02),
                    (0.24, 0.06),
                    (0.05, 0.08),
                    (0.03, 0.16),
                    (0, 0.16),
                ],
                base,
            )
        )
        parts[-1]["frame"] = False
        return parts
    parts.append(tube("shaft", [(0, 0, 0.06), (0, 0, top + 0.05)], 0.0055, steel))
    grip = wood(entry.get("grip", "#6b4526"), along="z")
    a = np.linspace(0, np.pi, 16)
    hook = np.column_stack([0.035 - 0.035 * np.cos(a), 0 * a, 0.035 - 0.035 * np.sin(a)])
    path = np.vstack([[(0, 0, 0.14)], [(0, 0, 0.08)], hook, [(0.07, 0, 0.055)]])
    parts.append(tube("handle", path, 0.011, grip))
    parts.append(tube("ferrule", [(0, 0, top), (0, 0, top + 0.06)], 0.005, steel, sides=10))
    if entry["variant"] == "lying":
        # tip it over until it rests on its rim and its handle
        for part in parts:
            transform(part, rotation("x", np.pi / 2 + np.arctan2(radius, height) - 0.06), (0, 0, 0))
    return parts


def clock(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    first, second = entry["colours"]
    radius = {"wall": 0.15, "alarm": 0.05, "mantel": 0.06}[variant]
    dial = principled("dial", entry.get("dial", "#f6f3ea"), 0.5)[0]
    ink = principled("ink", entry.get("ink", "#1a1a1a"), 0.5)[0]
    face = clock_face(radius, dial, ink, entry, rng)
    if variant == "wall":
        frame = (
            metal(first)
            if entry.get("pattern") == "metal"
            else surface(first, scale=8, roughness=0.35, coat_weight=0.3)
        )
        rim = [(0, 0.035), (radius * 1.10, 0.035), (radius * 1.13, 0.02), (radius * 1.12, 0.0), (radius * 1.04, -0.008),
               (radius * 1.0, 0.0), (radius * 1.0, 0.012), (0, 0.012)]  # fmt: skip
        return [facing_front(lathe("frame", rim, frame, segments=96)), *face]
    if variant == "alarm":
        body = (
            metal(first)
            if entry.get("pattern") == "metal"
            else surface(first, scale=8, roughness=0.3, coat_weight=0.4)
        )
        rim = [(0, 0.045), (radius * 0.95, 0.045), (radius * 1.1, 0.04), (radius * 1.12, 0.0), (radius * 1.05, -0.006),
               (radius * 1.0, 0.002), (radius * 1.0, 0.012), (0, 0.012)]  # fmt: skip
        parts = [facing_front(lathe("case", rim, body, segments=96)), *face]
        for side in (-1, 1):
            dome = lathe(
                "bell",
                [(0.027, 0), (0.026, 0.008), (0.018, 0.017), (0, 0.021)],
                metal(second),
                samples=24,
            )
            turn = rotation("y", side * 0.55)
            transform(dome, turn, np.array([side * 0.036, 0.022, 0.052]))
            parts.append(dome)
            parts.append(
                tube(
                    "post",
                    [(side * 0.028, 0.022, 0.045), (side * 0.038, 0.022, 0.06)],
                    0.003,
                    body,
                    sides=10,
                )
            )
            parts.append(
                tube(
                    "foot",
                    [(side * 0.028, 0.022, -0.046), (side * 0.042, 0.022, -0.07)],
                    [0.004, 0.006],
                    body,
                    sides=12,
                )
            )
        a = np.linspace(0, np.pi, 20)
        grip = np.column_stack([0.03 * np.cos(a), 0.022 + 0 * a, 0.068 + 0.026 * np.sin(a)])
        parts.append(tube("grip", grip, 0.0028, metal(second), sides=8))
        parts.append(
            tube(
                "hammer",
                [(0, 0.022, 0.05), (0, 0.022, 0.078)],
                [0.002, 0.004],
                metal(second),
                sides=8,
            )
        )
        return parts
    case = wood(first, along="x")
    arch = [(-0.085, -0.075), (0.085, -0.075), (0.085, 0.02)]
    a = np.linspace(0.25, np.pi - 0.25, 24)
    arch += [(0.088 * np.cos(t), 0.088 * np.sin(t)) for t in a] + [(-0.085, 0.02)]
    slab = polygon_slab("case", arch, 0.07, case)
    transform(slab, np.eye(3), (0, 0.002, 0))
    plinth = box("plinth", (0.2, 0.095, 0.022), (0, 0.037, -0.082), case, bevel=0.004)
    rim = [
        (radius * 1.0, 0.002),
        (radius * 1.12, 0.002),
        (radius * 1.12, -0.005),
        (radius * 1.04, -0.009),
        (radius, -0.002),
        (radius, 0.002),
    ]
    ring = facing_front(lathe("ring", rim, metal("#c9a24a"), segments=96))
    for part in face:
        transform(part, np.eye(3), (0, -0.012, 0))
    return [slab, plinth, ring, *face]


def facing_front(obj):
    """Turn a lathe so that its axis runs along y."""
    transform(obj, rotation("x", -np.pi / 2), (0, 0, 0))
    return obj


def clock_face(radius, dial, ink, entry, rng) -> Parts:
    """Dial, numerals or ticks, and hands; the dial lies at y = 0.011."""
    parts = [facing_front(lathe("dial", [(0, 0.0115), (radius, 0.0115)], dial, segments=96))]
    numerals = entry.get("numerals", "arabic")
    roman = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]
    for k in range(60):
        a = 2 * np.pi * k / 60
        hour = k % 5 == 0
        if hour and numerals != "ticks":
            n = (k // 5 - 1) % 12
            label = text(
                "numeral", roman[n] if numerals == "roman" else str(n + 1), radius * 0.27, ink
            )
            transform(
                label, np.eye(3), (0.74 * radius * np.sin(a), 0.011, 0.74 * radius * np.cos(a))
            )
            parts.append(label)
        inner = 0.9 if not hour else (0.88 if numerals != "ticks" else 0.72)
        bar = box("tick", (radius * (0.045 if hour else 0.014), 0.0006, radius * (0.96 - inner)),
                  (0, 0.0111, radius * (0.96 + inner) / 2), ink)  # fmt: skip
        transform(bar, rotation("y", a), (0, 0, 0))
        parts.append(bar)
    hour, minute = rng.integers(0, 12), rng.integers(0, 60)
    for a, long, wide in [
        ((hour + minute / 60) / 12, 0.5, 0.055),
        (minute / 60, 0.82, 0.038),
        (rng.integers(0, 60) / 60, 0.85, 0.012),
    ]:
        tint = ink if wide > 0.02 else principled("second hand", "#c0241c", 0.4)[0]
        hand = box(
            "hand",
            (radius * wide, 0.001, radius * long * 1.15),
            (0, 0.009 - 0.02 * wide, radius * long * 0.425),
            tint,
        )
        transform(hand, rotation("y", 2 * np.pi * a), (0, 0, 0))
        parts.append(hand)
    parts.append(
        facing_front(
            lathe("pin", [(0, 0.006), (radius * 0.045, 0.006), (radius * 0.045, 0.011)], ink)
        )
    )
    return parts


def book(entry: dict, rng) -> Parts:
    wide, tall, thick = entry["measures"]
    first, second = entry["colours"]
    paper = surface(
        "#efe7d3", "#d8ccb0", scale=900, stretch=(0.02, 0.02, 1), roughness=0.9, bumps=0.3
    )
    if entry["variant"] == "open":
        return open_book(entry, wide, tall, thick, rng)
    cover = patterned(
        entry.get("pattern", "plain"),
        [first, shade(first, 0.8)],
        size=0.05,
        roughness=0.4,
        coat_weight=0.2,
    )
    ink = principled("ink", second, 0.4)[0]
    board = 0.0028
    # lying on its back cover, spine along −y so that it faces the camera
    parts = [
        box("pages", (tall - 0.006, wide - 0.006, thick - 2 * board), (0, 0.002, thick / 2), paper),
        box("front", (tall, wide, board), (0, 0, thick - board / 2), cover, bevel=0.0008),
        box("back", (tall, wide, board), (0, 0, board / 2), cover, bevel=0.0008),
    ]
    a = np.linspace(-np.pi / 2, np.pi / 2, 10)
    arc = np.column_stack(
        [-wide / 2 - 0.004 * np.cos(a) + 0.001, thick / 2 + thick / 2 * np.sin(a)]
    )
    rows = np.concatenate([np.column_stack([np.full(10, x), arc]) for x in (-tall / 2, tall / 2)])
    parts.append(mesh("spine", rows, grid(2, 10, wrap=False), cover))
    words = [
        "ATLAS",
        "GARDENS",
        "RIVERS",
        "VOYAGE",
        "STORIES",
        "POEMS",
        "ALGEBRA",
        "WINTER",
        "HISTORY",
        "BIRDS",
    ]
    title = str(rng.choice(words))
    on_spine = text("title", title, min(thick * 0.6, tall * 1.1 / len(title)), ink)
    transform(on_spine, np.eye(3), (0, -wide / 2 - 0.0036, thick / 2))
    on_cover = text("title", title, tall * 0.95 / len(title), ink)
    transform(
        on_cover,
        rotation("z", np.pi / 2) @ rotation("x", -np.pi / 2),
        (-tall * 0.2, 0, thick + 0.0003),
    )
    parts += [on_spine, on_cover]
    for y in (-0.44, 0.44):
        parts.append(
            box(
                "rule",
                (tall * 0.012, 0.0012, thick * 0.9),
                (y * tall, -wide / 2 - 0.0026, thick / 2),
                ink,
            )
        )
    parts.append(
        box("frame", (tall * 0.32, wide * 0.6, 0.0006), (tall * 0.16, 0, thick + 0.0001), ink)
    )
    if entry["variant"] == "standing":
        for part in parts:  # upright, spine to the front, title running up
            transform(part, rotation("y", -np.pi / 2), (thick / 2, 0, 0))
    elif entry["variant"] == "display":
        for part in parts:  # leaning back, its cover to the front
            transform(part, rotation("x", np.pi / 2 - 0.28) @ rotation("z", -np.pi / 2), (0, 0, 0))
    return parts


def open_book(entry, wide, tall, thick, rng) -> Parts:
    first, _ = entry["colours"]
    cover = principled("cover", first, 0.5)[0]
    thick = 0.022
    page = surface("#f4eedd", "#e9e0c8", scale=15, roughness=0.85)
    ink = principled("ink", "#3a3632", 0.8)[0]
    parts = [
        box("cover", (2 * wide + 0.012, tall + 0.008, 0.003), (0, 0, 0.0015), cover, bevel=0.001)
    ]
    t = np.linspace(0, 1, 24)
    height = 0.003 + thick * (
        0.35 + 0.75 * np.sin(np.pi * np.clip(t * 0.9 + 0.06, 0, 1)) ** 0.7
    ) * (1 - 0.45 * t)
    for side in (-1, 1):
        x = side * wide * t
        top = [np.column_stack([x, np.full(24, y), height]) for y in (-tall / 2, tall / 2)]
        bottom = [
            np.column_stack([x, np.full(24, y), np.full(24, 0.003)]) for y in (tall / 2, -tall / 2)
        ]
        ring = np.stack([top[0], top[1], bottom[0], bottom[1]], 1).reshape(-1, 3)
        parts.append(
            mesh(
                "pages",
                ring,
                [*grid(24, 4, wrap=True), tuple(range(4)), tuple(range(92, 96))],
                page,
                smooth=False,
            )
        )
        for line in range(22):
            y = tall * (0.42 - 0.038 * line)
            if line in (0, 1) and side < 0:
                continue
            end = rng.uniform(0.3, 0.85) if line % 7 == 6 else 0.88
            pick = (t > 0.12) & (t < end)
            strip = [
                np.column_stack([x[pick], np.full(pick.sum(), y + d), height[pick] + 0.0004])
                for d in (0, 0.0034)
            ]
            parts.append(mesh("line", np.concatenate(strip), grid(2, pick.sum(), wrap=False), ink))
    return parts


def teddy_bear(entry: dict, rng) -> Parts:
    colour, second = entry["colours"]
    skin = surface(colour, roughness=1.0)
    fur = surface(colour, shade(colour, 0.75), scale=30, roughness=0.85, sheen_weight=0.4)
    pale = surface(second, roughness=1.0)
    pale_fur = surface(second, shade(second, 0.85), scale=30, roughness=0.85, sheen_weight=0.4)
    limbs = [  # centre, radii, turn about x, pale
        ((0, 0, 0.095), (0.075, 0.066, 0.092), 0, False),
        ((0, -0.005, 0.225), (0.066, 0.060, 0.060), 0, False),
        ((0, -0.055, 0.208), (0.031, 0.026, 0.024), 0, True),
        ((-0.052, 0.0, 0.277), (0.026, 0.013, 0.026), 0, False),
        ((0.052, 0.0, 0.277), (0.026, 0.013, 0.026), 0, False),
        ((-0.052, -0.010, 0.277), (0.016, 0.008, 0.016), 0, True),
        ((0.052, -0.010, 0.277), (0.016, 0.008, 0.016), 0, True),
        ((-0.085, -0.025, 0.125), (0.029, 0.029, 0.062), -0.6, False),
        ((0.085, -0.025, 0.125), (0.029, 0.029, 0.062), -0.6, False),
        ((-0.058, -0.085, 0.036), (0.034, 0.066, 0.035), 0, False),
        ((0.058, -0.085, 0.036), (0.034, 0.066, 0.035), 0, False),
        ((-0.060, -0.143, 0.040), (0.024, 0.014, 0.031), 0, True),
        ((0.060, -0.143, 0.040), (0.024, 0.014, 0.031), 0, True),
        ((0, -0.045, 0.095), (0.048, 0.030, 0.062), 0, True),
    ]
    parts, roots, tips = [], {False: [], True: []}, {False: [], True: []}
    long = entry.get("fur", 0.008)
    for centre, radii, angle, light in limbs:
        turn = rotation("x", angle)
        if abs(centre[0]) > 0.08:
            turn = rotation("y", -np.sign(centre[0]) * 0.55) @ turn
        parts.append(
            ellipsoid("limb", centre, radii, pale if light else skin, turn=turn, segments=40)
        )
        n = int(2.6e6 * (radii[0] * radii[1] * radii[2]) ** (2 / 3))
        unit = rng.normal(size=(n, 3))
        unit /= np.linalg.norm(unit, axis=1, keepdims=True)
        local = unit * radii
        normal = unit / radii
        normal /= np.linalg.norm(normal, axis=1, keepdims=True)
        roots[light].append(local @ turn.T + centre)
        way = normal @ turn.T + rng.normal(0, 0.35, (n, 3)) + [0, 0, -0.35]
        tips[light].append(
            roots[light][-1] + way * long * rng.uniform(0.6, 1.0, (n, 1)) * (0.6 if light else 1)
        )
    for light, coat in ((False, fur), (True, pale_fur)):
        parts.append(
            hair("fur", np.concatenate(roots[light]), np.concatenate(tips[light]), 0.00055, coat)
        )
    black = principled("eye", "#0c0a09", 0.08)[0]
    for side in (-1, 1):
        parts.append(
            ellipsoid(
                "eye", (side * 0.026, -0.063, 0.240), (0.0085, 0.007, 0.0085), black, segments=24
            )
        )
    parts.append(ellipsoid("nose", (0, -0.083, 0.218), (0.012, 0.008, 0.008), black, segments=24))
    mouth = spline(
        [
            (-0.013, -0.081, 0.198),
            (-0.005, -0.085, 0.195),
            (0, -0.086, 0.203),
            (0.005, -0.085, 0.195),
            (0.013, -0.081, 0.198),
        ],
        20,
    )
    parts.append(tube("mouth", mouth, 0.0016, black, sides=6))
    if entry["variant"] == "bow":
        ribbon = fabric(entry.get("accent", "#b5302e"))
        for side in (-1, 1):
            parts.append(
                ellipsoid(
                    "bow",
                    (side * 0.024, -0.064, 0.166),
                    (0.024, 0.009, 0.015),
                    ribbon,
                    turn=rotation("y", side * 0.3),
                )
            )
        parts.append(ellipsoid("knot", (0, -0.069, 0.166), (0.009, 0.009, 0.009), ribbon))
        a = np.linspace(0, 2 * np.pi, 40)
        parts.append(
            tube(
                "collar",
                np.column_stack([0.056 * np.cos(a), 0.054 * np.sin(a) - 0.003, 0.172 + 0 * a]),
                0.006,
                ribbon,
                sides=10,
            )
        )
    elif entry["variant"] == "scarf":
        knit = fabric(
            entry.get("accent", "#b5302e"), shade(entry.get("accent", "#b5302e"), 0.6), thread=0.004
        )
        a = np.linspace(0, 2 * np.pi, 48)
        parts.append(
            tube(
                "scarf",
                np.column_stack(
                    [0.060 * np.cos(a), 0.058 * np.sin(a) - 0.003, 0.170 + 0.004 * np.sin(3 * a)]
                ),
                0.016,
                knit,
                sides=14,
            )
        )
        parts.append(
            box(
                "end",
                (0.03, 0.01, 0.09),
                (0.028, -0.078, 0.125),
                knit,
                bevel=0.004,
                turn=rotation("x", 0.12),
            )
        )
    return parts


# Furniture and street


def chair(entry: dict, rng) -> Parts:
    """Seat at 0.45 m, front towards −y."""
    variant = entry["variant"]
    first, second = entry["colours"]
    parts: Parts = []
    seat, half = 0.45, 0.21
    if variant == "shell":
        shell = surface(first, scale=5, roughness=0.3, coat_weight=0.2)
        rows, columns = 30, 24
        t = np.linspace(0, 1, rows)
        spine = spline(
            [
                (-0.24, 0.43),
                (-0.22, 0.455),
                (-0.05, 0.435),
                (0.12, 0.44),
                (0.2, 0.5),
                (0.24, 0.65),
                (0.28, 0.82),
            ],
            rows,
        )
        width = np.interp(t, [0, 0.1, 0.5, 0.7, 0.92, 1], [0.19, 0.22, 0.235, 0.24, 0.21, 0.15])
        u = np.linspace(-1, 1, columns)
        y = spine[:, :1] - 0.06 * np.clip(t[:, None] - 0.45, 0, 1) * 3 * u[None, :] ** 2 * 0.5
        z = spine[:, 1:] + 0.05 * np.exp(-(((t[:, None] - 0.5) / 0.35) ** 2)) * u[None, :] ** 4
        top = np.stack([width[:, None] * u[None, :], y + 0 * u, z + 0 * u], -1).reshape(-1, 3)
        body = mesh("shell", top, grid(rows, columns, wrap=False), shell)
        body.modifiers.new("thickness", "SOLIDIFY").thickness = 0.012
        parts.append(body)
        leg = wood(second, along="z") if rng.random() < 0.6 else metal("#b5b5b5")
        for x in (-1, 1):
            for yy in (-1, 1):
                parts.append(
                    tube(
                        "leg",
                        [(x * 0.13, yy * 0.12, 0.43), (x * 0.235, yy * 0.23, 0.0)],
                        [0.017, 0.011],
                        leg,
                    )
                )
        parts.append(box("cross", (0.34, 0.03, 0.02), (0, 0.12, 0.425), leg))
        parts.append(box("cross", (0.34, 0.03, 0.02), (0, -0.12, 0.425), leg))
        return parts
    frame = wood(first, along="z") if variant != "metal" else metal(first, 0.35)
    thick = 0.02 if variant != "metal" else 0.012
    for x in (-1, 1):
        parts.append(
            tube(
                "leg",
                [(x * (half - 0.02), -half + 0.02, seat), (x * (half + 0.005), -half, 0)],
                [thick, thick * 0.75],
                frame,
            )
        )
        back = spline(
            [
                (x * (half + 0.005), half + 0.05, 0),
                (x * (half - 0.015), half - 0.01, seat),
                (x * (half - 0.02), half + 0.07, 0.92),
            ],
            20,
        )
        parts.append(tube("post", back, thick * 0.9, frame))
        parts.append(
            tube(
                "side",
                [(x * half, -half + 0.01, 0.2), (x * half, half + 0.01, 0.22)],
                thick * 0.6,
                frame,
            )
        )
    parts.append(
        tube("front", [(-half, -half + 0.02, 0.27), (half, -half + 0.02, 0.27)], thick * 0.6, frame)
    )
    if variant == "upholstered":
        cloth = fabric(second, scale=14)
        parts.append(
            box("seat", (2 * half + 0.04, 2 * half + 0.02, 0.075), (0, 0, seat), cloth, bevel=0.025)
        )
        parts.append(
            box(
                "back",
                (2 * half - 0.05, 0.06, 0.36),
                (0, half + 0.035, 0.74),
                cloth,
                bevel=0.025,
                turn=rotation("x", -0.15),
            )
        )
    else:
        plate = frame if variant != "metal" else surface(second, roughness=0.4)
        parts.append(
            box("seat", (2 * half + 0.04, 2 * half + 0.02, 0.025), (0, 0, seat), plate, bevel=0.008)
        )
        if variant == "slats":
            for x in np.linspace(-0.125, 0.125, 5):
                path = spline(
                    [(x, half - 0.01, seat), (x, half + 0.03, 0.7), (x, half + 0.07, 0.9)], 12
                )
                parts.append(tube("slat", path, 0.011, frame))
        else:
            for z in (0.62, 0.75, 0.87):
                y = half + 0.07 * ((z - seat) / 0.47) ** 1.3
                parts.append(
                    box(
                        "rung",
                        (2 * half - 0.03, 0.016, 0.07),
                        (0, y, z),
                        plate,
                        bevel=0.005,
                        turn=rotation("x", -0.15),
                    )
                )
    rail = [
        (-half + 0.02, half + 0.068, 0.92),
        (0, half + 0.085, 0.94),
        (half - 0.02, half + 0.068, 0.92),
    ]
    parts.append(tube("rail", spline(rail, 16), thick * 1.15, frame))
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
        parts.append(
            box(
                "back",
                (1.5, 0.025, 0.095),
                (0, 0.235 + 0.035 * k, z),
                plank,
                bevel=0.006,
                turn=rotation("x", -0.28),
            )
        )
    for x in (-0.62, 0.62):
        if variant == "rustic":
            parts.append(box("leg", (0.07, 0.07, 0.435), (x, -0.2, 0.2175), iron, bevel=0.006))
            parts.append(
                box(
                    "leg",
                    (0.07, 0.06, 0.9),
                    (x, 0.27, 0.43),
                    iron,
                    bevel=0.006,
                    turn=rotation("x", -0.12),
                )
            )
            parts.append(box("rest", (0.08, 0.52, 0.035), (x, 0.03, 0.66), iron, bevel=0.006))
            parts.append(box("post", (0.06, 0.06, 0.2), (x, -0.2, 0.56), iron, bevel=0.006))
            parts.append(box("beam", (0.05, 0.46, 0.05), (x, 0.02, 0.41), iron))
        else:
            leg = spline([(x, -0.25, 0), (x, -0.18, 0.12), (x, -0.22, 0.3), (x, -0.2, 0.42)], 16)
            parts.append(tube("leg", leg, 0.02, iron))
            leg = spline(
                [(x, 0.3, 0), (x, 0.2, 0.15), (x, 0.2, 0.42), (x, 0.27, 0.66), (x, 0.33, 0.88)], 24
            )
            parts.append(tube("post", leg, 0.02, iron))
            parts.append(tube("beam", [(x, -0.23, 0.425), (x, 0.2, 0.425)], 0.018, iron))
            arm = spline(
                [
                    (x, -0.2, 0.43),
                    (x, -0.26, 0.55),
                    (x, -0.2, 0.65),
                    (x, 0.0, 0.66),
                    (x, 0.26, 0.67),
                ],
                24,
            )
            parts.append(tube("arm", arm, 0.02, iron))
    return parts


def stop_sign(entry: dict, rng) -> Parts:
    """Plate 0.75 m wide, its middle at 2.1 m, on a pole."""
    wear = entry.get("wear", 0.1)
    red = surface("#b3141d", shade("#b3141d", 1 - 0.5 * wear), scale=6, roughness=0.4, bumps=0.05)
    white = surface("#eeece6", shade("#eeece6", 1 - 0.3 * wear), scale=9, roughness=0.45)
    grey = metal("#8f9294", 0.45)
    middle, half = 2.1, 0.375
    angles = np.pi / 8 + np.arange(8) * np.pi / 4

    def octagon(radius):
        return np.column_stack([np.cos(angles), np.sin(angles)]) * radius / np.cos(np.pi / 8)

    plate = polygon_slab("edge", octagon(half), 0.004, white)
    inner = polygon_slab("red", octagon(half * 0.93), 0.002, red)
    transform(inner, np.eye(3), (0, -0.0015, 0))
    letters = text("STOP", "STOP", 0.36, white, depth=0.001)
    points = points_of(letters)
    width, height = np.ptp(points[:, 0]), np.ptp(points[:, 2])
    points_scale = np.diag([0.59 / width, 1.0, 0.25 / height])
    transform(letters, points_scale, (0, -0.003, 0))
    centre = points_of(letters)
    shift = -(centre.max(0) + centre.min(0)) / 2
    transform(letters, np.eye(3), (shift[0], 0, shift[2]))
    parts = [plate, inner, letters]
    for z in (0.22, -0.22):
        parts.append(
            facing_front(
                lathe("bolt", [(0, -0.006), (0.012, -0.005), (0.013, 0)], grey, segments=16)
            )
        )
        transform(
            parts[-1], np.eye(3), (0, 0, z + 0.06 * (z < 0) - 0.06 * (z > 0) + np.sign(z) * 0.1)
        )
    for part in parts:
        transform(part, rotation("y", rng.uniform(-0.04, 0.04)), (0, 0, middle))
    if entry["variant"] == "wooden":
        pole = box(
            "pole", (0.09, 0.09, 2.35), (0, 0.05, 1.175), wood("#8a6f50", along="z"), bevel=0.006
        )
    else:
        pole = tube("pole", [(0, 0.035, 0), (0, 0.035, 2.45)], 0.03, grey)
    pole["frame"] = False
    return [*parts, pole]


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
