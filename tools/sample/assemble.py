"""Annotations, contact sheet and validation, from the rendered photos and their masks.

    python assemble.py

Stops with one sentence when a photo or a mask is missing or does not belong to the scene table.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from render import MASKS, PHOTOS, digest

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parents[1] / "data" / "sample"
CATEGORIES = {
    "stop sign": (13, "outdoor"),
    "bench": (15, "outdoor"),
    "umbrella": (28, "accessory"),
    "sports ball": (37, "sports"),
    "bottle": (44, "kitchen"),
    "wine glass": (46, "kitchen"),
    "cup": (47, "kitchen"),
    "bowl": (51, "kitchen"),
    "banana": (52, "food"),
    "apple": (53, "food"),
    "orange": (55, "food"),
    "donut": (60, "food"),
    "chair": (62, "furniture"),
    "potted plant": (64, "furniture"),
    "book": (84, "indoor"),
    "clock": (85, "indoor"),
    "vase": (86, "indoor"),
    "teddy bear": (88, "indoor"),
}
"""COCO's ids and supercategories of the categories shown."""
INFO = {
    "description": "Rendered sample in COCO's format",
    "version": "1.0",
    "year": 2026,
    "contributor": "Image search tutorial",
}
LICENCE = {
    "id": 1,
    "name": "CC0 1.0 Universal",
    "url": "https://creativecommons.org/publicdomain/zero/1.0/",
}
SMALLEST = 0.003
"""Share of the frame below which an object is not annotated."""
SHEET_CELL = 100
"""Width in pixels of a photo on the contact sheet."""


def annotations_of(scene: dict, index: np.ndarray) -> list[dict]:
    """COCO annotations from the object index of every pixel `[height, width]`; ids come later."""
    found = []
    for number, entry in enumerate(scene["objects"], start=1):
        seen = index == number
        if seen.sum() < SMALLEST * seen.size:
            continue
        code = rle.encode(np.asfortranarray(seen.astype(np.uint8)))
        found.append(
            {
                "image_id": scene["id"],
                "category_id": CATEGORIES[entry["category"]][0],
                "bbox": [float(v) for v in rle.toBbox(code)],
                "area": int(rle.area(code)),
                "segmentation": {"size": code["size"], "counts": code["counts"].decode()},
                "iscrowd": 0,
            }
        )
    return found


def read_mask(scene: dict) -> np.ndarray:
    """The object index of every pixel `[height, width]`; stops unless it is this scene's."""
    name = f"{scene['id']:012d}"
    photo, mask, mark = PHOTOS / f"{name}.jpg", MASKS / f"{name}.png", MASKS / f"{name}.sha256"
    if not (photo.exists() and mask.exists() and mark.exists()):
        sys.exit(f"scene {scene['id']} is not rendered: run render.py first")
    if mark.read_text(encoding="utf-8") != digest(scene):
        sys.exit(f"scene {scene['id']} has changed since it was rendered: run render.py again")
    with Image.open(mask) as picture:
        return np.asarray(picture)


def assemble(scenes: list[dict]) -> dict:
    """The COCO document of all scenes."""
    images, annotations = [], []
    for scene in scenes:
        index = read_mask(scene)
        height, width = index.shape
        image = {"id": scene["id"], "file_name": f"{scene['id']:012d}.jpg"}
        images.append(image | {"width": width, "height": height, "license": 1})
        found = annotations_of(scene, index)
        if not found:
            sys.exit(f"scene {scene['id']} shows no object: change its camera in scenes.json")
        annotations += found
    used = {a["category_id"] for a in annotations}
    return {
        "info": INFO,
        "licenses": [LICENCE],
        "images": images,
        "annotations": [{"id": k, **a} for k, a in enumerate(annotations, start=1)],
        "categories": [
            {"supercategory": kind, "id": number, "name": name}
            for name, (number, kind) in CATEGORIES.items()
            if number in used
        ],
    }


def contact_sheet(images: list[dict], target: Path, columns: int = 16) -> None:
    """All photos, small, in one JPEG of at most 400 KB."""
    cell = SHEET_CELL, SHEET_CELL * 3 // 4
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * cell[0], rows * cell[1]), "white")
    for k, image in enumerate(images):
        with Image.open(PHOTOS / image["file_name"]) as photo:
            photo.thumbnail((cell[0] - 2, cell[1] - 2))
            corner = [(k % columns) * cell[0], (k // columns) * cell[1]]
            corner[0] += (cell[0] - photo.width) // 2
            sheet.paste(photo, tuple(corner))
    for quality in range(90, 30, -5):
        sheet.save(target, quality=quality, optimize=True)
        if target.stat().st_size <= 400_000:
            break


def summary(document: dict) -> str:
    """Photos per category, and how many show several categories."""
    names = {c["id"]: c["name"] for c in document["categories"]}
    shown: dict[int, set[str]] = {}
    for annotation in document["annotations"]:
        name = names[annotation["category_id"]]
        shown.setdefault(annotation["image_id"], set()).add(name)
    counts = {name: sum(name in s for s in shown.values()) for name in names.values()}
    several = sum(len(s) > 1 for s in shown.values())
    size = sum(f.stat().st_size for f in PHOTOS.glob("*.jpg"))
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    return f"{len(shown)} photos ({size / 1e6:.2f} MB), {several} of several categories\n{listed}"


def main() -> None:
    scenes = json.loads((HERE / "scenes.json").read_text(encoding="utf-8"))
    document = assemble(scenes)
    target = SAMPLE / "annotations" / "instances_sample.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(document, separators=(",", ":")) + "\n", encoding="utf-8")
    listed = {image["file_name"] for image in document["images"]}
    stray = sorted(p.name for p in PHOTOS.glob("*.jpg") if p.name not in listed)
    if stray:
        sys.exit(f"{stray[0]} is in no scene: delete it, or add its scene to scenes.json")
    COCO(str(target))
    contact_sheet(document["images"], SAMPLE / "contact_sheet.jpg")
    print(summary(document))


if __name__ == "__main__":
    main()
