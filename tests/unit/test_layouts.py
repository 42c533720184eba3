"""Folders as tools, phones and NAS leave them: what is read, what becomes a label, what is left."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_datasets import change, make_photo

from helpers import TutorialError
from helpers.datasets import open_dataset
from helpers.settings import ROOT

PHOTOS = ("a.jpg", "b.jpg", "c.jpg")


pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")


@pytest.fixture(autouse=True)
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))


def export(file, names, first_id=1):
    """An annotation file: a cat in the first and third photo, a dog in the second."""
    content = {
        "images": [
            {"id": first_id + n, "file_name": name, "height": 24, "width": 32}
            for n, name in enumerate(names)
        ],
        "categories": [{"id": 0, "name": "animal"}, {"id": 1, "name": "cat"}]
        + [{"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": first_id + n, "category_id": 1 + n % 2, "bbox": [2, 3, 4, 5]}
            for n in range(len(names))
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def photos_at(folder, *names):
    for seed, name in enumerate(names):
        make_photo(folder / name, seed)
    return folder


# Annotation files

LAYOUTS = {  # annotation file: folder of its photos, what `file_name` puts before their names
    "COCO": {f"annotations/instances_{s}.json": (s, "") for s in ("train2017", "val2017")},
    "Roboflow": {f"{s}/_annotations.coco.json": (s, "") for s in ("train", "valid", "test")},
    "Roboflow, unpacked in a folder": {"a/train/_annotations.coco.json": ("a/train", "")},
    "FiftyOne": {"labels.json": ("data", "")},
    "FiftyOne, splits": {f"{s}/labels.json": (f"{s}/data", "") for s in ("train", "validation")},
    "Label Studio": {"result.json": ("images", "images/")},
    "Label Studio, Windows": {"result.json": ("images", "images\\")},
    "Label Studio, encoded": {"result.json": ("images/my photos", "images/my%20photos/")},
    "CVAT": {"annotations/instances_default.json": ("images/default", "")},
    "CVAT, flat": {"annotations/instances_default.json": ("images", "")},
    "Datumaro": {
        f"annotations/instances_{s}.json": (f"images/{s}/cam0", "cam0/") for s in ("train", "test")
    },
    "Ultralytics": {
        f"annotations/instances_{s}.json": (f"images/{s}", "") for s in ("train2017", "val2017")
    },
    "Supervisely": {
        f"p/{s}/annotations/instances.json": (f"p/{s}/images", "") for s in ("ds0", "ds1")
    },
    "MMDetection": {f"annotations/{s}.json": (s, "") for s in ("train", "val")},
    "VGG Image Annotator": {"via_project_coco.json": ("", "")},
    "any name, any folder": {"export.json": ("photos/2019", "")},
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_annotations_are_read_where_tools_put_them(tmp_path, layout):
    folder = tmp_path / "d"
    for file, (place, before) in layout.items():
        photos_at(folder / place, *PHOTOS)
        export(folder / file, [before + name for name in PHOTOS])
    dataset = open_dataset(folder)
    assert len(dataset) == len(set(dataset.ids)) == 3 * len(layout)
    assert dataset.categories == {"cat": 2 * len(layout), "dog": len(layout)}
    for record in dataset:
        assert record.labels == ({"dog"} if record.path.name == "b.jpg" else {"cat"})
        (one,) = dataset.annotations(record.id)
        assert one.category in record.labels and one.photo_size == (24, 32)
    assert dataset.skipped == ()
    assert dataset.note == f"Annotations: {', '.join(sorted(layout))}."


def test_annotation_files_that_are_not_read_are_named(tmp_path):
    folder = photos_at(tmp_path / "d", *(f"val2017/{name}" for name in PHOTOS))
    for name in ("instances_val2017", "instances_train2017", "person_keypoints_val2017"):
        names = [f"{name[:15]}{photo}" if "train" in name else photo for photo in PHOTOS]
        export(folder / "annotations" / f"{name}.json", names)
    (folder / "annotations" / "captions_val2017.json").write_text('{"images": []}')
    (folder / "meta.json").write_text("{}")
    assert open_dataset(folder).note == (
        "Annotations: annotations/instances_val2017.json. Annotations not read: "
        "annotations/instances_train2017.json, annotations/person_keypoints_val2017.json."
    )


def test_predictions_for_other_photos_leave_a_plain_folder_plain(tmp_path):
    folder = photos_at(tmp_path / "d", "x/a.jpg", "x/b.jpg", "y/c.jpg", "y/d.jpg")
    export(folder / "predictions.json", ["elsewhere.jpg"])
    (folder / "notes.json").write_text('["images", "annotations", "categories"]')
    dataset = open_dataset(folder)
    assert dataset.categories == {"x": 2, "y": 2}
    assert dataset.note.startswith("Annotations not read: notes.json, predictions.json.")


def test_a_photo_in_two_annotation_files_is_one_photo(tmp_path):
    folder = photos_at(tmp_path / "d", *(f"images/{name}" for name in PHOTOS))
    for name in ("instances_all", "instances_again"):
        export(folder / "annotations" / f"{name}.json", PHOTOS)
    change(folder, lambda c: c["annotations"][0].update(category_id=2), split="again")
    dataset = open_dataset(folder)
    assert dataset.ids.tolist() == [1, 2, 3] and dataset.labels[0] == {"cat", "dog"}
    assert [len(dataset.annotations(id_)) for id_ in (1, 2, 3)] == [2, 1, 1]


def test_listed_photos_need_no_suffix(tmp_path):
    folder = photos_at(tmp_path / "d", *(f"data/{name}" for name in ("1f", "2e", "3d", "{s}.tmp")))
    export(folder / "labels.json", ["1f", "2e", "{s}.tmp"])
    dataset = open_dataset(folder)
    assert len(dataset) == 3 and [path.name for path, _ in dataset.skipped] == ["3d"]


def test_a_broken_file_that_may_be_no_annotation_file_is_only_named(tmp_path):
    folder = photos_at(tmp_path / "d", "a.jpg")
    (folder / "lines.json").write_text('{"images": 1}\n{"annotations": 2}\n{"categories": 3}\n')
    assert open_dataset(folder).note == "Annotations not read: lines.json."


def test_photos_that_no_annotation_file_lists_are_counted(tmp_path):
    folder = photos_at(tmp_path / "d", *(f"data/{name}" for name in PHOTOS), "cover.jpg")
    export(folder / "labels.json", PHOTOS[:2])
    dataset = open_dataset(folder)
    assert len(dataset) == 2
    assert dataset.skipped == ((folder / "data/c.jpg", "not listed in the annotation files"),)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_names_in_another_unicode_form_or_letter_case_are_found(tmp_path, form, case):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    names = [f"Müller 한국 {name}" for name in PHOTOS]
    folder = photos_at(tmp_path / "d", *(f"val/{unicodedata.normalize(form, n)}" for n in names))
    written = [case(unicodedata.normalize(other, name)) for name in names]
    export(folder / "annotations/instances_val.json", written)
    assert len(open_dataset(folder)) == 3


# Annotations and photos that EXIF turns


def turned(folder, orientation, frame, box=(2, 3, 10, 4), kind="PNG", **image):
    """A photo with a white box, stored turned, and its annotation on the stored or upright one."""
    upright = np.zeros((24, 32), np.uint8)
    x, y, width, height = box
    upright[y : y + height, x : x + width] = 255
    back = {5: 5, 6: 8, 7: 7, 8: 6}.get(orientation, orientation)  # undoes the turn
    methods = dict(enumerate(["FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM"], start=2))
    methods |= dict(enumerate(["TRANSPOSE", "ROTATE_270", "TRANSVERSE", "ROTATE_90"], start=5))
    stored = Image.fromarray(upright)
    if back > 1:
        stored = stored.transpose(Image.Transpose[methods[back]])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (folder / "val").mkdir(parents=True, exist_ok=True)
    stored.save(folder / f"val/{orientation}.png", format=kind, exif=exif)
    shown = np.asarray(stored) if frame == "stored" else upright
    rows, columns = np.nonzero(shown)
    x, y = int(columns.min()), int(rows.min())
    width, height = int(columns.max()) + 1 - x, int(rows.max()) + 1 - y
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    size = {"height": shown.shape[0], "width": shown.shape[1]}
    return (
        {"id": orientation, "file_name": f"{orientation}.png"} | size | image,
        {"image_id": orientation, "category_id": 1, "bbox": [x, y, width, height]}
        | {"segmentation": [corners]},
    )


def write(folder, pairs):
    images, annotations = zip(*pairs, strict=True)
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "box"}]
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations/instances_val.json").write_text(json.dumps(content))
    return open_dataset(folder)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("sizes", [{}, {"height": None, "width": None}], ids=["sizes", "none"])
@pytest.mark.parametrize("frame", ["stored", "upright"])
def test_boxes_and_masks_turn_with_the_photo(tmp_path, frame, sizes, kind):
    """Of 2 to 4 the size says nothing: the others of the file do, or boxes beyond the frame."""
    folder = tmp_path / "d"
    box = (26, 3, 4, 18)  # fits only one of the frames
    dataset = write(folder, [turned(folder, o, frame, box, kind, **sizes) for o in range(1, 9)])
    assert len(dataset) == 8 and dataset.skipped == ()
    for id_ in dataset.ids:
        (one,) = dataset.annotations(id_)
        assert (one.bbox, one.photo_size) == (box, (24, 32)), id_
        x, y, width, height = box
        assert one.mask()[y : y + height, x : x + width].all() and one.mask().sum() == 4 * 18, id_


def test_objects_whose_frame_fits_neither_are_left_out_and_said(tmp_path):
    folder = tmp_path / "d"
    pairs = [turned(folder, 6, "stored"), turned(folder, 1, "upright", height=48, width=64)]
    dataset = write(folder, pairs)
    assert [len(dataset.annotations(id_)) for id_ in (1, 6)] == [0, 1]
    assert dataset.labels == [{"box"}, {"box"}]
    assert "1 × object whose photo has another size" in dataset.banner()


# Folders without annotations

TREES = {  # files: label of each
    "splits above": (["train/cat/1.jpg", "test/cat/2.jpg", "train/dog/3.jpg", "test/dog/4.jpg"],
                     ["cat", "cat", "dog", "dog"]),
    "splits below": (["cat/Train/1.jpg", "cat/val/2.jpg", "dog/Train/3.jpg", "dog/val/4.jpg"],
                     ["cat", "cat", "dog", "dog"]),
    "splits of images": (["images_train/a/1.jpg", "images_train/a/2.jpg", "TEST2/b/3.jpg",
                          "TEST2/b/4.jpg"], ["a", "a", "b", "b"]),
    "splits twice": ([f"seg_train/seg_train/{c}/{n}.jpg" for c in ("sea", "ice") for n in (1, 2)],
                     ["sea", "sea", "ice", "ice"]),
    "a zip in a zip": ([f"x/x/{c}/{n}.jpg" for c in ("sea", "ice") for n in (1, 2)],
                       ["sea", "sea", "ice", "ice"]),
    "Takeout": ([f"Takeout/Google Photos/Photos from {y}/{n}.jpg" for y in (2019, 2020)
                 for n in (1, 2)], [f"Photos from {y}" for y in (2019, 2019, 2020, 2020)]),
    "Tiny ImageNet": ([f"train/{c}/images/{n}.jpg" for c in ("n1", "n2") for n in (1, 2)],
                      ["n1", "n1", "n2", "n2"]),
    "some deeper": (["cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/old/4.jpg", "5.jpg"],
                    ["cat", "cat", "dog", "dog", None]),
    "one photo each": (["cat/1.jpg", "dog/2.jpg"], ["cat", "dog"]),
}  # fmt: skip


@pytest.mark.parametrize(("names", "labels"), TREES.values(), ids=TREES)
def test_labels_come_from_one_level(tmp_path, names, labels):
    dataset = open_dataset(photos_at(tmp_path / "d", *names))
    found = {
        record.path.relative_to(tmp_path / "d").as_posix(): record.labels for record in dataset
    }
    assert found == {n: {label} - {None} for n, label in zip(names, labels, strict=True)}
    assert dataset.note == ""


@pytest.mark.parametrize(
    ("names", "labels", "note"),
    [
        (["train/1.jpg", "valid/2.jpg"], set(), "named like splits (train, valid)"),
        (["holiday/1.jpg", "holiday/2.jpg"], {"holiday"}, "All labels are the same: 'holiday'"),
        (["train/cat/1.jpg", "test/cat/2.jpg"], {"cat"}, "All labels are the same: 'cat'"),
    ],
)
def test_labels_that_tell_nothing_apart_are_said(tmp_path, names, labels, note):
    dataset = open_dataset(photos_at(tmp_path / "d", *names))
    assert set(dataset.categories) == labels and note in dataset.banner()


BINS = ("@eaDir/1.jpg", ".@__thumb", ".thumbnails", "thumbnails", "Previews.lrdata", "__MACOSX")
BINS += ("My.photoslibrary/resources/derivatives", "#recycle", "@Recycle", "$RECYCLE.BIN/S-1-5")
BINS += (".Trash", ".Trash-1000/files", ".Trashes/501", "#snapshot/today")


@pytest.mark.parametrize("place", BINS)
def test_thumbnails_and_bins_of_other_programs_are_left_out_and_counted(tmp_path, place):
    folder = photos_at(tmp_path / "d", "2019/1.jpg", f"{place}/1.jpg", f"2019/{place}/2.jpg")
    make_photo(folder / "My.photoslibrary/originals/3.jpg", 3)
    (folder / "2019" / place / "index.txt").touch()
    dataset = open_dataset(folder)
    kept = [path.relative_to(folder).as_posix() for path in dataset.paths]
    assert kept == ["2019/1.jpg", "My.photoslibrary/originals/3.jpg"]
    ((reason, count),) = dataset.reasons.items()
    assert count == 2 and reason.endswith(" another program")
    assert f"… (2 × {reason})." in dataset.banner()


def test_links_are_followed_and_loops_pipes_and_dead_ends_are_counted(tmp_path):
    folder = photos_at(tmp_path / "d", "cat/1.jpg", "cat/2.jpg")
    photos_at(tmp_path / "store", "3f2a", ".git/annex/4.jpg", "more/5.jpg", "more/6.jpg")
    (folder / "cat" / "3.jpg").symlink_to("../../store/3f2a")  # as in Hugging Face's cache
    (folder / "cat" / "4.jpg").symlink_to(tmp_path / "store/.git/annex/4.jpg")
    (folder / "dog").symlink_to(tmp_path / "store/more")
    (folder / "cat" / "again").symlink_to("..")
    (folder / "up").symlink_to(tmp_path)
    (folder / "cat" / "gone.jpg").symlink_to("nowhere")
    (folder / "cat" / "self.jpg").symlink_to("self.jpg")
    (folder / "cat" / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "pipe", "pipe.json"):
        os.mkfifo(folder / name)
    dataset = open_dataset(folder)
    assert dataset.categories == {"cat": 4, "dog": 2}
    assert dataset.reasons == {
        "a pipe, a device or a folder": 2,
        "a link that leads nowhere": 2,
        "a link to a folder that is read already": 2,
    }


def test_a_cache_is_read_by_its_links_and_not_twice(tmp_path):
    folder = photos_at(tmp_path / "d", "blobs/1f", "blobs/2e", "blobs/3d")
    for name, blob in (("cat/1.jpg", "1f"), ("dog/2.jpg", "2e")):
        (folder / "snapshots" / name).parent.mkdir(parents=True)
        (folder / "snapshots" / name).symlink_to(f"../../blobs/{blob}")
    dataset = open_dataset(folder)
    assert dataset.categories == {"cat": 1, "dog": 1}
    assert [path.name for path, _ in dataset.skipped] == ["3d"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_cannot_be_read_is_counted():
    """As somebody who is not root: lost+found is the case on every ext4 disk."""
    place = Path(tempfile.mkdtemp())
    try:
        place.chmod(0o777)
        photos_at(place / "d", "1.jpg", "lost+found/2.jpg")
        (place / "d/lost+found").chmod(0o700)
        code = (
            "import os, sys; from helpers.datasets import open_dataset; os.setuid(65534);"
            "print(open_dataset(sys.argv[1]).banner())"
        )
        run = subprocess.run(
            [sys.executable, "-c", code, place / "d"], cwd=ROOT, capture_output=True, text=True,
            env=os.environ | {"BUILD_DIR": str(place / "build")},
        )  # fmt: skip
    finally:
        shutil.rmtree(place)
    assert run.stdout.splitlines() == [
        "Dataset d: 1 photos, 0 categories.",
        "1 left out: 'lost+found' (1 × in a folder that cannot be read).",
    ], run.stderr


# Formats by name


def test_what_looks_like_a_photo_and_is_not_read_is_counted_and_says_what_would_read_it(tmp_path):
    folder = photos_at(tmp_path / "d", "1.jpg")
    photo = (folder / "1.jpg").read_bytes()
    for name in ("x.CR2", "x.nef", "x.ARW", "x.dng", "x.jxl", "x.MOV", "x.mp4", "x.tga", "x.jp2"):
        (folder / name).write_bytes(b"any")
    for name in ("noend", "x.JPG_large", "x.jpg~", "x.jpg ", "x.jpg.1", "x.jpg.part"):
        (folder / name).write_bytes(photo)
    for name in ("README", "x.jpg.json", "x.txt", "x.csv"):
        (folder / name).write_text("text")
    dataset = open_dataset(folder)
    assert len(dataset) == 1
    assert list(dataset.reasons.values()) == [6, 4, 2, 2, 1]
    for cure in ("ends in .jpg", "darktable", "ffmpeg", "ImageMagick", "djxl"):
        assert cure in dataset.banner()


def test_a_folder_of_nothing_but_raw_photos_says_so(tmp_path):
    (tmp_path / "d").mkdir()
    for number in range(3):
        (tmp_path / "d" / f"{number}.NEF").write_bytes(b"MM\0*")
    with pytest.raises(
        TutorialError, match=r"no usable photo: '0\.NEF', … \(3 × a RAW photo, which"
    ):
        open_dataset(tmp_path / "d")
