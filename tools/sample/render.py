"""Render the photos of the scene table with Cycles, and keep each one's object masks.

    python render.py [--only ID ...]

A photo is skipped when it was rendered from the same entry before, unless `--only` names it.
Masks go to `build/sample/`, photos to `data/sample/sample/`; `assemble.py` makes the annotations.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np
import objects
import OpenEXR
import stages
from geometry import points_of, rotation, transform
from mathutils import Matrix, Vector
from mathutils.bvhtree import BVHTree
from PIL import Image

HERE = Path(__file__).resolve().parent
PHOTOS = HERE.parents[1] / "data" / "sample" / "sample"
MASKS = HERE.parents[1] / "build" / "sample"
LARGEST = 22_500
"""Bytes a photo may take; the JPEG quality is lowered from 94 until it fits."""


def digest(scene: dict) -> str:
    """What tells one version of a scene's entry from another."""
    return hashlib.sha256(json.dumps(scene, sort_keys=True).encode()).hexdigest()


def set_down(entry: dict, parts, support: float, wall: float) -> float:
    """Turn, scale and move an instance until its lowest point rests on its support.

    Returns how far it was raised, metres.
    """
    size = entry.get("scale", 1.0)
    turn = rotation("z", np.radians(entry.get("turn", 0.0))) * size
    for part in parts:
        transform(part, turn, (0, 0, 0))
    everything = np.concatenate([points_of(p) for p in parts if p.type == "MESH"])
    shift = np.array([*entry["at"], 0.0])
    if entry.get("on") == "wall":
        shift = np.array([entry["at"][0], wall - everything[:, 1].max() - 0.002, entry["at"][1]])
    else:
        shift[2] = support - everything[:, 2].min()
    for part in parts:
        # moved as a whole, so that patterns stay with the object
        part.matrix_world = Matrix.Translation(Vector(shift))
    return float(shift[2])


def world_points(part) -> np.ndarray:
    """A part's points in the scene `[n, 3]`."""
    return points_of(part) + np.array(part.matrix_world.translation)


def place_objects(scene: dict) -> list[list[bpy.types.Object]]:
    """Build and set down every instance; instance i gets object index i + 1.

    An entry's `height` counts from the ground, or with `on`: i from where instance i stands.
    """
    instances, raised = [], []
    for number, entry in enumerate(scene["objects"]):
        parts = objects.build(entry)
        base = raised[entry["on"]] if isinstance(entry.get("on"), int) else 0.0
        raised.append(set_down(entry, parts, base + entry.get("height", 0.0), scene["wall"]))
        for part in parts:
            part.pass_index = number + 1
        instances.append(parts)
    return instances


def check_apart(scene: dict, instances) -> None:
    """Stop when two instances go through each other."""
    bpy.context.view_layer.update()
    graph = bpy.context.evaluated_depsgraph_get()
    trees = [[tree(p, graph) for p in parts if p.type == "MESH"] for parts in instances]
    for i, first in enumerate(trees):
        for j in range(i):
            if any(a.overlap(b) for a in first for b in trees[j]):
                names = [scene["objects"][k]["category"] for k in (j, i)]
                sys.exit(
                    f"scene {scene['id']}: {names[0]} and {names[1]} intersect; move one of them"
                )


def tree(part, graph) -> BVHTree:
    """A part's faces where they stand, for finding what goes through them."""
    data = part.evaluated_get(graph).data
    points = [part.matrix_world @ vertex.co for vertex in data.vertices]
    return BVHTree.FromPolygons(points, [face.vertices for face in data.polygons])


