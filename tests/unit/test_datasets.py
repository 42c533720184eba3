"""Datasets from folders and from a server that behaves, misbehaves and dies."""

import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from coco_server import ARCHIVE, annotations_zip, serve
from PIL import Image
from pycocotools.coco import COCO

from helpers import TutorialError, datasets
from helpers.datasets import open_dataset
from helpers.datasets.download import ANIMALS, fetch_coco
from helpers.settings import ROOT

COCO_MINI = (ROOT / os.environ.get("COCO_MINI", "../shared/coco-mini")).resolve()
needs_coco_mini = pytest.mark.skipif(
    not COCO_MINI.is_dir(), reason="no real COCO photos here; COCO_MINI names their folder"
)
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COCO_BASE_URL", NOWHERE)
    monkeypatch.delenv("DATASET", raising=False)
    monkeypatch.setattr(datasets.download, "BACKOFF_S", 0.001)
    monkeypatch.setattr(datasets, "PROBE_TIMEOUT_S", 600)  # what answers may be busy


def make_photo(path, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    return path


def make_coco(folder, split="val2017", ids=range(1, 13), classes=ANIMALS):
    """Photo n shows classes[n % len] and the class after it."""
    ids = list(ids)
    content = {
        "images": [{"id": i, "file_name": f"{i:012}.jpg", "height": 24, "width": 32} for i in ids],
        "categories": [{"id": n, "name": name} for n, name in enumerate(classes)],
        "annotations": [
            {
                "id": 2 * i + k,
                "image_id": i,
                "category_id": (i + k) % len(classes),
                "bbox": [2, 3, 4, 5],
                "segmentation": [[2, 3, 6, 3, 6, 8, 2, 8]],
            }
            for i in ids
            for k in (0, 1)
        ],
    }
    for i in ids:
        make_photo(folder / split / f"{i:012}.jpg", seed=i)
    file = folder / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(content))
    return folder


def change(folder, edit, split="val2017"):
    """Apply `edit` to the content of an annotation file."""
    file = folder / "annotations" / f"instances_{split}.json"
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


def ids(dataset):
    return [record.id for record in dataset]


def photos_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


# Plain folders


def test_plain_folder(tmp_path):
    folder = tmp_path / "My photos"
    names = ["b.JPG", "a.jpeg", "cats/1.jpg", "cats/old/2.jpg", 'dogs/it\'s "3"\n한국.jpg']
    for seed, name in enumerate(names):
        make_photo(folder / name, seed)
    make_photo(folder / ".hidden.jpg")
    make_photo(folder / ".trash" / "4.jpg")
    (folder / "notes.txt").write_text("not a photo")
    dataset = open_dataset(folder)
    relative = [path.relative_to(folder).as_posix() for path in dataset.paths]
    assert relative == sorted(names)
    labels = {r.path.relative_to(folder).as_posix(): set(r.labels) for r in dataset}
    assert labels["cats/old/2.jpg"] == labels["cats/1.jpg"] == {"cats"}
    assert labels["b.JPG"] == set()
    assert dataset.categories == {"cats": 2, "dogs": 1}
    assert dataset.name == "My photos"
    assert dataset.slug.startswith("my_photos_")
    assert all(0 < image_id < 2**63 for image_id in ids(dataset))
    assert dataset.by_id[ids(dataset)[2]] == dataset.records[2]
    assert dataset.annotations(ids(dataset)[0]) == []
    assert dataset.classes.tolist() == [
        min(record.labels, default="no label") for record in dataset
    ]
    assert dataset.banner() == "Dataset My photos: 5 photos, 2 categories."


def test_plain_ids_stay_when_photos_are_added(tmp_path):
    make_photo(tmp_path / "p" / "b.jpg")
    (before,) = open_dataset(tmp_path / "p")
    make_photo(tmp_path / "p" / "a.jpg")
    after = open_dataset(tmp_path / "p")
    assert after.records[1] == before
    assert len(set(ids(after))) == 2


def test_some_photos_evenly_spread_are_a_dataset_of_their_own(tmp_path):
    dataset = open_dataset(make_coco(tmp_path / "photos", ids=range(1, 13)))
    some = dataset.spread(4)
    assert [record.id for record in some] == [1, 4, 8, 12]
    assert some.slug != dataset.slug and some.name == dataset.name
    assert sum(some.categories.values()) == 8 and some.annotations(8) == dataset.annotations(8)
    assert dataset.spread(12) is dataset is dataset.spread(60)


