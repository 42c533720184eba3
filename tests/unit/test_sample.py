"""The bundled sample: COCO layout, masks that agree with their boxes, variety, sizes, no twins."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from helpers.settings import ROOT

SAMPLE = ROOT / "data" / "sample"
PHOTOS = SAMPLE / "sample"
COCO_NAMES = {
    13: "stop sign", 15: "bench", 28: "umbrella", 37: "sports ball", 44: "bottle",
    46: "wine glass", 47: "cup", 51: "bowl", 52: "banana", 53: "apple", 55: "orange", 60: "donut",
    62: "chair", 64: "potted plant", 84: "book", 85: "clock", 86: "vase", 88: "teddy bear",
}  # fmt: skip


@pytest.fixture(scope="module")
def coco() -> COCO:
    return COCO(str(SAMPLE / "annotations" / "instances_sample.json"))


@pytest.fixture(scope="module")
def photos(coco) -> dict[int, np.ndarray]:
    """Every listed photo, decoded, RGB uint8 [height, width, 3], by image id."""
    decoded = {}
    for image in coco.dataset["images"]:
        with Image.open(PHOTOS / image["file_name"]) as photo:
            assert photo.format == "JPEG" and photo.mode == "RGB", image["file_name"]
            decoded[image["id"]] = np.asarray(photo)
    return decoded


@pytest.fixture(scope="module")
def labels(coco) -> dict[int, set[str]]:
    """Category names shown in each photo."""
    shown = defaultdict(set)
    for annotation in coco.dataset["annotations"]:
        shown[annotation["image_id"]].add(coco.cats[annotation["category_id"]]["name"])
    return shown


def test_document_has_cocos_parts_and_categories(coco):
    assert set(coco.dataset) == {"info", "licenses", "images", "annotations", "categories"}
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == COCO_NAMES
    assert all(c["supercategory"] for c in coco.dataset["categories"])
    assert [x["id"] for x in coco.dataset["licenses"]] == [1]
    for part in ("images", "annotations"):
        ids = [entry["id"] for entry in coco.dataset[part]]
        assert len(set(ids)) == len(ids)


def test_every_photo_is_listed_once_and_has_the_listed_size(coco, photos):
    listed = [image["file_name"] for image in coco.dataset["images"]]
    assert sorted(listed) == sorted(p.name for p in PHOTOS.iterdir())
    assert len(set(listed)) == len(listed) >= 200
    for image in coco.dataset["images"]:
        assert photos[image["id"]].shape == (image["height"], image["width"], 3)
        assert sorted((image["height"], image["width"])) == [240, 320]


def test_masks_boxes_and_areas_agree_inside_the_image(coco):
    for annotation in coco.dataset["annotations"]:
        image = coco.imgs[annotation["image_id"]]
        mask = coco.annToMask(annotation).astype(bool)
        assert mask.shape == (image["height"], image["width"])
        rows, columns = np.nonzero(mask)
        x, y = columns.min(), rows.min()
        box = [x, y, columns.max() + 1 - x, rows.max() + 1 - y]
        assert annotation["bbox"] == pytest.approx(box), annotation["id"]
        assert annotation["area"] == mask.sum() >= 0.003 * mask.size, annotation["id"]
        assert annotation["iscrowd"] == 0


def test_masks_of_one_photo_do_not_overlap(coco):
    for image_id in coco.imgs:
        codes = [coco.annToRLE(a) for a in coco.loadAnns(coco.getAnnIds(imgIds=image_id))]
        assert codes, f"photo {image_id} shows nothing"
        assert rle.area(rle.merge(codes)) == sum(rle.area(c) for c in codes)


def test_enough_photos_of_each_category_and_of_several(labels):
    counts = {name: sum(name in shown for shown in labels.values()) for name in COCO_NAMES.values()}
    assert min(counts.values()) >= 12, counts
    several = [len(shown) for shown in labels.values() if len(shown) > 1]
    assert 0.25 <= len(several) / len(labels) <= 0.45
    assert max(several) <= 3


def test_the_annotated_objects_are_those_of_the_scene_table(labels):
    scenes = json.loads((ROOT / "tools" / "sample" / "scenes.json").read_text())
    assert {scene["id"] for scene in scenes} == set(labels)
    for scene in scenes:
        assert labels[scene["id"]] == {o["category"] for o in scene["objects"]}, scene["id"]


def test_no_setting_gives_a_category_away(coco, labels):
    scenes = json.loads((ROOT / "tools" / "sample" / "scenes.json").read_text())
    settings, categories = defaultdict(set), defaultdict(set)
    for scene in scenes:
        for name in labels[scene["id"]]:
            settings[name].add(scene["setting"])
            categories[scene["setting"]].add(name)
    assert len(categories) >= 8
    assert min(len(s) for s in settings.values()) > len(categories) / 2, settings
    assert min(len(c) for c in categories.values()) >= 9, categories


def test_sizes():
    sizes = [p.stat().st_size for p in PHOTOS.iterdir()]
    assert min(sizes) >= 10_000 and max(sizes) <= 30_000
    whole = sum(p.stat().st_size for p in SAMPLE.rglob("*") if "__pycache__" not in p.parts)
    assert whole <= 6_000_000
    assert (SAMPLE / "annotations" / "instances_sample.json").stat().st_size <= 700_000
    assert (SAMPLE / "contact_sheet.jpg").stat().st_size <= 400_000


def test_no_photo_is_black_or_blown_out(photos):
    for number, pixels in photos.items():
        grey = pixels.mean(2)
        assert 35 < grey.mean() < 215, number
        assert (grey < 4).mean() < 0.2 and (grey > 251).mean() < 0.1, number
        assert grey.std() > 12, number


def difference_hash(pixels: np.ndarray) -> np.ndarray:
    """256 bits: whether each cell of a 16 × 16 grid is brighter than its right neighbour."""
    grey = Image.fromarray(pixels).convert("L").resize((17, 16), Image.Resampling.BOX)
    values = np.asarray(grey, int)
    return (values[:, 1:] > values[:, :-1]).ravel()


def test_no_two_photos_are_nearly_the_same(photos):
    numbers = sorted(photos)
    hashes = np.array([difference_hash(photos[n]) for n in numbers])
    distance = (hashes[:, None] != hashes[None]).sum(2)
    close = [(numbers[i], numbers[j]) for i, j in np.argwhere(distance <= 32) if i < j]
    assert not close
    darker = difference_hash((photos[numbers[0]] * 0.8).astype(np.uint8))
    assert (darker != hashes[0]).sum() <= 32  # a twin in other light would be caught


def test_licence_is_cc0():
    assert "CC0 1.0 Universal" in (SAMPLE / "LICENSE").read_text()
