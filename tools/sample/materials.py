"""Materials from noise, waves and bricks on Blender's Principled shader; no image is read.

Colours are sRGB hex strings such as `#d94f30`. Patterns use the object's own coordinates in
metres, so a scale means the same on every object.
"""

from __future__ import annotations

import bpy


def linear(colour: str) -> tuple[float, float, float, float]:
    """Linear RGBA of an sRGB hex colour."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return (*[c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels], 1.0)


def shade(colour: str, factor: float) -> str:
    """A hex colour made darker (factor < 1) or lighter (factor > 1)."""
    channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    if factor > 1:
        channels = [255 - (255 - c) / factor for c in channels]
    else:
        channels = [c * factor for c in channels]
    return "#" + "".join(f"{int(round(c)):02x}" for c in channels)


def node(tree, kind: str, inputs: dict | None = None, **attributes):
    """Add a shader node; an input is set to a value, or linked when given a socket."""
    result = tree.nodes.new(f"ShaderNode{kind}")
    for key, value in attributes.items():
        setattr(result, key, value)
    for key, value in (inputs or {}).items():
        if isinstance(value, bpy.types.NodeSocket):
            tree.links.new(value, result.inputs[key])
        else:
            result.inputs[key].default_value = value
    return result


def principled(name: str, colour="#808080", roughness=0.5, **inputs):
    """A material; returns it with its node tree and its Principled node.

    Further inputs are given in snake case: `transmission_weight=1.0`.
    """
    material = bpy.data.materials.new(name)
    tree = material.node_tree
    shader = tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = linear(colour)
    shader.inputs["Roughness"].default_value = roughness
    for key, value in inputs.items():
        label = "IOR" if key == "ior" else key.replace("_", " ").title()
        shader.inputs[label].default_value = linear(value) if isinstance(value, str) else value
    return material, tree, shader


def noise(tree, scale, *, detail=3.0, stretch=(1, 1, 1), roughness=0.55):
    """Output socket of a noise in object coordinates, stretched per axis."""
    coordinates = node(tree, "TexCoord").outputs["Object"]
    mapped = node(tree, "Mapping", {"Vector": coordinates, "Scale": stretch}).outputs[0]
    inputs = {"Vector": mapped, "Scale": scale, "Detail": detail, "Roughness": roughness}
    return node(tree, "TexNoise", inputs).outputs[0]


def math(tree, operation: str, a, b=0.0):
    """Output socket of a scalar operation."""
    return node(tree, "Math", {0: a, 1: b}, operation=operation).outputs[0]


def mix(tree, factor, a, b):
    """Output socket of a colour mix; a and b are hex colours or sockets."""
    a, b = (linear(c) if isinstance(c, str) else c for c in (a, b))
    return node(tree, "Mix", {0: factor, 6: a, 7: b}, data_type="RGBA").outputs[2]


def ramp(tree, value, low: float, high: float):
    """Output socket that rises from 0 at `low` to 1 at `high`."""
    inputs = {"Value": value, "From Min": low, "From Max": high}
    return node(tree, "MapRange", inputs, clamp=True).outputs[0]


def bump(tree, shader, height, strength: float, distance: float) -> None:
    """Tilt a shader's normals by a height socket."""
    inputs = {"Height": height, "Strength": strength, "Distance": distance}
    tree.links.new(node(tree, "Bump", inputs).outputs[0], shader.inputs["Normal"])


def surface(
    colour: str,
    second: str | None = None,
    *,
    scale=20.0,
    contrast=0.25,
    stretch=(1, 1, 1),
    roughness=0.5,
    bumps=0.0,
    bump_scale=None,
    **inputs,
):
    """A mottled material: noise mixes two colours (by default the first and a darker one)."""
    material, tree, shader = principled("surface", colour, roughness, **inputs)
    value = noise(tree, scale, stretch=stretch)
    mixed = mix(
        tree,
        ramp(tree, value, 0.5 - contrast, 0.5 + contrast),
        colour,
        second or shade(colour, 0.72),
    )
    tree.links.new(mixed, shader.inputs["Base Color"])
    if bumps:
        height = noise(tree, bump_scale or scale * 4, stretch=stretch)
        bump(tree, shader, height, bumps, 0.3 / (bump_scale or scale * 4))
    return material


def wood(colour: str, *, scale=12.0, along="x", roughness=0.45):
    """Grain along an axis."""
    stretch = [1 / 12 if axis == along else 1.0 for axis in "xyz"]
    return surface(
        colour,
        shade(colour, 0.5),
        scale=scale * 3,
        contrast=0.22,
        stretch=stretch,
        roughness=roughness,
        bumps=0.25,
    )


def glass(colour="#ffffff", roughness=0.0, ior=1.45):
    """Clear or tinted glass."""
    return principled("glass", colour, roughness, transmission_weight=1.0, ior=ior)[0]