def test_what_notebooks_look_up_is_there_and_in_the_order_of_the_photos(tmp_path):
    dataset = open_dataset(make_coco(tmp_path / "photos", ids=(9, 2**62, 4)))
    assert dataset.ids.dtype == np.int64 and dataset.ids.tolist() == ids(dataset) == [4, 9, 2**62]
    assert dataset.labels == [record.labels for record in dataset]
    assert [dataset.photos[id_] for id_ in dataset.ids] == dataset.paths
    assert [dataset.row_of[id_] for id_ in dataset.ids] == [0, 1, 2]
    assert dataset.spread(1).ids.tolist() == [4]


def test_the_class_of_a_photo_is_what_covers_most_of_it(tmp_path):
    folder = make_coco(tmp_path / "photos", ids=range(1, 4), classes=("zebra", "cat", "dog"))

    def wide(content):  # of photo 1 the second object, of photo 3 none
        content["annotations"][1]["bbox"] = [2, 3, 8, 5]
        del content["annotations"][4:]

    assert open_dataset(folder).classes.tolist() == ["cat", "dog", "cat"]
    change(folder, wide)
    assert open_dataset(folder).classes.tolist() == ["dog", "dog", "no label"]


def test_equal_names_elsewhere_have_other_slugs(tmp_path):
    slugs = {
        open_dataset(make_photo(tmp_path / place / "a.jpg").parent).slug
        for place in ("x/사진", "y/사진", "z/photos")
    }
    assert len(slugs) == 3
    assert all(slug.replace("_", "").isascii() and slug.islower() for slug in slugs)


def test_broken_photos_are_skipped_with_the_reason(tmp_path):
    folder = tmp_path / "p"
    good = make_photo(folder / "good.jpg")
    (folder / "empty.jpg").touch()
    (folder / "page.png").write_text("<html>")
    (folder / "text.HEIC").write_bytes(b"just some text")
    (folder / "half.jpg").write_bytes(good.read_bytes()[:500])
    dataset = open_dataset(folder)
    assert dataset.paths == [good]
    reasons = {path.name: reason for path, reason in dataset.skipped}
    assert list(reasons) == ["empty.jpg", "half.jpg", "page.png", "text.HEIC"]
    words = {"empty.jpg": "empty", "half.jpg": "truncated", "page.png": "html"}
    for name, word in (words | {"text.HEIC": "not an image in a format read here (jpeg"}).items():
        assert word in reasons[name].lower()
    assert "1 photos" in dataset.banner()
    assert dataset.reasons == {
        "empty": 1, "damaged": 1, "an HTML page": 1, "not an image in a format read here": 1
    }  # fmt: skip
    assert dataset.banner().splitlines()[1].startswith("4 left out: 'empty.jpg' (1 × empty); ")
    assert str(tmp_path) not in dataset.banner() + "".join(reasons.values())


def test_photos_are_decoded_once_until_they_change(tmp_path):
    photo = make_photo(tmp_path / "p" / "a.jpg")
    make_photo(tmp_path / "p" / "b.jpg")
    dataset = open_dataset(tmp_path / "p")
    stat = photo.stat()
    photo.write_bytes(b"x" * stat.st_size)
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert len(open_dataset(tmp_path / "p")) == 2  # same size and time: not looked at again
    os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert [path.name for path, _ in open_dataset(tmp_path / "p").skipped] == ["a.jpg"]
    (cache,) = (tmp_path / "build" / "checked").iterdir()
    assert cache.name == f"{dataset.slug}.json"
    cache.write_text("{damaged")
    assert len(open_dataset(tmp_path / "p")) == 1