def aim(scene: dict, points: np.ndarray) -> np.ndarray:
    """Add the camera so that the points fill the wanted share of the frame; return its place."""
    entry, render = scene["camera"], bpy.context.scene.render
    data = bpy.data.cameras.new("camera")
    data.lens = entry["lens"]
    data.sensor_fit = "AUTO"
    pixels = np.array([render.resolution_x, render.resolution_y])
    half = pixels / pixels.max() * data.sensor_width / 2 / data.lens
    azimuth, elevation = np.radians(entry["azimuth"]), np.radians(entry["elevation"])
    level = np.cos(elevation)
    back = np.array([np.sin(azimuth) * level, -np.cos(azimuth) * level, np.sin(elevation)])
    right = np.cross([0, 0, 1.0], back)
    right /= np.linalg.norm(right)
    axes = np.array([right, np.cross(back, right), back])
    centre, distance = framed(points, axes, half, entry["fill"])
    eye = centre + back * distance
    eye[2] = max(eye[2], 0.03)
    camera = bpy.data.objects.new("camera", data)
    camera.matrix_world = Matrix.Translation(Vector(eye)) @ Matrix(axes.T.tolist()).to_4x4()
    data.shift_x, data.shift_y = entry["shift"]
    data.clip_start = 0.01
    data.dof.use_dof = True
    data.dof.focus_distance = distance - 0.35 * float(np.ptp(points @ back)) / 2
    data.dof.aperture_fstop = entry["fstop"]
    bpy.context.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return eye


def framed(points, axes, half, fill: float) -> tuple[np.ndarray, float]:
    """What the camera looks at, and from how far, so that `points [n, 3]` fill the frame.

    axes: to the right, up and back `[3, 3]`; half: half the frame at distance 1 `[2]`.
    """
    right, up, back = axes
    centre = (points.min(0) + points.max(0)) / 2
    for _ in range(3):  # centre what is seen, then set the distance
        offset = points - centre
        across, along = offset @ right, offset @ up
        depth = -(offset @ back)
        sideways = np.maximum(np.abs(across) / half[0], np.abs(along) / half[1]) / fill
        distance = float((sideways - depth).max())
        x, y = across / (distance + depth), along / (distance + depth)
        middle = (x.min() + x.max()) / 2 * right + (y.min() + y.max()) / 2 * up
        centre = centre + distance * middle
    return centre, distance


