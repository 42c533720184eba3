"""Write `scenes.json`, the table of all photos, from one seed.

    python make_scenes.py

The table is what `render.py` reads: edit an entry there to change one photo, or this file to
change them all. Settings, lights and colours are dealt out to every category alike, so that none
gives a category away.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

SEED = 20211
SINGLES = 8
"""Photos of each category alone."""
SHARED = 64
"""Photos of two or three categories together."""

OUTDOOR = ("brick", "gravel", "lawn", "patio", "sand", "street")
ROOM = ("carpet", "wood_floor")
NEAR = ("cloth", "counter", "shelf")

SETTINGS = {
    **dict.fromkeys(
        ("apple", "banana", "book", "bottle", "bowl", "clock", "cup", "donut", "orange",
         "potted plant", "sports ball", "teddy bear", "vase", "wine glass"),
        (*NEAR, *ROOM, *OUTDOOR),
    ),
    "chair": (*ROOM, *OUTDOOR),
    "umbrella": (*ROOM, *OUTDOOR),
    "bench": ("wood_floor", *OUTDOOR),
    "stop sign": OUTDOOR,
}  # fmt: skip

COLOURS = (
    "#c23b2e", "#e2742f", "#e9bd3c", "#5f8f3f", "#2f7f78", "#3b74b8", "#27406f", "#7a4a86",
    "#d98aa0", "#f0ece2", "#3a3a3c", "#9a9a96", "#8a5a3a", "#c9a877",
)  # fmt: skip
BLOSSOMS = (
    "#c23b2e",
    "#e2742f",
    "#e9bd3c",
    "#f0ece2",
    "#d98aa0",
    "#7a4a86",
    "#d98aa0",
    "#c23b2e",
    "#f0ece2",
    "#e9bd3c",
)
PALETTES = {
    "apple": (
        ("#b3202a", "#d9a03c"), ("#8f1a22", "#b8323a"), ("#8fae3a", "#b5c95a"),
        ("#c9b840", "#c8542e"), ("#a82a2a", "#c9c04a"),
    ),
    "banana": (
        ("#e0b010", "#c99a10"), ("#d8a818", "#8a6420"), ("#b8b428", "#7f9e30"),
        ("#e4b818", "#d09c14"),
    ),
    "donut": (
        ("#e58aa6", "#3b74b8"), ("#4a2614", "#f0d8b0"), ("#f1e8dc", "#c23b2e"),
        ("#8fbfd8", "#e9bd3c"), ("#d99a4e", "#5a2f18"), ("#a8c878", "#7a4a86"),
    ),
    "teddy bear": (
        ("#8a5a34", "#c9a877"), ("#c9a06a", "#e4cfa8"), ("#e6dfd2", "#c9b8a0"),
        ("#5a4032", "#a88a6a"), ("#8f8f90", "#d4d2ce"), ("#c98a9a", "#f0d8d8"),
    ),
    "soccer": (
        ["#f4f4f0", "#1c1c1e"], ["#f4f4f0", "#27406f"], ["#e9bd3c", "#1c1c1e"],
        ["#f4f4f0", "#c23b2e"],
    ),
    "basketball": (["#c8642c", "#1c1c1e"], ["#b5502a", "#1c1c1e"]),
    "volleyball": (["#f0ece2", "#e9bd3c"], ["#f0ece2", "#3b74b8"], ["#f4f4f0", "#e4e2dc"]),
}  # fmt: skip
"""Colours that go together, by what they are on."""
WINES = ("#5a0f1a", "#e8d78a", "#e8a08a", "#3f0812")
BALLS = ("soccer", "soccer", "basketball", "volleyball", "beach", "tennis")
WOODS = ("#8a5a34", "#b98652", "#5a3a26", "#d0ae7c", "#e4ddd0", "#3b3b3d", "#5f7f86", "#9c3f34")
PATTERNS = ("plain", "plain", "bands", "stripes", "dots", "speckle", "twotone", "checks")

GROUPS = (
    ("cup", "donut"), ("cup", "book"), ("cup", "banana"), ("cup", "donut", "book"),
    ("orange", "apple", "banana"), ("orange", "apple"), ("apple", "banana"), ("bowl", "orange"),
    ("bowl", "apple", "orange"), ("bowl", "banana"), ("bottle", "wine glass"), ("bowl", "cup"),
    ("bottle", "wine glass", "apple"), ("bottle", "bowl"), ("wine glass", "vase"), ("vase", "book"),
    ("vase", "potted plant"), ("vase", "clock"), ("clock", "book"), ("clock", "book", "cup"),
    ("teddy bear", "book"), ("teddy bear", "sports ball"), ("teddy bear", "clock"),
    ("potted plant", "cup"), ("potted plant", "bottle"), ("sports ball", "bottle"),
    ("sports ball", "banana", "bottle"), ("donut", "apple"), ("donut", "bottle"),
    ("wine glass", "orange"),
    ("chair", "teddy bear"), ("chair", "book"), ("chair", "sports ball"), ("chair", "potted plant"),
    ("chair", "umbrella"), ("bench", "umbrella"), ("bench", "sports ball"), ("bench", "teddy bear"),
    ("bench", "potted plant"), ("stop sign", "bench"), ("stop sign", "potted plant"),
    ("stop sign", "chair"), ("umbrella", "sports ball"), ("umbrella", "potted plant"),
    ("bench", "book"), ("stop sign", "umbrella"), ("umbrella", "teddy bear"), ("chair", "vase"),
)  # fmt: skip
ON_SEAT = {"teddy bear", "book", "vase"}
"""What is put on a chair's or a bench's seat, at the height below, when it shares their photo."""
SEAT = {"upholstered": 0.4895, "backless": 0.4545, "chair": 0.4645, "bench": 0.467}

RADIUS = {
    "apple": 0.048, "banana": 0.11, "bench": 0.85, "book": 0.14, "bottle": 0.042, "bowl": 0.115,
    "chair": 0.34, "clock": 0.105, "cup": 0.076, "donut": 0.056, "orange": 0.046,
    "potted plant": 0.14, "sports ball": 0.13, "stop sign": 0.4, "teddy bear": 0.17,
    "umbrella": 0.56, "vase": 0.097, "wine glass": 0.055,
}  # fmt: skip
"""Radius in metres of the ground each category needs when things are put side by side."""


def choose(rng, options):
    """One of the options."""
    return options[int(rng.integers(len(options)))]


def two(rng) -> list[str]:
    """Two different colours."""
    first, second = rng.choice(len(COLOURS), 2, replace=False)
    return [COLOURS[first], COLOURS[second]]


def item(category: str, rng, setting: str) -> dict:
    """One instance with its variant, colours and pose, at the origin."""
    entry = {
        "category": category,
        "variant": "plain",
        "seed": int(rng.integers(1, 10**6)),
        "colours": two(rng),
        "at": [0.0, 0.0],
        "turn": round(float(rng.uniform(-180, 180)), 1),
        "scale": round(float(rng.uniform(0.9, 1.1)), 3),
    }
    entry.update(DETAILS[category](rng, setting))
    return entry


def front(rng, limit=35) -> float:
    """A turn that keeps the front in view."""
    return round(float(rng.uniform(-limit, limit)), 1)


def clock_details(rng, setting):
    hung = setting in ("counter", "wood_floor", "carpet", "brick") and rng.random() < 0.6
    variant = "wall" if hung else choose(rng, ("alarm", "alarm", "mantel"))
    details = {
        "variant": variant,
        "turn": 0.0 if hung else front(rng, 25),
        "pattern": choose(rng, ("metal", "plain", "plain")),
        "numerals": choose(rng, ("arabic", "arabic", "roman", "ticks")),
        "dial": choose(rng, ("#f6f3ea", "#ffffff", "#efe2c0", "#cfe0e4")),
    }
    if hung:
        details |= {"on": "wall", "at": [0.0, 0.62 if setting == "counter" else 1.7]}
        details["scale"] = 0.8 if setting == "counter" else 1.0
    if variant == "mantel":
        details["colours"] = [choose(rng, WOODS), "#c9a24a"]
        details["scale"] = 1.3
    return details


def ball_details(rng, setting):
    small = setting in NEAR
    kinds = ("tennis", "baseball", "soccer", "volleyball") if small else BALLS
    variant = choose(rng, kinds)
    colours = {
        "soccer": choose(rng, PALETTES["soccer"]),
        "basketball": choose(rng, PALETTES["basketball"]),
        "volleyball": choose(rng, PALETTES["volleyball"]),
        "tennis": ["#c9d93a", "#f4f4ec"],
        "baseball": ["#f1ede2", "#9a2a25"],
        "beach": two(rng),
    }[variant]  # fmt: skip
    return {
        "variant": variant,
        "colours": colours,
        "scale": 0.75 if small and variant in ("soccer", "volleyball") else 1.0,
    }


def book_details(rng, setting):
    measures = [rng.uniform(0.13, 0.17), rng.uniform(0.19, 0.24), rng.uniform(0.022, 0.045)]
    return {
        "variant": choose(rng, ("open", "closed", "display")),
        "turn": front(rng, 30),
        "scale": 1.0,
        "pattern": choose(rng, ("plain", "plain", "speckle", "bands")),
        "measures": [round(float(m), 4) for m in measures],
    }


def plant_details(rng, setting):
    return {
        "variant": choose(rng, ("snake", "bush", "cactus", "palm", "flowering")),
        "pattern": choose(rng, PATTERNS),
        "colours": two(rng) if rng.random() < 0.6 else ["#b0623c", "#9a5230"],
        "pot": choose(rng, ("tapered", "round")),
        "green": choose(rng, ("#3f7a35", "#55863a", "#2f6b3c", "#6f9a4a")),
        "blossom": choose(rng, COLOURS[:10]),
        "scale": round(float(rng.uniform(0.8, 1.1)), 3),
    }


def vase_details(rng, setting):
    details = {
        "variant": choose(rng, ("classic", "bottle", "cylinder", "amphora", "flared")),
        "pattern": choose(rng, PATTERNS),
        "size": 0.05,
        "scale": round(float(rng.uniform(0.75, 1.0)), 3),
    }
    if rng.random() < 0.55:
        details["flowers"] = choose(rng, ("tulips", "daisies", "roses"))
        details["blossom"] = choose(rng, BLOSSOMS)
    elif details["variant"] in ("cylinder", "flared"):  # empty, they could be cups
        details |= {"flowers": "tulips", "blossom": "#e9bd3c"}
    return details


def bowl_details(rng, setting):
    details = {
        "variant": choose(rng, ("deep", "wide", "footed", "wooden")),
        "pattern": choose(rng, PATTERNS),
    }
    if details["variant"] == "wooden":
        details["colours"] = [choose(rng, WOODS[:4]), "#3a3a3c"]
    if rng.random() < 0.6:
        details["content"] = choose(rng, ("soup", "cereal"))
        details["food"] = choose(rng, ("#c8642c", "#b58a3c", "#8f9a3c", "#c9a36a", "#a8502e"))
    return details


def bottle_details(rng, setting):
    variant = choose(rng, ("wine", "wine", "beer", "sauce", "water"))
    body = {
        "wine": ("#1f3a24", "#3b4a1c", "#2a1c14", "#20262c", "#7f9a6a"),
        "beer": ("#4a2710", "#1f4a2c", "#5a3416"),
        "sauce": ("#b52a1e", "#d9a822", "#3f6b2a", "#e8e0d0", "#3a2418"),
        "water": ("#eaf4f7",),
    }[variant]
    return {
        "variant": variant,
        "colours": [
            choose(rng, body),
            choose(rng, ("#f0ece2", "#e9dcc0", "#d9d4c8", *COLOURS[:6])),
        ],
        "pattern": choose(rng, ("plain", "plain", "bands")),
        "accent": choose(rng, COLOURS),
        "cap": choose(rng, COLOURS),
    }


DETAILS = {
    "apple": lambda rng, s: {
        "variant": choose(rng, ("plain", "leaf")),
        "colours": list(choose(rng, PALETTES["apple"])),
    },
    "banana": lambda rng, s: {
        "variant": choose(rng, ("single", "pair", "bunch", "bunch")),
        "colours": list(choose(rng, PALETTES["banana"])),
    },
    "bench": lambda rng, s: {
        "variant": choose(rng, ("park", "park", "rustic", "backless")), "turn": front(rng, 30),
        "scale": 1.0,
        "colours": [choose(rng, WOODS), choose(rng, ("#2f3336", "#3f4a44", "#8f8d88", "#5a3a26"))],
    },
    "book": book_details,
    "bottle": bottle_details,
    "bowl": bowl_details,
    "chair": lambda rng, s: {
        "variant": choose(rng, ("slats", "rungs", "shell", "upholstered", "metal")),
        "turn": front(rng, 50), "scale": 1.0,
        "colours": [choose(rng, (*WOODS, *COLOURS[:6])), choose(rng, (*COLOURS, *WOODS))],
    },
    "clock": clock_details,
    "cup": lambda rng, s: {
        "variant": choose(rng, ("mug", "mug", "tea", "tall", "paper")),
        "pattern": choose(rng, PATTERNS),
        "drink": choose(rng, ("#2b1508", "#7a4a22", "#a8601c", "#4f2f18")),
        "turn": float(choose(rng, (-40, -15, 10, 30, 150, 175, 200))),
    },
    "donut": lambda rng, s: {
        "variant": choose(rng, ("sprinkles", "sprinkles", "plain", "drizzle", "sugar")),
        "colours": list(choose(rng, PALETTES["donut"])),
    },
    "orange": lambda rng, s: {
        "variant": choose(rng, ("whole", "whole", "whole", "leaf", "half")),
        "colours": [choose(rng, ("#e8801a", "#e0701c", "#ee9424", "#d9681e"))],
        "turn": front(rng, 60),
    },
    "potted plant": plant_details,
    "sports ball": ball_details,
    "stop sign": lambda rng, s: {
        "variant": choose(rng, ("steel", "steel", "wooden")), "turn": front(rng, 30), "scale": 1.0,
        "colours": ["#b3141d", "#eeece6"], "wear": round(float(rng.uniform(0, 0.8)), 2),
    },
    "teddy bear": lambda rng, s: {
        "variant": choose(rng, ("bow", "scarf", "plain")), "turn": front(rng, 35),
        "colours": list(choose(rng, PALETTES["teddy bear"])),
        "accent": choose(rng, COLOURS), "fur": round(float(rng.uniform(0.006, 0.012)), 4),
    },
    "umbrella": lambda rng, s: {
        "variant": "lying" if s in ROOM or rng.random() < 0.6 else "parasol", "scale": 1.0,
        "pattern": choose(rng, ("plain", "stripes", "stripes", "bands", "twotone")),
        "turn": round(float(rng.uniform(-60, 60)), 1), "grip": choose(rng, WOODS),
    },
    "vase": vase_details,
    "wine glass": lambda rng, s: {
        "variant": choose(rng, ("red", "white", "flute", "wide")),
        "fill": round(float(rng.uniform(0.3, 0.6)), 2),
        **({"drink": choose(rng, WINES)} if rng.random() < 0.75 else {}),
    },
}  # fmt: skip

REPEAT = {
    "apple": 4,
    "orange": 4,
    "donut": 4,
    "cup": 2,
    "bowl": 2,
    "bottle": 3,
    "wine glass": 2,
    "sports ball": 2,
    "vase": 2,
}
"""Up to how many of a category stand together when it is alone in the photo."""


def books(rng, setting) -> list[dict]:
    """One book, a stack of flat ones, or a row of standing ones."""
    kind = choose(rng, ("one", "one", "stack", "row", "row"))
    if kind == "one":
        return [item("book", rng, setting)]
    many = [item("book", rng, setting) for _ in range(int(rng.integers(3, 6)))]
    if kind == "stack":
        height = 0.0
        for entry in sorted(many, key=lambda e: -e["measures"][1]):
            entry |= {"variant": "closed", "height": round(height, 4), "turn": front(rng, 14)}
            height += entry["measures"][2] + 0.0012
        return many
    x = 0.0
    for entry in many:
        thick = entry["measures"][2]
        entry |= {"variant": "standing", "turn": 0.0, "at": [round(x + thick / 2, 4), 0.0]}
        x += thick + 0.0016
    return many


def radius(entry: dict) -> float:
    """Ground an instance needs, metres."""
    special = {
        "leaf": 0.058,
        "tennis": 0.036,
        "baseball": 0.04,
        "beach": 0.175,
        "wine": 0.042,
        "parasol": 0.3,
        "deep": 0.082,
    }
    base = special.get(entry["variant"], RADIUS[entry["category"]])
    if entry["category"] == "potted plant":
        base = {"palm": 0.3, "bush": 0.2, "snake": 0.13, "cactus": 0.095, "flowering": 0.17}[
            entry["variant"]
        ]
    if entry["category"] == "vase" and entry.get("flowers"):
        base = 0.18
    return base * entry["scale"]


def arrange(entries: list[dict], rng) -> None:
    """Put instances side by side, some partly behind others, without touching."""
    done = [e for e in entries[:1]]
    for entry in entries[1:]:
        best = None
        for _ in range(200):
            other = choose(rng, done)
            gap = (radius(entry) + radius(other)) * rng.uniform(1.0, 1.2)
            angle = rng.uniform(-0.6, np.pi + 0.6)
            at = np.array(other["at"]) + gap * np.array([np.cos(angle), 0.75 * np.sin(angle)])
            free = all(np.hypot(*(at - e["at"])) >= radius(entry) + radius(e) for e in done)
            middle = np.mean([e["at"] for e in done], axis=0)
            if free and (
                best is None or np.hypot(*(at - middle)) < np.hypot(*(best - middle)) * 0.9
            ):
                best = at
                if rng.random() < 0.4:
                    break
        entry["at"] = [round(float(v), 4) for v in best]
        done.append(entry)


def group(categories: tuple[str, ...], rng, setting: str) -> list[dict]:
    """The instances of a photo."""
    if len(categories) == 1:
        return alone(categories[0], rng, setting)
    entries = [item(category, rng, setting) for category in categories]
    for entry in entries:
        if entry.get("on"):  # in company a clock stands
            entry |= {"variant": "alarm", "at": [0.0, 0.0], "scale": 1.2}
            del entry["on"]
        if entry["category"] == "stop sign":
            entry["turn"] = front(rng, 15)
    if entries[0]["category"] in ("chair", "bench") and entries[1]["category"] in ON_SEAT:
        seat(entries[0], entries[1], rng)
        return entries
    for small in ("apple", "orange", "donut"):
        if small in categories and rng.random() < 0.6:
            entries += [item(small, rng, setting) for _ in range(int(rng.integers(1, 3)))]
    if any(e["category"] in ("chair", "bench", "stop sign", "umbrella") for e in entries):
        enlarge(entries, rng)
    entries.sort(key=lambda e: -radius(e))
    arrange(entries, rng)
    return entries


def alone(category: str, rng, setting: str) -> list[dict]:
    """One or several instances of one category."""
    if category == "book":
        return books(rng, setting)
    many = 1 + int(rng.integers(0, REPEAT.get(category, 1)))
    entries = [item(category, rng, setting) for _ in range(many)]
    if entries[0].get("on"):
        return entries[:1]
    arrange(entries, rng)
    return entries


def seat(base: dict, guest: dict, rng) -> None:
    """Put the guest on the seat of a chair or a bench."""
    if base["variant"] == "shell":  # too round to put things on
        base["variant"] = "slats"
    guest["height"] = SEAT.get(base["variant"], SEAT[base["category"]])
    ahead = np.radians(base["turn"])
    at = [round(0.05 * float(np.sin(ahead)), 4), round(-0.05 * float(np.cos(ahead)), 4)]
    guest |= {"on": 0, "turn": round(base["turn"] + front(rng, 12), 1), "at": at}
    if guest["category"] == "book":
        guest["variant"] = "closed"
    if guest["category"] == "teddy bear":
        guest["scale"] = 1.25


def enlarge(entries: list[dict], rng) -> None:
    """Small things are the larger kinds of them where they share a photo with large ones."""
    for entry in entries:
        if entry["category"] == "potted plant":
            entry["scale"] = 1.9
        if entry["category"] == "teddy bear":
            entry["scale"] = 1.6
        if entry["category"] == "sports ball":
            entry |= {"variant": choose(rng, ("beach", "soccer", "basketball")), "scale": 1.2}
            if entry["variant"] == "basketball":
                entry["colours"] = ["#c8642c", "#1c1c1e"]


def camera(categories, entries, setting, rng) -> dict:
    """A viewpoint, a lens, and how much of the frame the objects fill."""
    big = any(c in ("chair", "bench", "stop sign", "umbrella") for c in categories)
    if setting == "shelf":
        elevation, azimuth = rng.uniform(0, 14), rng.uniform(-18, 18)
    elif "stop sign" in categories:
        elevation, azimuth = rng.uniform(-6, 6), rng.uniform(-20, 20)
    elif big:
        elevation, azimuth = rng.uniform(4, 24), rng.uniform(-25, 25)
    else:
        elevation, azimuth = rng.uniform(8, 42), rng.uniform(-28, 28)
    hung = entries[0].get("on") == "wall"
    if hung:
        elevation = rng.uniform(-14, 6)
    tall = any(
        c in ("bottle", "vase", "wine glass", "potted plant", "stop sign", "teddy bear", "chair")
        for c in categories
    )
    portrait = tall and len(entries) == 1 and rng.random() < 0.6
    fill = rng.uniform(0.68, 0.96) if len(categories) == 1 else rng.uniform(0.86, 1.0)
    if categories == ("donut",):  # small, and its hole must show
        fill, elevation = max(fill, 0.9), max(elevation, 26.0)
    if categories == ("wine glass",):  # from above, nothing shows what it is
        elevation = min(elevation, 16.0)
    if categories == ("stop sign",):
        fill = rng.uniform(0.5, 0.82)
    return {
        "size": [240, 320] if portrait else [320, 240],
        "azimuth": round(float(azimuth), 1),
        "elevation": round(float(elevation), 1),
        "lens": choose(rng, (28, 35, 50, 70) if big else (38, 50, 65, 85)),
        "fill": round(float(fill), 2),
        "shift": [round(float(v), 3) for v in rng.uniform(-0.05, 0.05, 2)],
        "fstop": choose(rng, (3.5, 5.6, 8.0) if big else (11.0, 16.0, 22.0)),
        "exposure": round(float(rng.uniform(-0.3, 0.3)), 2),
        "grain": round(float(rng.uniform(1.2, 3.0)), 1),
    }


def lighting(setting: str, rng) -> dict:
    """Daylight outdoors; a window or a lamp indoors."""
    if setting in OUTDOOR:
        kind = choose(rng, ("sun", "sun", "overcast", "golden"))
        limit = 75 if setting in ("brick", "patio", "street") else 120
        return {
            "kind": kind,
            "from": round(float(rng.uniform(-limit, limit)), 1),
            "elevation": round(float(rng.uniform(30, 62)), 1),
        }
    return {
        "kind": choose(rng, ("window", "window", "lamp")),
        "from": round(float(rng.uniform(25, 75) * choose(rng, (-1, 1))), 1),
    }


def scene(number: int, categories: tuple[str, ...], setting: str, rng) -> dict:
    """One photo's entry."""
    entries = group(categories, rng, setting)
    reach = (
        max(e["at"][1] + radius(e) for e in entries if e.get("on") != "wall")
        if not entries[0].get("on")
        else 0.3
    )
    big = reach > 0.3
    margin = {
        "counter": (0.1, 0.3), "shelf": (0.03, 0.1), "cloth": (0.5, 1.0), "carpet": (0.25, 1.3),
        "wood_floor": (0.25, 1.3), "brick": (0.15, 0.9), "patio": (0.5, 2.5), "street": (1.5, 4.0),
        "lawn": (1.5, 4.0), "sand": (1.0, 3.0), "gravel": (1.5, 4.0),
    }[setting]  # fmt: skip
    return {
        "id": number,
        "setting": setting,
        "wall": round(float(reach + rng.uniform(*margin) * (1.8 if big else 1.0)), 3),
        "seed": int(rng.integers(1, 10**6)),
        "light": lighting(setting, rng),
        "camera": camera(categories, entries, setting, rng),
        "objects": entries,
    }


def table() -> list[dict]:
    """All photos, one after another."""
    rng = np.random.default_rng(SEED)
    plans = []
    for category, settings in SETTINGS.items():
        order = rng.permutation(len(settings))
        plans += [((category,), settings[order[k % len(order)]]) for k in range(SINGLES)]
    for k in range(SHARED):
        categories = GROUPS[k % len(GROUPS)]
        shared = [s for s in SETTINGS[categories[0]] if all(s in SETTINGS[c] for c in categories)]
        plans.append((categories, choose(rng, shared)))
    return [
        scene(number, categories, setting, np.random.default_rng([SEED, number]))
        for number, (categories, setting) in enumerate(plans, start=1)
    ]


def dump(scenes: list[dict]) -> str:
    """JSON with one line per object, so that a change shows as one line in a diff."""
    lines = []
    for entry in scenes:
        head = {k: v for k, v in entry.items() if k != "objects"}
        things = ",\n  ".join(json.dumps(o) for o in entry["objects"])
        lines.append(json.dumps(head)[:-1] + ', "objects": [\n  ' + things + "]}")
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> None:
    (Path(__file__).resolve().parent / "scenes.json").write_text(dump(table()), encoding="utf-8")


if __name__ == "__main__":
    main()