def test_a_photo_that_failed_is_looked_at_again(tmp_path):
    """Neither size nor time shows what changed, as after a `chmod`."""
    make_photo(tmp_path / "p" / "a.jpg")
    photo = make_photo(tmp_path / "p" / "b.jpg")
    intact, stat = photo.read_bytes(), photo.stat()
    for content, usable in ((b"x" * stat.st_size, 1), (intact, 2)):
        photo.write_bytes(content)
        os.utime(photo, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        assert len(open_dataset(tmp_path / "p")) == usable


def test_photos_are_checked_on_the_processors_this_process_may_use(tmp_path, monkeypatch):
    def decode(path):
        time.sleep(0.01)  # long enough for a second thread to start
        threads.add(threading.get_ident())
        return Image.new("RGB", (2, 2)), 1

    threads = set()
    for number in range(8):
        make_photo(tmp_path / "p" / f"{number}.jpg")
    monkeypatch.setattr(datasets.folders.joblib, "cpu_count", lambda: 1)
    monkeypatch.setattr(datasets.folders, "decode", decode)
    assert len(open_dataset(tmp_path / "p")) == 8
    assert len(threads) == 1


@pytest.mark.parametrize("content", ["{damaged", "[]", "3", "[1]"])
def test_a_damaged_list_of_checked_photos_is_made_anew(tmp_path, content):
    folder = make_photo(tmp_path / "p" / "a.jpg").parent
    file = tmp_path / "build" / "checked" / f"{open_dataset(folder).slug}.json"
    file.write_text(content)
    assert len(open_dataset(folder)) == 1
    assert list(json.loads(file.read_text())) == ["a.jpg"]


def test_unusable_folders_are_refused(tmp_path):
    with pytest.raises(TutorialError, match="no folder 'none'.*DATASET"):
        open_dataset(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TutorialError, match="'empty' holds no usable photo.*suffix"):
        open_dataset(tmp_path / "empty")
    (tmp_path / "empty" / "a.jpg").touch()
    with pytest.raises(TutorialError, match=r"'empty' holds no usable photo.*a\.jpg.*empty"):
        open_dataset(tmp_path / "empty")


def test_links_within_the_folder_and_to_it_work(tmp_path):
    photo = make_photo(tmp_path / "p" / "a" / "1.jpg")
    (tmp_path / "p" / "b").symlink_to(photo.parent)
    (tmp_path / "link").symlink_to(tmp_path / "p")
    assert open_dataset(tmp_path / "link").paths == [photo]


def test_a_name_that_is_not_utf8_is_left_out(tmp_path):
    photo = make_photo(tmp_path / "p" / "a.jpg")
    try:
        photo.rename(os.fsdecode(os.fsencode(photo.parent) + b"/\xff.jpg"))
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    good = make_photo(tmp_path / "p" / "b.jpg")
    dataset = open_dataset(tmp_path / "p")
    assert dataset.paths == [good]
    assert dataset.banner().endswith(
        "1 left out: '\\udcff.jpg' (1 × a name that is not valid UTF-8, to be renamed)."
    )


# COCO's layout


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_coco_layout_takes_all_splits_by_id(tmp_path):
    make_coco(tmp_path / "c", "train2017", ids=(9, 2))
    make_coco(tmp_path / "c", "val2017", ids=(5, 1))
    dataset = open_dataset(tmp_path / "c")
    assert ids(dataset) == [1, 2, 5, 9]
    assert dataset.by_id[9].path == tmp_path / "c" / "train2017" / "000000000009.jpg"
    assert dataset.by_id[1].labels == {"bird", "cat"}
    assert list(dataset.categories) == sorted(dataset.categories)
    first, second = dataset.annotations(5)
    assert (first.category, first.bbox) == ("horse", (2, 3, 4, 5))
    mask = second.mask()
    assert (mask.dtype, mask.shape) == (bool, (24, 32))
    assert mask.sum() == 20
    assert mask[3:8, 2:6].all()
    with pytest.raises(KeyError):
        dataset.annotations(77)


def test_an_annotation_without_outline_has_no_mask(tmp_path):
    folder = make_coco(tmp_path / "c", ids=[1])
    change(folder, lambda c: [a.pop("segmentation") for a in c["annotations"]])
    with pytest.raises(TutorialError, match="only boxes"):
        open_dataset(folder).annotations(1)[0].mask()


def test_missing_photos_are_skipped(tmp_path):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    (folder / "val2017" / f"{2:012}.jpg").unlink()
    dataset = open_dataset(folder)
    assert ids(dataset) == [1]
    ((path, reason),) = dataset.skipped
    assert path.name == "000000000002.jpg"
    assert "cannot be found" in reason


def drop(key):
    return lambda c: c.pop(key)


def put(section, key, value):
    return lambda c: c[section][0].__setitem__(key, value)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (drop("images"), "lacks the key 'images'"),
        (drop("annotations"), "lacks the key 'annotations'"),
        (drop("categories"), "lacks the key 'categories'"),
        (lambda c: c.update(images=None), "form of a COCO annotation file"),
        (put("images", "height", 2**40), r"the image 1 the size \(1099511627776, 32\), more than"),
        (put("images", "file_name", "../secret.jpg"), r"'\.\./secret\.jpg'.*not the plain name"),
        (put("images", "file_name", ".."), "not the plain name"),
        (put("images", "file_name", "/etc/a.jpg"), "not the plain name"),
        (put("images", "file_name", "..\\a.jpg"), "not the plain name"),
        (put("images", "file_name", "C:a.jpg"), "not the plain name"),
        (put("images", "file_name", "%2e%2e/a.jpg"), "not the plain name"),
    ],
)
def test_contradictory_annotations_are_refused(tmp_path, edit, complaint):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    change(folder, edit)
    with pytest.raises(TutorialError, match=rf"instances_val2017\.json.*{complaint}.*replace"):
        open_dataset(folder)


