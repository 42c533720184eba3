"""Balls, umbrellas, clocks, books and bears, at their real size in metres."""

from __future__ import annotations

import numpy as np
from geometry import (
    Parts,
    box,
    ellipsoid,
    facing_front,
    hair,
    lathe,
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
    linear,
    metal,
    painted,
    patterned,
    principled,
    shade,
    surface,
    wood,
)

BALL_RADII = {
    "soccer": 0.11,
    "basketball": 0.12,
    "volleyball": 0.105,
    "tennis": 0.033,
    "beach": 0.17,
    "baseball": 0.037,
}


def sports_ball(entry: dict, rng) -> Parts:
    variant = entry["variant"]
    unit = sphere_points(240)
    first, second = rgb(*entry["colours"])
    radius = BALL_RADII[variant]
    dark = rgb({"tennis": "#f4f4ec", "baseball": "#9a2a25"}.get(variant, "#161616"))[0]
    colours, seam, width = BALLS[variant](unit, first, second)
    line = np.clip(1 - seam / width, 0, 1)[:, None] ** 0.5
    thin = (seam < width)[:, None]
    colours = np.where(thin, dark * line + colours * (1 - line), colours)
    skin = painted(
        roughness={"beach": 0.2, "tennis": 0.95, "basketball": 0.6}.get(variant, 0.42),
        bumps={"basketball": 0.7, "tennis": 0.5}.get(variant, 0.08),
        bump_scale=700 if variant in ("basketball", "tennis") else 300,
        coat_weight=0.5 if variant == "beach" else 0.0,
    )
    points = unit * (1 - 0.012 * line) * radius
    ball = mesh("ball", points, grid(121, 240, wrap=True), skin)
    paint_points(ball, colours)
    parts = [ball, *(stitches(seam_curve(), radius) if variant == "baseball" else ())]
    turn = (
        rotation("z", rng.uniform(0, 6))
        @ rotation("x", rng.uniform(-0.7, 0.7))
        @ rotation("y", rng.uniform(0, 6))
    )
    if variant == "basketball":
        turn = rotation("z", 0.5) @ rotation("x", rng.uniform(-0.4, 0.4))
    for part in parts:
        transform(part, turn, (0, 0, 0))
    return [*parts, fuzz(ball, radius, entry["colours"][0], rng)] if variant == "tennis" else parts


def rgb(*colours: str) -> list[np.ndarray]:
    """Linear RGB `[3]` of hexadecimal colours."""
    return [np.array(linear(colour)[:3]) for colour in colours]


# Each paints a ball's points `unit [n, 3]`: colours `[n, 3]`, distance to the seam `[n]`, and the
# seam's width.


def soccer(unit, first, second):
    panel, seam = soccer_panels(unit)
    return np.where((panel < 12)[:, None], second, first), seam, 0.010


def volleyball(unit, first, second):
    axis = np.abs(unit).argmax(1)
    across = unit[np.arange(len(unit)), (axis + 1) % 3] / np.abs(unit).max(1)
    strip = np.clip(((across + 1) * 1.5).astype(int), 0, 2)
    colours = np.where(((strip + axis) % 3 == 1)[:, None], second, first)
    edges = np.abs(across[:, None] - np.array([-1, -1 / 3, 1 / 3, 1])).min(1)
    ordered = np.sort(np.abs(unit), axis=1)
    return colours, np.minimum(edges, 1 - ordered[:, 1] / ordered[:, 2]), 0.022


def basketball(unit, first, second):
    curved = np.abs(np.abs(unit[:, 0]) - 0.62 - 0.16 * unit[:, 2] ** 2)
    seam = np.minimum.reduce([np.abs(unit[:, 1]), np.abs(unit[:, 2]), curved])
    return np.tile(first, (len(unit), 1)), seam, 0.022


def curved_seam(width: float):
    """The seam of a tennis ball or a baseball."""

    def paint(unit, first, second):
        nearest = (unit @ seam_curve().T).max(1)
        return np.tile(first, (len(unit), 1)), np.arccos(np.clip(nearest, -1, 1)), width

    return paint


