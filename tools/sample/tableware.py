"""Cups, bowls, glasses and bottles, at their real size in metres."""

from __future__ import annotations

import numpy as np
from geometry import (
    Parts,
    lathe,
    leaves,
    mesh,
    sphere_points,
    spline,
    tube,
)
from geometry import grid_faces as grid
from materials import (
    glass,
    leaf,
    metal,
    patterned,
    principled,
    shade,
    surface,
    wood,
)


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


CUPS = {  # outside and inside (radius, z); level and radius of the drink; the handle
    "tea": (
        [(0, 0.012), (0.019, 0.012), (0.021, 0.015), (0.034, 0.03), (0.043, 0.05), (0.047, 0.066)],
        [(0.0445, 0.066), (0.041, 0.051), (0.032, 0.032), (0.015, 0.019), (0, 0.018)],
        (0.056, 0.0425), (0.045, 0.015, 0.042),
    ),
    "tall": (
        [(0, 0), (0.031, 0), (0.034, 0.004), (0.035, 0.06), (0.041, 0.12), (0.042, 0.124)],
        [(0.039, 0.124), (0.038, 0.12), (0.031, 0.06), (0.03, 0.008), (0, 0.007)],
        (0.11, 0.0368), (0.066, 0.03, 0.036),
    ),
    "mug": (
        [(0, 0), (0.036, 0), (0.040, 0.004), (0.041, 0.05), (0.041, 0.092), (0.0405, 0.095)],
        [(0.0375, 0.095), (0.037, 0.09), (0.037, 0.012), (0.03, 0.006), (0, 0.006)],
        (0.078, 0.0375), (0.048, 0.026, 0.039),
    ),
}  # fmt: skip
SAUCER = [
    (0, 0.004), (0.03, 0.004), (0.04, 0.006), (0.07, 0.016), (0.072, 0.018), (0.07, 0.019),
    (0.04, 0.010), (0.024, 0.009), (0.022, 0.0125), (0, 0.0125),
]  # fmt: skip