@pytest.mark.parametrize("content", [b"", b"{", b"<html>", b"\xff\xfe", b"[]", b"3"])
def test_annotations_that_are_not_coco_json_are_refused(tmp_path, content):
    folder = make_coco(tmp_path / "c", ids=[1])
    (folder / "annotations" / "instances_val2017.json").write_bytes(content)
    with pytest.raises(
        TutorialError, match=r"instances_val2017\.json.*(valid JSON|form of a COCO)"
    ):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda c: c["images"][0].pop("file_name"), "photo listed without a usable name"),
        (lambda c: c["images"].append("text"), "entry without a key"),
        (put("images", "file_name", "a\0.jpg"), "photo listed without a usable name"),
        (put("images", "file_name", ""), "photo listed without a usable name"),
        (put("images", "file_name", 7), "photo listed without a usable name"),
        (put("images", "id", None), "photo listed without a usable name"),
        (put("images", "id", 2), "photo listed under the id of another one"),
        (put("annotations", "image_id", 99), "annotation of a photo that is not listed"),
        (put("annotations", "image_id", [1]), "annotation of a photo that is not listed"),
        (put("annotations", "category_id", 99), "annotation of a category that is not listed"),
        (put("annotations", "bbox", [1, 2, 3, 10**400]), "object without a usable box"),
        (put("annotations", "bbox", [1, 2, 3, float("nan")]), "object without a usable box"),
        (put("annotations", "bbox", [1, 2, 3, 0]), "object without a usable box"),
        (put("annotations", "bbox", [1, 2, 3]), "object without a usable box"),
        (put("annotations", "bbox", {"x": 1}), "object without a usable box"),
        (put("annotations", "bbox", [90, 2, 3, 4]), "object whose box lies outside of its photo"),
        (put("images", "width", 33), "object whose photo has another size"),
    ],
)
def test_what_cannot_be_used_of_an_annotation_file_is_counted_and_the_rest_is_read(
    tmp_path, edit, reason
):
    folder = make_coco(tmp_path / "c", ids=(1, 2, 3))
    whole = open_dataset(folder)
    change(folder, edit)
    dataset = open_dataset(folder)
    assert len(dataset) >= 2 and dataset.records[-1] == whole.records[-1]
    assert dataset.annotations(3) == whole.annotations(3)
    assert [kind for kind in dataset.reasons if kind.startswith(reason)]
    assert f" × {reason}" in dataset.banner()