def prepare(scene: dict, factor: float, samples: int) -> None:
    """An empty Blender scene with the settings of Cycles."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    target = bpy.context.scene
    target.world = bpy.data.worlds.new("world")
    target.render.engine = "CYCLES"
    width, height = scene["camera"]["size"]
    target.render.resolution_x, target.render.resolution_y = (
        int(width * factor),
        int(height * factor),
    )
    cycles = target.cycles
    cycles.device, cycles.samples, cycles.seed = "CPU", samples, scene["seed"]
    cycles.use_denoising, cycles.use_adaptive_sampling = True, True
    cycles.adaptive_threshold = 0.05
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces = 10, 2, 3
    cycles.transmission_bounces, cycles.transparent_max_bounces = 10, 8
    cycles.caustics_reflective, cycles.caustics_refractive = False, True
    cycles.blur_glossy, cycles.sample_clamp_indirect = 1.0, 6.0
    target.view_layers[0].use_pass_object_index = True
    target.render.image_settings.media_type = "MULTI_LAYER_IMAGE"
    target.render.image_settings.file_format = "OPEN_EXR_MULTILAYER"
    target.render.image_settings.color_depth = "32"


def draw(scene: dict, factor: float, samples: int) -> tuple[Image.Image, np.ndarray]:
    """The photo, and the object index of every pixel `[height, width]`."""
    prepare(scene, factor, samples)
    rng = np.random.default_rng(scene["seed"])
    instances = place_objects(scene)
    check_apart(scene, instances)
    framed = [p for parts in instances for p in parts if p.get("frame", True) and p.type == "MESH"]
    points = np.concatenate([world_points(p) for p in framed])
    everything = [
        np.concatenate([world_points(p) for p in parts if p.type == "MESH"]) for parts in instances
    ]
    bodies = [world_points(p) for parts in instances for p in parts if p.type == "MESH"]
    feet = np.array([foot(p) for p in bodies if p[:, 2].min() < 0.04] or [(0.0, 0.0, 0.0)])
    eye = aim(scene, points)
    data = bpy.context.scene.camera.data
    together = np.concatenate(everything)
    view = stages.View(together.min(0), together.max(0), feet, eye, data.angle / 2, scene["wall"])
    stages.build(scene["setting"], view, rng)
    stages.light(scene["light"], view)
    return develop(scene, rng)


def foot(points: np.ndarray) -> tuple[float, float, float]:
    """The circle an instance covers near the ground: x, y, radius."""
    near = points[points[:, 2] < points[:, 2].min() + 0.03][:, :2]
    low, high = near.min(0), near.max(0)
    return (*((low + high) / 2), float(np.min(high - low)) / 2)


def develop(scene: dict, rng) -> tuple[Image.Image, np.ndarray]:
    """Render, expose like a camera's automatic, and add a little sensor noise."""
    target = bpy.context.scene
    exr, png = MASKS / "frame.exr", MASKS / "frame.png"
    target.render.filepath = str(exr)
    bpy.ops.render.render(write_still=True)
    parts = OpenEXR.File(str(exr)).parts
    channels = {name: c for part in parts for name, c in part.channels.items()}
    colour = next(c for n, c in channels.items() if "Combined" in n).pixels[..., :3]
    index = next(c for n, c in channels.items() if "Index" in n).pixels
    index = np.rint(index.reshape(index.shape[:2])).astype(np.uint8)
    luminance = colour @ np.array([0.2126, 0.7152, 0.0722])
    middle = np.exp(np.mean(np.log(luminance + 1e-3)))
    bright = np.percentile(luminance, 98)
    gain = min(0.17 / middle, 1.7 / bright) * 2 ** scene["camera"].get("exposure", 0.0)
    target.view_settings.view_transform = "AgX"
    target.view_settings.look = "AgX - Medium High Contrast"
    target.view_settings.exposure = float(np.log2(gain))
    target.render.image_settings.media_type = "IMAGE"
    target.render.image_settings.file_format = "PNG"
    bpy.data.images["Render Result"].save_render(str(png), scene=target)
    photo = np.asarray(Image.open(png).convert("RGB"), float)
    photo += rng.normal(0, scene["camera"]["grain"], photo.shape[:2])[..., None]
    return Image.fromarray(np.clip(photo, 0, 255).astype(np.uint8)), index


def jpeg(photo: Image.Image) -> bytes:
    """The photo as JPEG, no larger than LARGEST."""
    for quality in range(94, 40, -3):
        buffer = io.BytesIO()
        photo.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", type=int, help="ids of the scenes to render")
    parser.add_argument("--size", type=float, default=1.0, help="factor on the photo's size")
    parser.add_argument("--samples", type=int, default=12, help="samples a pixel")
    parser.add_argument("--out", type=Path, help="a folder for trial renders, always drawn anew")
    arguments = parser.parse_args()
    MASKS.mkdir(parents=True, exist_ok=True)
    folder = arguments.out or PHOTOS
    folder.mkdir(parents=True, exist_ok=True)
    scenes = json.loads((HERE / "scenes.json").read_text(encoding="utf-8"))
    unknown = set(arguments.only or []) - {scene["id"] for scene in scenes}
    if unknown:
        sys.exit(f"scenes.json has no scene {min(unknown)}: name ids that it has after --only")
    for scene in scenes:
        name = f"{scene['id']:012d}"
        photo, mask, mark = folder / f"{name}.jpg", MASKS / f"{name}.png", MASKS / f"{name}.sha256"
        if arguments.only and scene["id"] not in arguments.only:
            continue
        current = digest(scene)
        wanted = arguments.out or arguments.only
        drawn = photo.exists() and mask.exists() and mark.exists()
        if not wanted and drawn and mark.read_text(encoding="utf-8") == current:
            continue
        start = time.monotonic()
        image, index = draw(scene, arguments.size, arguments.samples)
        photo.write_bytes(jpeg(image))
        if not arguments.out:
            Image.fromarray(index).save(mask)
            mark.write_text(current, encoding="utf-8")
        print(f"{name} {scene['setting']} {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    main()