def seam_curve() -> np.ndarray:
    """The closed curve on the unit sphere along which two equal panels meet `[400, 3]`."""
    t = np.linspace(0, 2 * np.pi, 400)
    a, b = 0.75, 0.25
    x, y = a * np.cos(t) + b * np.cos(3 * t), a * np.sin(t) - b * np.sin(3 * t)
    curve = np.column_stack([x, y, 2 * np.sqrt(a * b) * np.sin(2 * t)])
    return curve / np.linalg.norm(curve, axis=1, keepdims=True)


def beach(unit, first, second):
    white, yellow = rgb("#f4f4f0", "#e8b820")
    sector = ((np.arctan2(unit[:, 1], unit[:, 0]) / (2 * np.pi) * 6 + 6) % 6).astype(int)
    colours = np.array([first, white, second, white, yellow, white])[sector]
    colours[np.abs(unit[:, 2]) > 0.965] = white
    return colours, np.ones(len(unit)), 0.01


BALLS = {
    "soccer": soccer,
    "volleyball": volleyball,
    "basketball": basketball,
    "tennis": curved_seam(0.07),
    "baseball": curved_seam(0.03),
    "beach": beach,
}


def fuzz(ball, radius: float, colour: str, rng):
    """The felt of a tennis ball."""
    points = points_of(ball)[::2]
    out = points / radius
    tips = points + (out + rng.normal(0, 0.7, out.shape)) * 0.0016
    return hair("fuzz", points, tips, 0.00016, surface(colour, roughness=0.9))


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


PANELS = 8  # of an umbrella


def umbrella(entry: dict, rng) -> Parts:
    parasol = entry["variant"] == "parasol"
    radius, rise, height = (1.1, 0.42, 2.1) if parasol else (0.52, 0.24, 0.62)
    steel = metal("#b8b8b8", 0.3)
    parts = [canopy(entry, radius, rise, height), *ribs(radius, rise, height, steel)]
    top = height + rise
    if parasol:
        return parts + parasol_stand(top)
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


def arch(t, radius: float, rise: float):
    """Radius and height over the rim at the share `t` of the way from the top to the rim."""
    r = radius * np.sin(t * 1.25) / np.sin(1.25)
    return r, rise * (np.cos(t * 1.25) - np.cos(1.25)) / (1 - np.cos(1.25))