@pytest.mark.parametrize(
    "edit",
    [
        put("images", "height", 0),
        put("images", "width", None),
        put("images", "width", 32.0),
        put("images", "width", "32"),
        lambda c: c["images"][0].pop("width"),
        lambda c: c["images"].append(c["images"][0]),
        lambda c: c["images"].append(c["images"][0] | {"id": 77}),
        lambda c: [row.update(id=str(row["id"])) for row in c["images"]],
        lambda c: [row.update(id=f"{row['id']:04}") for row in c["images"]],
        lambda c: [row.update(image_id=float(row["image_id"])) for row in c["annotations"]],
        lambda c: [row.update(id=str(row["id"])) for row in c["categories"]],
        lambda c: [row.pop("bbox") for row in c["annotations"]],
        lambda c: [row.update(bbox=None) for row in c["annotations"]],
        lambda c: [row.update(bbox=list(map(str, row["bbox"]))) for row in c["annotations"]],
        lambda c: [row.update(file_name=row["file_name"].upper()) for row in c["images"]],
        lambda c: [row.update(file_name=f"./{row['file_name']}") for row in c["images"]],
    ],
)
def test_what_is_meant_is_read(tmp_path, edit):
    folder = make_coco(tmp_path / "c", ids=(1, 2, 3))
    whole = open_dataset(folder)
    change(folder, edit)
    dataset = open_dataset(folder)
    assert dataset == whole
    assert [dataset.annotations(id_) for id_ in (1, 2, 3)] == [
        whole.annotations(id_) for id_ in (1, 2, 3)
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_annotations_in_other_encodings_are_read(tmp_path, encoding):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    whole = open_dataset(folder)
    file = folder / "annotations" / "instances_val2017.json"
    file.write_text(file.read_text(), encoding=encoding)
    assert open_dataset(folder) == whole


@pytest.mark.parametrize("new_id", ["0000001_00001_d", 2**63, -1])
def test_ids_that_cannot_be_kept_are_made_of_the_paths(tmp_path, new_id):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    whole = open_dataset(folder)

    def rename(content):
        content["images"][0]["id"] = new_id
        for row in content["annotations"]:
            row["image_id"] = new_id if row["image_id"] == 1 else row["image_id"]

    change(folder, rename)
    dataset = open_dataset(folder)
    assert dataset.paths == whole.paths and dataset.labels == whole.labels
    assert not set(ids(dataset)) & {1, 2, new_id} and all(0 < id_ < 2**63 for id_ in ids(dataset))
    assert [len(dataset.annotations(id_)) for id_ in ids(dataset)] == [2, 2]


def test_ids_that_start_again_in_every_split_are_made_of_the_paths(tmp_path):
    make_coco(tmp_path / "c", "train2017", ids=(1, 2))
    make_coco(tmp_path / "c", "val2017", ids=(1, 3))
    dataset = open_dataset(tmp_path / "c")
    assert len(dataset) == len(set(ids(dataset))) == 4 and dataset.skipped == ()
    names = [path.relative_to(tmp_path / "c").as_posix() for path in dataset.paths]
    assert names == sorted(names)
    for record in dataset:
        number = int(record.path.stem)
        assert record.labels == {ANIMALS[number], ANIMALS[number + 1]}


def test_annotations_whose_photos_are_not_there_are_refused_or_not_read(tmp_path):
    folder = make_coco(tmp_path / "c", ids=[1])
    (folder / "val2017" / f"{1:012}.jpg").rename(folder / "other.jpg")
    with pytest.raises(TutorialError, match=r"None of the photos that 'instances_val2017\.json'"):
        open_dataset(folder)
    make_coco(tmp_path / "c", "train2017", ids=(2, 3))
    dataset = open_dataset(folder)
    assert ids(dataset) == [2, 3]
    assert dataset.note.endswith("Annotations not read: annotations/instances_val2017.json.")


@pytest.mark.parametrize("link", ["val2017/000000000001.jpg", "val2017"])
def test_links_to_photos_elsewhere_are_followed(tmp_path, link):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    whole = open_dataset(folder)
    inside = folder / link
    inside.rename(tmp_path / "outside")
    inside.symlink_to(tmp_path / "outside")
    assert open_dataset(folder) == whole


def test_an_annotation_folder_that_is_a_link_out_of_the_dataset_is_refused(tmp_path):
    folder = make_coco(tmp_path / "c", ids=(1, 2))
    (folder / "annotations").rename(tmp_path / "outside")
    (folder / "annotations").symlink_to(tmp_path / "outside")
    with pytest.raises(
        TutorialError, match=r"instances_val2017\.json' is a link that leads out of 'c'"
    ):
        open_dataset(folder)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_opening_is_silent(tmp_path, capfd):
    open_dataset(make_coco(tmp_path / "c")).annotations(1)[0].mask()
    assert capfd.readouterr() == ("", "")


@needs_coco_mini
@pytest.mark.filterwarnings("ignore::DeprecationWarning:pycocotools")
def test_masks_are_those_of_pycocotools():
    dataset = open_dataset(COCO_MINI)
    assert (len(dataset), dataset.skipped) == (159, ())
    coco = COCO(COCO_MINI / "annotations" / "instances_val2017.json")
    crowds = 0
    for image_id in coco.getImgIds():
        expected = coco.imgToAnns[image_id]
        for ours, theirs in zip(dataset.annotations(image_id), expected, strict=True):
            assert ours.category == coco.cats[theirs["category_id"]]["name"]
            np.testing.assert_array_equal(ours.mask(), coco.annToMask(theirs).astype(bool))
            crowds += theirs["iscrowd"]
    assert crowds > 0


# Names


def test_sample_and_the_environment(tmp_path, monkeypatch):
    with pytest.raises(TutorialError, match="sample photos are not in 'sample'"):
        open_dataset("sample")
    make_coco(tmp_path / "data" / "sample", "sample", ids=range(1, 5))
    sample = open_dataset("sample")
    assert (sample.name, sample.slug, len(sample)) == ("sample", "sample", 4)
    monkeypatch.setenv("DATASET", "sample")
    assert open_dataset() == sample
    monkeypatch.setenv("DATASET", str(tmp_path / "data" / "sample"))
    assert open_dataset().slug.startswith("sample_")


@pytest.mark.parametrize("name", ["coco", "auto"])
@pytest.mark.parametrize(
    "url",
    [
        "mirror.example/coco",
        "me:secret@mirror.example/coco",
        "ftp://mirror.example/coco",
        "http://[::1/coco",
        "http:///coco",
        "http://mirror.example:99999/coco",
        f"http://{'a' * 70}.example/coco",
    ],
)
def test_an_address_that_is_no_web_server_is_refused(monkeypatch, name, url):
    monkeypatch.setenv("COCO_BASE_URL", url)
    with pytest.raises(TutorialError, match="^COCO_BASE_URL is not the address.*unset it") as error:
        open_dataset(name)
    assert "secret" not in str(error.value)


def test_a_home_folder_is_found_or_named(tmp_path, monkeypatch):
    make_photo(tmp_path / "p" / "a.jpg")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_dataset("~/p")) == 1
    with pytest.raises(TutorialError, match="'~no-such-user/p' begins with a home folder"):
        open_dataset("~no-such-user/p")
    monkeypatch.setenv("BUILD_DIR", "~no-such-user/build")
    with pytest.raises(TutorialError, match="'~no-such-user/build' begins with a home folder"):
        open_dataset("~/p")