def cup(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    drink = principled("drink", entry.get("drink", "#2b1508"), 0.08)[0]
    if variant == "paper":
        return paper_cup(entry)
    clay = glazed(entry)
    outer, inner, (level, level_r), (handle_z, handle_r, reach) = CUPS.get(variant, CUPS["mug"])
    parts = [lathe("cup", outer + inner, clay, samples=120)]
    parts.append(lathe("drink", [(0, level), (level_r, level)], drink))
    a = np.linspace(-1.75, 1.75, 30)
    path = np.column_stack(
        [reach + handle_r * 0.95 * np.cos(a) + 0.001, 0 * a, handle_z + handle_r * np.sin(a)]
    )
    parts.append(tube("handle", path, 0.0052, clay, sides=14))
    if variant == "tea":
        parts.append(lathe("saucer", SAUCER, clay, samples=60))
    return parts


def paper_cup(entry: dict) -> Parts:
    body = glazed(entry, roughness=0.6, coat_weight=0.0)
    card = surface("#b08756", "#96703f", scale=80, roughness=0.8)
    plastic = principled("lid", entry.get("lid", "#f2f0ea"), 0.35)[0]
    side = [(0, 0), (0.029, 0), (0.030, 0.002), (0.042, 0.108), (0.041, 0.11)]
    sleeve = [(0.0335, 0.035), (0.0342, 0.035), (0.0392, 0.08), (0.0385, 0.08)]
    lid = [
        (0.044, 0.104), (0.0445, 0.108), (0.043, 0.112), (0.0405, 0.113), (0.0395, 0.120),
        (0.0365, 0.121), (0.035, 0.117), (0, 0.117),
    ]  # fmt: skip
    return [lathe("cup", side, body), lathe("sleeve", sleeve, card), lathe("lid", lid, plastic)]


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
        "red": [(0.004, 0.088), (0.022, 0.098), (0.040, 0.125), (0.043, 0.150), (0.036, 0.195),
                (0.033, 0.212)],
        "white": [(0.004, 0.095), (0.018, 0.104), (0.032, 0.13), (0.035, 0.155), (0.030, 0.19),
                  (0.028, 0.205)],
        "flute": [(0.004, 0.085), (0.014, 0.098), (0.022, 0.13), (0.025, 0.165), (0.024, 0.2),
                  (0.0225, 0.225)],
        "wide": [(0.004, 0.085), (0.026, 0.094), (0.046, 0.118), (0.050, 0.140), (0.046, 0.170),
                 (0.043, 0.182)],
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


BOTTLES = {  # side (radius, z); radius, lower and upper edge of the label, and of the cap
    "wine": (
        [(0, 0), (0.035, 0), (0.0375, 0.004), (0.0375, 0.175), (0.034, 0.2), (0.018, 0.232),
         (0.0145, 0.25), (0.0142, 0.292), (0.0158, 0.294), (0.0158, 0.3), (0.012, 0.301), (0,
         0.301)],
        (0.0379, 0.05, 0.135), (0.0150, 0.245, 0.303),
    ),
    "beer": (
        [(0, 0), (0.028, 0), (0.0305, 0.004), (0.0305, 0.125), (0.028, 0.145), (0.016, 0.18),
         (0.0132, 0.2), (0.0128, 0.226), (0.0138, 0.228), (0.0138, 0.234), (0, 0.234)],
        (0.0309, 0.03, 0.1), (0.0155, 0.2255, 0.237),
    ),
    "sauce": (
        [(0, 0), (0.029, 0), (0.032, 0.005), (0.030, 0.05), (0.032, 0.12), (0.029, 0.145),
         (0.017, 0.165), (0.016, 0.168), (0, 0.168)],
        (0.0324, 0.035, 0.12), (0.0172, 0.163, 0.184),
    ),
    "water": (
        [(0, 0), (0.026, 0.001), (0.031, 0.006), (0.0322, 0.02), (0.0318, 0.13), (0.031, 0.155),
         (0.022, 0.185), (0.0128, 0.2), (0.0128, 0.212), (0, 0.212)],
        (0.0327, 0.07, 0.12), (0.0152, 0.204, 0.222),
    ),
}  # fmt: skip
WATER = [(0, 0.004), (0.0295, 0.008), (0.0305, 0.02), (0.0302, 0.13), (0.0293, 0.15), (0, 0.15)]


def bottle(entry: dict, rng) -> Parts:
    variant, first = entry["variant"], entry["colours"][0]
    side, label, cap = BOTTLES[variant]
    if variant in ("wine", "beer"):
        body = glass_body(entry)
    elif variant == "sauce":
        body = surface(first, scale=10, roughness=0.3, subsurface_weight=0.1, coat_weight=0.2)
    else:
        body = glass("#eaf4f7", 0.03, 1.2)
    parts = [lathe("bottle", side, body, samples=0 if variant != "sauce" else 80, segments=72)]
    parts += bottle_label(entry, *label)
    parts.append(bottle_cap(entry, *cap))
    if variant == "water":
        parts.append(lathe("water", WATER, glass("#e6f3fa", 0.0, 1.33)))
    return parts


def bottle_label(entry: dict, radius: float, low: float, high: float) -> Parts:
    first, second = entry["colours"]
    accent = first if entry["variant"] == "sauce" else entry.get("accent", "#c0392b")
    paper = patterned(
        entry.get("pattern", "plain"), [second, accent], size=(high - low) / 1.6, roughness=0.6
    )
    parts = [lathe("label", [(radius, low), (radius, high)], paper, segments=72)]
    ink = principled("ink", entry.get("accent", "#2d2d2d"), 0.6)[0]
    for z, h in [(0.72, 0.10), (0.45, 0.05), (0.32, 0.03)]:
        mid, half_angle = low + z * (high - low), 0.8 - 0.3 * (h < 0.09)
        parts.append(wrapped_bar(radius + 0.0002, mid, h * (high - low), half_angle, ink))
    return parts


def bottle_cap(entry: dict, radius: float, low: float, high: float):
    variant, colour = entry["variant"], entry.get("cap", "#7a1f2b")
    steel = variant in ("wine", "beer")
    material = metal(colour, 0.35) if steel else principled("cap", colour, 0.35)[0]
    ridge = 0.0006 if variant != "wine" else 0.0
    shoulder, top = (0.62, 0.5) if variant == "sauce" else (1, 0.93)

    def lobes(angle, z):
        return 1 + ridge / radius * np.cos(24 * angle)

    profile = [(radius * 0.98, low), (radius, low + 0.001), (radius * shoulder, high - 0.0015),
               (radius * top, high), (0, high)]  # fmt: skip
    return lathe("cap", profile, material, segments=144, lobes=lobes)


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