def metal(colour="#c8c8c8", roughness=0.25):
    """Metal with slightly uneven polish."""
    return surface(
        colour, shade(colour, 0.8), scale=60, roughness=roughness, metallic=1.0, bumps=0.05
    )


def painted(roughness=0.5, bumps=0.0, bump_scale=200.0, **inputs):
    """A material whose colour is the vertex attribute `paint`."""
    material, tree, shader = principled("painted", roughness=roughness, **inputs)
    colour = node(tree, "Attribute", attribute_name="paint").outputs["Color"]
    tree.links.new(colour, shader.inputs["Base Color"])
    if bumps:
        bump(tree, shader, noise(tree, bump_scale), bumps, 0.3 / bump_scale)
    return material


def patterned(pattern: str, colours, *, size=0.02, roughness=0.3, count=12, bumps=0.0, **inputs):
    """`plain`, `bands`, `stripes`, `checks`, `dots`, `speckle` or `twotone` in two colours.

    `size` is the period in metres; `count` the number of stripes round z.
    """
    first, second = colours[0], colours[1 % len(colours)]
    material, tree, shader = principled("patterned", first, roughness, **inputs)
    xyz = node(tree, "SeparateXYZ", {0: node(tree, "TexCoord").outputs["Object"]}).outputs
    around = math(tree, "MULTIPLY", math(tree, "ARCTAN2", xyz[1], xyz[0]), count / 6.2831853)
    upward = math(tree, "DIVIDE", xyz[2], size)

    def alternate(value):
        return math(tree, "GREATER_THAN", math(tree, "FRACT", value), 0.5)

    if pattern == "bands":
        factor = alternate(upward)
    elif pattern == "stripes":
        factor = alternate(around)
    elif pattern == "checks":
        total = math(tree, "ADD", alternate(upward), alternate(around))
        factor = math(tree, "COMPARE", total, 1.0)
    elif pattern == "dots":
        inputs_ = {"Vector": node(tree, "TexCoord").outputs["Object"], "Scale": 1 / size}
        distance = node(tree, "TexVoronoi", {**inputs_, "Randomness": 0.35}).outputs["Distance"]
        factor = math(tree, "LESS_THAN", distance, 0.36)
    elif pattern == "speckle":
        factor = ramp(tree, noise(tree, 3 / size, detail=2), 0.6, 0.64)
    elif pattern == "twotone":
        factor = math(tree, "GREATER_THAN", math(tree, "ADD", upward, noise(tree, 40)), 2.6)
    else:
        factor = math(tree, "MULTIPLY", noise(tree, 25), 0.12)
    tree.links.new(mix(tree, factor, first, second), shader.inputs["Base Color"])
    if bumps:
        bump(tree, shader, noise(tree, 300), bumps, 0.001)
    return material


def bricks(colours, mortar, *, width, height, gap, roughness=0.8, offset=0.5, axes="xz", bumps=0.6):
    """Bricks, tiles or planks: cells of `width` × `height` metres, `gap` metres of mortar.

    Each cell's colour lies between the two colours; `axes` names the plane they lie in.
    """
    material, tree, shader = principled("bricks", colours[0], roughness)
    xyz = node(tree, "SeparateXYZ", {0: node(tree, "TexCoord").outputs["Object"]}).outputs
    plane = ["xyz".index(axis) for axis in axes]
    vector = node(tree, "CombineXYZ", {0: xyz[plane[0]], 1: xyz[plane[1]]}).outputs[0]
    inputs = {
        "Vector": vector,
        "Color1": linear(colours[0]),
        "Color2": linear(colours[1]),
        "Mortar": linear(mortar),
        "Scale": 1.0,
        "Mortar Size": gap,
        "Mortar Smooth": 0.3,
        "Brick Width": width,
        "Row Height": height,
    }
    brick = node(tree, "TexBrick", inputs, offset=offset)
    grain = noise(tree, 18, stretch=[0.12 if a == axes[0] and offset != 0.5 else 1 for a in "xyz"])
    shaded = mix(tree, ramp(tree, grain, 0.3, 0.75), brick.outputs["Color"], shade(colours[0], 0.6))
    coloured = mix(tree, 0.4, brick.outputs["Color"], shaded)
    tree.links.new(coloured, shader.inputs["Base Color"])
    relief = math(tree, "SUBTRACT", math(tree, "MULTIPLY", grain, 0.2), brick.outputs["Fac"])
    bump(tree, shader, relief, bumps, gap)
    return material


def leaf(colour: str, *, roughness=0.45):
    """A leaf: two greens, thin enough to let some light through."""
    return surface(
        colour,
        shade(colour, 0.6),
        scale=25,
        roughness=roughness,
        subsurface_weight=0.15,
        subsurface_scale=0.01,
    )


def fabric(colour: str, second: str | None = None, *, thread=0.002, scale=8.0):
    """Woven cloth."""
    return surface(
        colour,
        second,
        scale=scale,
        contrast=0.2,
        roughness=0.9,
        bumps=0.6,
        bump_scale=0.5 / thread,
        sheen_weight=0.3,
    )