def test_auto_takes_the_sample_where_coco_is_not_reachable(tmp_path):
    make_coco(tmp_path / "data" / "sample", "sample")
    dataset = open_dataset()
    assert dataset.name == "sample"
    assert "auto took the rendered sample: 127.0.0.1:1 does not serve COCO" in dataset.banner()


def test_auto_does_not_take_a_login_page_for_coco(tmp_path, monkeypatch):
    make_coco(tmp_path / "data" / "sample", "sample")
    with serve(make_coco(tmp_path / "c")) as server:
        server.faults[ARCHIVE] = ["redirect"]
        server.redirect_to = f"{server.url}/login"
        monkeypatch.setenv("COCO_BASE_URL", server.url)
        assert open_dataset("auto").name == "sample"


def test_auto_does_not_wait_for_a_name_look_up_that_hangs(tmp_path, monkeypatch):
    make_coco(tmp_path / "data" / "sample", "sample")
    monkeypatch.setattr(datasets, "PROBE_TIMEOUT_S", 0.2)
    go_on, answered = threading.Event(), []

    def hangs(*_, **__):
        answered.append(go_on.wait(600))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    assert open_dataset("auto").name == "sample"
    assert answered == []
    go_on.set()


def test_auto_takes_coco_where_it_is_reachable_and_later_from_disk(tmp_path, monkeypatch):
    with serve(make_coco(tmp_path / "c")) as server:
        monkeypatch.setenv("COCO_BASE_URL", server.url)
        fetched = open_dataset()
        assert fetched.name == "coco-val2017-animals"
        assert f"auto took COCO from 127.0.0.1:{server.server_port}" in fetched.note
    kept = open_dataset()
    assert "on disk already" in kept.note
    assert kept.records == fetched.records
    assert kept.slug == fetched.slug


# Downloading