def canopy(entry: dict, radius: float, rise: float, height: float):
    """The cloth, which sags between its ribs, in the entry's pattern."""
    rows, per = 20, 12
    columns = PANELS * per
    t = np.linspace(0.0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None, :]
    sag = np.sin(np.pi * (np.arange(columns) % per) / per)[None, :]
    r, z = arch(t, radius, rise)
    r, z = r * (1 - 0.075 * sag * t**2), z - 0.02 * sag * t * radius
    vertices = np.stack([r * np.cos(angle), r * np.sin(angle), z + 0 * angle], -1).reshape(-1, 3)
    vertices[:, 2] += height
    cloth = painted(
        roughness=0.7, bumps=0.1, bump_scale=900, sheen_weight=0.3, transmission_weight=0.0
    )
    result = mesh("canopy", vertices, grid(rows, columns, wrap=True), cloth)
    panel = np.tile(np.arange(columns) // per, rows)
    ring = np.repeat(t[:, 0], columns)
    choose = {
        "stripes": panel % 2 == 1,
        "bands": (ring * 4).astype(int) % 2 == 1,
        "twotone": ring > 0.8,
    }.get(entry.get("pattern", "plain"), np.zeros(len(panel), bool))
    first, second = rgb(*entry["colours"])
    paint_points(result, np.where(choose[:, None], second, first))
    return result


def ribs(radius: float, rise: float, height: float, steel) -> Parts:
    """The ribs under the cloth, and the struts that hold them."""
    parts = []
    for k in range(PANELS):
        a = 2 * np.pi * k / PANELS
        r, z = arch(np.linspace(0, 1, 14), radius, rise)
        z = height + z - 0.006
        path = np.column_stack([r * np.cos(a), r * np.sin(a), z])
        parts.append(tube("rib", path, 0.0022, steel, sides=6))
        low = (0.012 * np.cos(a), 0.012 * np.sin(a), height - 0.12 * radius)
        parts.append(tube("strut", np.array([low, path[6]]), 0.002, steel, sides=6))
    return parts


def parasol_stand(top: float) -> Parts:
    """The pole and its foot, which the camera need not frame."""
    pole = tube("pole", [(0, 0, 0), (0, 0, top)], 0.02, wood("#b08a5a", along="z"))
    stone = surface("#6f6f6c", "#5a5a58", scale=60, roughness=0.9, bumps=0.3)
    foot = [(0, 0), (0.24, 0), (0.25, 0.02), (0.24, 0.06), (0.05, 0.08), (0.03, 0.16), (0, 0.16)]
    base = lathe("base", foot, stone)
    pole["frame"] = base["frame"] = False
    return [pole, base]


def clock(entry: dict, rng) -> Parts:
    radius = {"wall": 0.15, "alarm": 0.05, "mantel": 0.06}[entry["variant"]]
    dial = principled("dial", entry.get("dial", "#f6f3ea"), 0.5)[0]
    ink = principled("ink", entry.get("ink", "#1a1a1a"), 0.5)[0]
    face = clock_face(radius, dial, ink, entry, rng)
    return {"wall": wall_clock, "alarm": alarm_clock, "mantel": mantel_clock}[entry["variant"]](
        entry, radius, face
    )


def clock_case(name: str, entry: dict, radius: float, profile, **paint) -> tuple:
    """A round case, metal or painted, from a profile in units of the radius; and its material."""
    first = entry["colours"][0]
    material = metal(first) if entry.get("pattern") == "metal" else surface(first, scale=8, **paint)
    points = [(r * radius, z) for r, z in profile]
    return facing_front(lathe(name, points, material, segments=96)), material


def wall_clock(entry: dict, radius: float, face: Parts) -> Parts:
    rim = [(0, 0.035), (1.10, 0.035), (1.13, 0.02), (1.12, 0.0), (1.04, -0.008), (1.0, 0.0),
           (1.0, 0.012), (0, 0.012)]  # fmt: skip
    frame, _ = clock_case("frame", entry, radius, rim, roughness=0.35, coat_weight=0.3)
    return [frame, *face]


def alarm_clock(entry: dict, radius: float, face: Parts) -> Parts:
    rim = [(0, 0.045), (0.95, 0.045), (1.1, 0.04), (1.12, 0.0), (1.05, -0.006), (1.0, 0.002),
           (1.0, 0.012), (0, 0.012)]  # fmt: skip
    case, body = clock_case("case", entry, radius, rim, roughness=0.3, coat_weight=0.4)
    second = entry["colours"][1]
    parts = [case, *face]
    for side in (-1, 1):
        profile = [(0.027, 0), (0.026, 0.008), (0.018, 0.017), (0, 0.021)]
        dome = lathe("bell", profile, metal(second), samples=24)
        transform(dome, rotation("y", side * 0.55), np.array([side * 0.036, 0.022, 0.052]))
        parts.append(dome)
        post = [(side * 0.028, 0.022, 0.045), (side * 0.038, 0.022, 0.06)]
        parts.append(tube("post", post, 0.003, body, sides=10))
        foot = [(side * 0.028, 0.022, -0.046), (side * 0.042, 0.022, -0.07)]
        parts.append(tube("foot", foot, [0.004, 0.006], body, sides=12))
    a = np.linspace(0, np.pi, 20)
    grip = np.column_stack([0.03 * np.cos(a), 0.022 + 0 * a, 0.068 + 0.026 * np.sin(a)])
    parts.append(tube("grip", grip, 0.0028, metal(second), sides=8))
    hammer = [(0, 0.022, 0.05), (0, 0.022, 0.078)]
    parts.append(tube("hammer", hammer, [0.002, 0.004], metal(second), sides=8))
    return parts


def mantel_clock(entry: dict, radius: float, face: Parts) -> Parts:
    case = wood(entry["colours"][0], along="x")
    a = np.linspace(0.25, np.pi - 0.25, 24)
    outline = [(-0.085, -0.075), (0.085, -0.075), (0.085, 0.02)]
    outline += [(0.088 * np.cos(t), 0.088 * np.sin(t)) for t in a] + [(-0.085, 0.02)]
    slab = polygon_slab("case", outline, 0.07, case)
    transform(slab, np.eye(3), (0, 0.002, 0))
    plinth = box("plinth", (0.2, 0.095, 0.022), (0, 0.037, -0.082), case, bevel=0.004)
    rim = [(1.0, 0.002), (1.12, 0.002), (1.12, -0.005), (1.04, -0.009), (1.0, -0.002), (1.0, 0.002)]
    points = [(r * radius, z) for r, z in rim]
    ring = facing_front(lathe("ring", points, metal("#c9a24a"), segments=96))
    for part in face:
        transform(part, np.eye(3), (0, -0.012, 0))
    return [slab, plinth, ring, *face]


ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]