def fetch(server, folder, everything=False, per_class=25):
    """What `open_dataset` does for `coco`, from this server; `folder` is called coco."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COCO_BASE_URL", server.url)
        environment.setenv("DATA_DIR", str(folder.parent))
        environment.setattr(datasets.download, "PER_CLASS", per_class)
        return fetch_coco(everything)


@pytest.fixture
def source(tmp_path):
    return make_coco(tmp_path / "source", ids=range(1, 33))


def test_selection_is_deterministic(tmp_path, source):
    """Photo n shows ANIMALS[n % 8] and the next; bear is 0, bird 1, zebra 7."""
    folder, others = tmp_path / "coco", tmp_path / "others" / "coco"
    with serve(source) as server:
        dataset = fetch(server, folder, per_class=2)
        # bear: 7, 8; bird, of what is left: 1, 9; … zebra: 15, 22
        assert ids(dataset) == [*range(1, 16), 22]
        assert dataset.name == "coco-val2017-animals"
        assert dataset.by_id[2].labels == {"cat", "dog"}
        assert dataset.note == ""
        other = fetch(server, folder, per_class=1)
        assert other.slug != dataset.slug
        assert len(server.photos_asked) == 16
        everything = fetch(server, others, everything=True)
    assert (everything.name, len(everything)) == ("coco-val2017-all", 32)
    assert fetch(SimpleNamespace(url=NOWHERE), folder, per_class=2) == dataset  # without the server


def test_classes_with_fewer_photos_are_reported(tmp_path, source):
    with serve(source) as server:
        dataset = fetch(server, tmp_path / "coco", per_class=5)
    short = "cat 4, dog 4, giraffe 4, horse 4, sheep 4, zebra 1"
    assert dataset.note == f"Fewer than 5 photos each of: {short}."


@needs_coco_mini
def test_real_photos_arrive_and_only_the_needed_part_of_the_archive(tmp_path):
    with serve(COCO_MINI) as server:
        dataset = fetch(server, tmp_path / "coco")
        archive = len(server.archive)
        assert server.sent[ARCHIVE] < archive - 2 * 2**20 + 2**17
    assert len(dataset) > 10
    assert dataset.skipped == ()
    assert "Fewer than 25 photos each of: bear" in dataset.note
    for record in dataset:
        original = COCO_MINI / "val2017" / record.path.name
        assert record.path.read_bytes() == original.read_bytes()
        assert record.labels & set(ANIMALS)
    kept = tmp_path / "coco" / "annotations" / "instances_val2017.json"
    assert kept.read_bytes() == (COCO_MINI / "annotations" / kept.name).read_bytes()


def test_only_the_needed_part_of_the_archive_travels(tmp_path, source):
    with serve(source) as server:
        fetch(server, tmp_path / "coco", per_class=1)
        assert len(server.archive) > 2 * 2**20
        assert server.sent[ARCHIVE] < 2**17


def test_a_server_that_dies_and_a_run_that_resumes(tmp_path, source):
    with serve(source, photos_left=10, delay_s=0.01) as server:
        with pytest.raises(TutorialError, match="run again to resume") as caught:
            fetch(server, tmp_path / "coco", everything=True)
        assert "127.0.0.1" in str(caught.value)
    kept = photos_in(tmp_path / "coco" / "val2017")
    assert 1 <= len(kept) <= 10
    assert all(name.endswith(".jpg") and name[0] != "." for name in kept)
    with serve(source) as server:
        dataset = fetch(server, tmp_path / "coco", everything=True)
        missing = {f"GET /val2017/{i:012}.jpg" for i in range(1, 33)}
        assert sorted(server.asked) == sorted(
            missing - {f"GET /val2017/{name}" for name in kept}
        )  # neither the annotations nor a kept photo again
    assert ids(dataset) == list(range(1, 33))


def test_a_photo_that_was_damaged_on_disk_is_fetched_again(tmp_path, source):
    with serve(source) as server:
        fetch(server, tmp_path / "coco", everything=True)
        photo = tmp_path / "coco" / "val2017" / f"{3:012}.jpg"
        photo.write_bytes(photo.read_bytes()[:300])
        server.asked.clear()
        assert len(fetch(server, tmp_path / "coco", everything=True)) == 32
        assert server.asked == [f"GET /val2017/{photo.name}"]
        assert photo.read_bytes() == (source / "val2017" / photo.name).read_bytes()


@pytest.mark.parametrize("fault", ["503", "truncated", "html"])
def test_passing_faults_are_overcome(tmp_path, source, fault):
    with serve(source) as server:
        path = f"/val2017/{8:012}.jpg"
        server.faults[path] = [fault, fault]
        dataset = fetch(server, tmp_path / "coco", everything=True)
        assert server.asked.count(f"GET {path}") == 3
    assert len(dataset) == 32
    assert dataset.skipped == ()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("503", "503"),
        ("404", "404"),
        ("redirect", "302"),
        ("truncated", "broke off"),
        ("html", "no readable photo"),
    ],
)
def test_lasting_faults_end_the_run_and_nothing_bad_is_kept(tmp_path, source, fault, reason):
    with serve(source) as server, serve(source) as elsewhere:
        path = f"/val2017/{8:012}.jpg"
        server.faults[path] = [fault] * 20
        server.redirect_to = f"{elsewhere.url}{path}"
        with pytest.raises(TutorialError, match=rf"{path} could not.*{reason}.*resume"):
            fetch(server, tmp_path / "coco", everything=True)
        assert elsewhere.asked == []
    assert f"{8:012}.jpg" not in photos_in(tmp_path / "coco")
    assert not [name for name in photos_in(tmp_path / "coco") if name.endswith(".part")]


def test_a_truncated_photo_sent_as_whole_is_not_kept(tmp_path, source):
    photo = source / "val2017" / f"{8:012}.jpg"
    photo.write_bytes(photo.read_bytes()[:-200])
    with serve(source) as server, pytest.raises(TutorialError, match="no readable photo"):
        fetch(server, tmp_path / "coco", everything=True)
    assert photo.name not in photos_in(tmp_path / "coco")


@pytest.mark.parametrize("fault", ["truncated", "html", "redirect", "404"])
def test_annotations_that_break_off_are_not_kept(tmp_path, source, fault):
    with serve(source) as server:
        server.faults[ARCHIVE] = [fault] * 20
        with pytest.raises(TutorialError, match=r"trainval2017\.zip could not.*resume"):
            fetch(server, tmp_path / "coco", per_class=1)
        assert photos_in(tmp_path / "coco") == []
        server.faults.clear()
        assert len(fetch(server, tmp_path / "coco", per_class=1)) == 8


def test_annotations_interrupted_after_the_directory_was_read(tmp_path, source):
    big = {"info": np.random.default_rng(0).bytes(400_000).hex()}
    change(source, lambda content: content.update(big))
    with serve(source) as server:
        server.faults[ARCHIVE] = ["", "truncated"]
        with pytest.raises(TutorialError, match="broke off.*nothing is kept"):
            fetch(server, tmp_path / "coco", per_class=1)
        assert photos_in(tmp_path / "coco") == []
        assert len(fetch(server, tmp_path / "coco", per_class=1)) == 8


def test_an_archive_with_other_members_writes_nothing_else(tmp_path, source):
    (source / "annotations" / "instances_val2017.json").rename(source / "annotations" / "x.json")
    with serve(source) as server, pytest.raises(TutorialError, match="instances_val2017"):
        fetch(server, tmp_path / "coco")
    assert photos_in(tmp_path / "coco") == []


def test_zip_slip_writes_nothing_outside(tmp_path, source):
    buffer = io.BytesIO(annotations_zip(source))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("annotations/../../evil.json", "{}")
    with serve(source) as server:
        server.archive = buffer.getvalue()
        fetch(server, tmp_path / "coco", per_class=1)
    assert not list(tmp_path.rglob("evil*"))


def test_an_escaping_file_name_from_the_server_is_refused(tmp_path, source):
    change(source, put("images", "file_name", "../../evil.jpg"))
    make_photo(tmp_path / "evil.jpg")
    with serve(source) as server:
        with pytest.raises(TutorialError, match=r"instances_val2017\.json.*evil\.jpg"):
            fetch(server, tmp_path / "coco", everything=True)
        assert server.photos_asked == []


def test_an_unreachable_server_is_named(tmp_path):
    with pytest.raises(TutorialError, match="127.0.0.1:1/.*cannot be reached.*COCO_BASE_URL"):
        open_dataset("coco")


def test_downloading_in_a_pipe_prints_nothing(tmp_path, source):
    with serve(source, delay_s=0.1) as server:
        code = "from helpers.datasets import open_dataset; print(open_dataset('coco').banner())"
        environment = os.environ | {"COCO_BASE_URL": server.url}
        run = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
    assert run.stderr == ""
    assert run.stdout.startswith("Dataset coco-val2017-animals: 32 photos, 8 categories.\nFewer")
    assert Path(os.environ["DATA_DIR"], "coco", "val2017").is_dir()


def test_the_notebooks_refuse_a_dataset_too_small_to_compare(tmp_path, photos, monkeypatch):
    for number, photo in enumerate(photos[:3]):
        (tmp_path / f"{number}.jpg").write_bytes(photo.read_bytes())
    assert len(open_dataset(tmp_path)) == 3
    monkeypatch.setenv("DATASET", str(tmp_path))
    with pytest.raises(TutorialError, match="3 usable photo.*at least 4"):
        open_dataset()