def clock_face(radius, dial, ink, entry, rng) -> Parts:
    """Dial, numerals or ticks, and hands; the dial lies at y = 0.011."""
    parts = [facing_front(lathe("dial", [(0, 0.0115), (radius, 0.0115)], dial, segments=96))]
    numerals = entry.get("numerals", "arabic")
    for k in range(60):
        a = 2 * np.pi * k / 60
        hour = k % 5 == 0
        if hour and numerals != "ticks":
            n = (k // 5 - 1) % 12
            written = ROMAN[n] if numerals == "roman" else str(n + 1)
            label = text("numeral", written, radius * 0.27, ink)
            at = (0.74 * radius * np.sin(a), 0.011, 0.74 * radius * np.cos(a))
            transform(label, np.eye(3), at)
            parts.append(label)
        inner = 0.9 if not hour else (0.88 if numerals != "ticks" else 0.72)
        bar = box("tick", (radius * (0.045 if hour else 0.014), 0.0006, radius * (0.96 - inner)),
                  (0, 0.0111, radius * (0.96 + inner) / 2), ink)  # fmt: skip
        transform(bar, rotation("y", a), (0, 0, 0))
        parts.append(bar)
    parts += clock_hands(radius, ink, rng)
    pin = [(0, 0.006), (radius * 0.045, 0.006), (radius * 0.045, 0.011)]
    parts.append(facing_front(lathe("pin", pin, ink)))
    return parts


def clock_hands(radius: float, ink, rng) -> Parts:
    parts = []
    hour, minute = rng.integers(0, 12), rng.integers(0, 60)
    for a, long, wide in [
        ((hour + minute / 60) / 12, 0.5, 0.055),
        (minute / 60, 0.82, 0.038),
        (rng.integers(0, 60) / 60, 0.85, 0.012),
    ]:
        tint = ink if wide > 0.02 else principled("second hand", "#c0241c", 0.4)[0]
        size = (radius * wide, 0.001, radius * long * 1.15)
        hand = box("hand", size, (0, 0.009 - 0.02 * wide, radius * long * 0.425), tint)
        transform(hand, rotation("y", 2 * np.pi * a), (0, 0, 0))
        parts.append(hand)
    return parts


TITLES = [
    "ATLAS", "GARDENS", "RIVERS", "VOYAGE", "STORIES", "POEMS", "ALGEBRA", "WINTER", "HISTORY",
    "BIRDS",
]  # fmt: skip


def book(entry: dict, rng) -> Parts:
    wide, tall, thick = entry["measures"]
    first, second = entry["colours"]
    paper = surface(
        "#efe7d3", "#d8ccb0", scale=900, stretch=(0.02, 0.02, 1), roughness=0.9, bumps=0.3
    )
    if entry["variant"] == "open":
        return open_book(entry, wide, tall, rng)
    cover = patterned(
        entry.get("pattern", "plain"), [first, shade(first, 0.8)], size=0.05, roughness=0.4,
        coat_weight=0.2,
    )  # fmt: skip
    ink = principled("ink", second, 0.4)[0]
    board = 0.0028
    # lying on its back cover, spine along −y so that it faces the camera
    parts = [
        box("pages", (tall - 0.006, wide - 0.006, thick - 2 * board), (0, 0.002, thick / 2), paper),
        box("front", (tall, wide, board), (0, 0, thick - board / 2), cover, bevel=0.0008),
        box("back", (tall, wide, board), (0, 0, board / 2), cover, bevel=0.0008),
    ]
    a = np.linspace(-np.pi / 2, np.pi / 2, 10)
    y, z = -wide / 2 - 0.004 * np.cos(a) + 0.001, thick / 2 + thick / 2 * np.sin(a)
    rows = np.concatenate([np.column_stack([np.full(10, x), y, z]) for x in (-tall / 2, tall / 2)])
    parts.append(mesh("spine", rows, grid(2, 10, wrap=False), cover))
    parts += book_print(str(rng.choice(TITLES)), wide, tall, thick, ink)
    if entry["variant"] == "standing":
        for part in parts:  # upright, spine to the front, title running up
            transform(part, rotation("y", -np.pi / 2), (thick / 2, 0, 0))
    elif entry["variant"] == "display":
        for part in parts:  # leaning back, its cover to the front
            transform(part, rotation("x", np.pi / 2 - 0.28) @ rotation("z", -np.pi / 2), (0, 0, 0))
    return parts


def book_print(title: str, wide: float, tall: float, thick: float, ink) -> Parts:
    """The title on spine and cover, with rules and a frame."""
    on_spine = text("title", title, min(thick * 0.6, tall * 1.1 / len(title)), ink)
    transform(on_spine, np.eye(3), (0, -wide / 2 - 0.0036, thick / 2))
    on_cover = text("title", title, tall * 0.95 / len(title), ink)
    turn = rotation("z", np.pi / 2) @ rotation("x", -np.pi / 2)
    transform(on_cover, turn, (-tall * 0.2, 0, thick + 0.0003))
    parts = [on_spine, on_cover]
    for x in (-0.44 * tall, 0.44 * tall):
        at = (x, -wide / 2 - 0.0026, thick / 2)
        parts.append(box("rule", (tall * 0.012, 0.0012, thick * 0.9), at, ink))
    frame = (tall * 0.32, wide * 0.6, 0.0006)
    parts.append(box("frame", frame, (tall * 0.16, 0, thick + 0.0001), ink))
    return parts


def open_book(entry: dict, wide: float, tall: float, rng) -> Parts:
    cover = principled("cover", entry["colours"][0], 0.5)[0]
    thick = 0.022
    page = surface("#f4eedd", "#e9e0c8", scale=15, roughness=0.85)
    ink = principled("ink", "#3a3632", 0.8)[0]
    parts = [
        box("cover", (2 * wide + 0.012, tall + 0.008, 0.003), (0, 0, 0.0015), cover, bevel=0.001)
    ]
    t = np.linspace(0, 1, 24)
    bulge = 0.35 + 0.75 * np.sin(np.pi * np.clip(t * 0.9 + 0.06, 0, 1)) ** 0.7
    height = 0.003 + thick * bulge * (1 - 0.45 * t)
    faces = [*grid(24, 4, wrap=True), tuple(range(4)), tuple(range(92, 96))]
    for side in (-1, 1):
        x = side * wide * t
        edges = [(-tall / 2, height), (tall / 2, height), (tall / 2, 0.003), (-tall / 2, 0.003)]
        ring = [np.column_stack([x, np.full(24, y), np.broadcast_to(z, 24)]) for y, z in edges]
        pages = mesh("pages", np.stack(ring, 1).reshape(-1, 3), faces, page, smooth=False)
        parts.append(pages)
        for line in range(22):
            if line in (0, 1) and side < 0:
                continue
            y = tall * (0.42 - 0.038 * line)
            end = rng.uniform(0.3, 0.85) if line % 7 == 6 else 0.88
            seen = (t > 0.12) & (t < end)
            n, z = seen.sum(), height[seen] + 0.0004
            strip = [np.column_stack([x[seen], np.full(n, y + d), z]) for d in (0, 0.0034)]
            parts.append(mesh("line", np.concatenate(strip), grid(2, n, wrap=False), ink))
    return parts


LIMBS = [  # centre, radii, turn about x, pale
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


def teddy_bear(entry: dict, rng) -> Parts:
    colour, second = entry["colours"]
    skin = surface(colour, roughness=1.0)
    fur = surface(colour, shade(colour, 0.75), scale=30, roughness=0.85, sheen_weight=0.4)
    pale = surface(second, roughness=1.0)
    pale_fur = surface(second, shade(second, 0.85), scale=30, roughness=0.85, sheen_weight=0.4)
    parts, roots, tips = [], {False: [], True: []}, {False: [], True: []}
    for centre, radii, angle, light in LIMBS:
        turn = rotation("x", angle)
        if abs(centre[0]) > 0.08:
            turn = rotation("y", -np.sign(centre[0]) * 0.55) @ turn
        material = pale if light else skin
        parts.append(ellipsoid("limb", centre, radii, material, turn=turn, segments=40))
        root, tip = coat(centre, radii, turn, entry.get("fur", 0.008), light, rng)
        roots[light].append(root)
        tips[light].append(tip)
    for light, material in ((False, fur), (True, pale_fur)):
        root, tip = np.concatenate(roots[light]), np.concatenate(tips[light])
        parts.append(hair("fur", root, tip, 0.00055, material))
    parts += bear_face()
    if entry["variant"] == "bow":
        parts += bow(fabric(entry.get("accent", "#b5302e")))
    elif entry["variant"] == "scarf":
        accent = entry.get("accent", "#b5302e")
        parts += scarf(fabric(accent, shade(accent, 0.6), thread=0.004))
    return parts


def coat(centre, radii, turn, long: float, light: bool, rng) -> tuple[np.ndarray, np.ndarray]:
    """Roots and tips `[n, 3]` of the fur on a limb; pale fur is shorter."""
    n = int(2.6e6 * (radii[0] * radii[1] * radii[2]) ** (2 / 3))
    unit = rng.normal(size=(n, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    normal = unit / radii
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    roots = (unit * radii) @ turn.T + centre
    way = normal @ turn.T + rng.normal(0, 0.35, (n, 3)) + [0, 0, -0.35]
    return roots, roots + way * long * rng.uniform(0.6, 1.0, (n, 1)) * (0.6 if light else 1)


def bear_face() -> Parts:
    black = principled("eye", "#0c0a09", 0.08)[0]
    parts = []
    for x in (-0.026, 0.026):
        eye = (0.0085, 0.007, 0.0085)
        parts.append(ellipsoid("eye", (x, -0.063, 0.240), eye, black, segments=24))
    parts.append(ellipsoid("nose", (0, -0.083, 0.218), (0.012, 0.008, 0.008), black, segments=24))
    mouth = [(-0.013, -0.081, 0.198), (-0.005, -0.085, 0.195), (0, -0.086, 0.203),
             (0.005, -0.085, 0.195), (0.013, -0.081, 0.198)]  # fmt: skip
    parts.append(tube("mouth", spline(mouth, 20), 0.0016, black, sides=6))
    return parts


def bow(ribbon) -> Parts:
    parts = []
    for side in (-1, 1):
        at, turn = (side * 0.024, -0.064, 0.166), rotation("y", side * 0.3)
        parts.append(ellipsoid("bow", at, (0.024, 0.009, 0.015), ribbon, turn=turn))
    parts.append(ellipsoid("knot", (0, -0.069, 0.166), (0.009, 0.009, 0.009), ribbon))
    a = np.linspace(0, 2 * np.pi, 40)
    neck = np.column_stack([0.056 * np.cos(a), 0.054 * np.sin(a) - 0.003, 0.172 + 0 * a])
    parts.append(tube("collar", neck, 0.006, ribbon, sides=10))
    return parts


def scarf(knit) -> Parts:
    a = np.linspace(0, 2 * np.pi, 48)
    neck = [0.060 * np.cos(a), 0.058 * np.sin(a) - 0.003, 0.170 + 0.004 * np.sin(3 * a)]
    turn = rotation("x", 0.12)
    return [
        tube("scarf", np.column_stack(neck), 0.016, knit, sides=14),
        box("end", (0.03, 0.01, 0.09), (0.028, -0.078, 0.125), knit, bevel=0.004, turn=turn),
    ]
