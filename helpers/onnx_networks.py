"""What an ONNX file of any framework is: its photos in, and the tensor that becomes the vector."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

from helpers.preprocessing import read_config
from helpers.settings import TutorialError, display_path

CONFIGS = ("preprocessor_config.json", "config.json")
LARGEST = 2**31 - 2**24  # bytes; what protobuf can hold, less what is added
TYPES = {
    TensorProto.FLOAT: np.float32,
    TensorProto.FLOAT16: np.float16,
    TensorProto.DOUBLE: np.float64,
    TensorProto.UINT8: np.uint8,
}
EQUAL = 0.9999
"""Cosine above which a pooled feature map is the vector."""
POOLED = re.compile("pool|feature|vector", re.I)
SCORES = re.compile("logit|prob|softmax|score|prediction", re.I)
SOFTMAX = ("Softmax", "LogSoftmax", "Sigmoid")
PASSED = (*SOFTMAX, "Identity", "Cast", "Dropout", "Flatten", "Squeeze", "Reshape")
PASSED += ("Add", "Div", "LpNormalization")
"""What may lie between a layer and an output, and leaves a vector's numbers in their order."""
LAYERS = ("Gemm", "MatMul", "Conv")
POOLINGS = ("GlobalAveragePool", "ReduceMean", "GlobalMaxPool", "ReduceMax")


@dataclass(frozen=True)
class Photos:
    """The one input of a network."""

    name: str
    type: int
    """Of `onnx.TensorProto`."""
    channels_first: bool
    batch: int | None
    """Photos per call; None: any number."""
    size: int | None
    """Height and width in pixels; None: open."""


@dataclass(frozen=True)
class Vector:
    """Which tensor of a network becomes the vector."""

    tensor: str
    kind: str
    """`vector` [N, d] or [N, d, 1, 1]; `first` or `mean` of tokens [N, T, d]; `map`."""
    said: str
    feature_map: str | None = None
    channels_first: bool = True
    """Of the feature map: [N, d, h, w], not [N, h, w, d]."""
    pooling: str = "none"


class Original:
    """A file as it is, run by ONNX Runtime on the CPU."""

    def __init__(self, file: Path, proto: onnx.ModelProto):
        self.file, self.proto = file, proto
        known = {entry.name for entry in proto.graph.initializer}
        self.inputs = [each for each in proto.graph.input if each.name not in known]
        self.producers = {name: node for node in proto.graph.node for name in node.output}

    def open(self) -> None:
        """Raises TutorialError if ONNX Runtime cannot run it."""
        self.session = self._open(str(self.file))
        self.outputs = [
            each.name
            for each in self.session.get_outputs()
            if each.type in ("tensor(float)", "tensor(float16)", "tensor(double)")
        ]
        if not self.outputs:
            names = ", ".join(each.name for each in self.session.get_outputs())
            raise TutorialError(
                f"{display_path(self.file)} gives no floating-point numbers (its outputs: "
                f"{names}), so nothing that could be a vector: export what comes before them."
            )

    def _open(self, model: str | bytes) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what it complains about is said here
        try:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class
            domains = {node.domain for node in self.proto.graph.node} - {"", "ai.onnx"}
            own = f" (it has operators of {', '.join(sorted(domains))})" if domains else ""
            raise TutorialError(
                f"ONNX Runtime cannot run {display_path(self.file)}{own}: "
                f"{last_line(error)}. Fetch or export it again, with standard operators of an "
                "opset that this version knows."
            ) from error

    def run(self, names: list[str], fed: np.ndarray, photos: Photos) -> dict[str, np.ndarray]:
        """Tensors by name, also inner ones, for all photos; in calls of as many as it takes."""
        session = self.session
        if not set(names) <= set(self.outputs):
            whole = self.whole()
            for name in set(names) - {each.name for each in whole.graph.output}:
                whole.graph.output.append(onnx.ValueInfoProto(name=name))
            session = self._open(whole.SerializeToString())
        step, found = photos.batch or len(fed), []
        for start in range(0, len(fed), step):
            chunk = fed[start : start + step]
            filled = np.resize(chunk, (step, *chunk.shape[1:]))  # repeats where too few are left
            results = session.run(names, {photos.name: filled})
            found.append([np.atleast_1d(result)[: len(chunk)] for result in results])
        return {
            name: np.concatenate(rows)
            for name, rows in zip(names, zip(*found, strict=True), strict=True)
        }

    def whole(self) -> onnx.ModelProto:
        """A copy of the network with its external data inside."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.proto)
        onnx.load_external_data_for_model(copy, str(self.file.parent))
        return copy


def located(path: Path) -> tuple[Path, Path]:
    """The ONNX file, and the folder of its configuration files."""
    if path.is_dir():
        there = [file for file in (path / "model.onnx", path / "onnx/model.onnx") if file.is_file()]
        others = sorted({*path.glob("*.onnx"), *path.glob("onnx/*.onnx")})
        if not there and len(others) != 1:
            names = ", ".join(file.name for file in others) or "none"
            raise TutorialError(
                f"{display_path(path)} holds no model.onnx (other ONNX files there: {names}): give "
                "the path of the file that holds the image network."
            )
        path = (there or others)[0]
    if not path.is_file():
        raise TutorialError(f"There is no ONNX file {display_path(path)}: correct its path.")
    above = path.parent.name == "onnx" and not (path.parent / CONFIGS[0]).exists()
    return path, path.parent.parent if above else path.parent


def read(file: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """A network without what lies in other files, and those.

    Raises:
        TutorialError: it is no ONNX file, larger than one can be here, or a part is missing.
    """
    where, parts = display_path(file), []
    if file.stat().st_size <= LARGEST:
        proto = onnx.ModelProto()
        with suppress(Exception):  # protobuf's own DecodeError has no stable home
            proto.ParseFromString(file.read_bytes())
        if not proto.graph.node or not proto.opset_import:
            raise TutorialError(
                f"{where} is not an ONNX file: give one that a framework's ONNX export wrote, or "
                "fetch it again (what Git LFS leaves in its place is only a note of where it is)."
            )
        entries = [entry for each in proto.graph.initializer for entry in each.external_data]
        places = sorted({entry.value for entry in entries if entry.key == "location"})
        parts = [file.parent / place for place in places]
        for part in parts:
            if not part.is_file():
                raise TutorialError(
                    f"{where} keeps its weights in {part.name}, which is not beside it: fetch that "
                    "file, too."
                )
    if sum(part.stat().st_size for part in [file, *parts]) > LARGEST:
        raise TutorialError(
            f"{where} with its weights takes more than the 2 GB that an ONNX file of one piece can "
            "have: take a smaller network of that family, or its float16 file."
        )
    return proto, parts


def digest(parts: Sequence[Path]) -> str:
    """SHA-256 of all files of a network; those that are not there do not count."""
    found = hashlib.sha256()
    for part in parts:
        if part.is_file():
            with part.open("rb") as content:
                found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()


def hints(folder: Path) -> dict:
    """What `config.json` says that matters here: `image_size` in pixels, `labels`, a count."""
    config = read_config(folder / CONFIGS[1])
    config = config.get("vision_config") or config  # CLIP has one part for text, one for photos
    labels = len(config.get("id2label", ())) or config.get("num_labels", config.get("num_classes"))
    return {"image_size": config.get("image_size"), "labels": labels}


def layouts(original: Original) -> list[Photos]:
    """The ways in which photos may be meant to be given, most likely first.

    Raises:
        TutorialError: they are not given as a single input of colour photos.
    """
    where = display_path(original.file)
    if len(original.inputs) != 1:
        names = ", ".join(each.name for each in original.inputs) or "none"
        raise TutorialError(
            f"{where} wants {len(original.inputs)} inputs ({names}), and only photos can be given: "
            "export the part that sees photos alone, such as CLIP's vision_model.onnx."
        )
    [given] = original.inputs
    shape, kind = given.type.tensor_type.shape.dim, given.type.tensor_type.elem_type
    dims = [dim.dim_value or None for dim in shape]
    if kind not in TYPES or len(dims) != 4:
        raise TutorialError(
            f"{where} takes {onnx.TensorProto.DataType.Name(kind)} {dims} as {given.name!r}, and "
            "photos are four-dimensional and float or uint8: export the network that sees photos."
        )
    found = []
    for first in (True, False):
        channels, sides = (dims[1], dims[2:]) if first else (dims[3], dims[1:3])
        if channels == 3 or (channels is None and 3 not in dims):
            if None not in sides and sides[0] != sides[1]:
                raise TutorialError(
                    f"{where} takes photos of {sides[1]} × {sides[0]} pixels, and only squares are "
                    "made here: export it for a square."
                )
            size = next((side for side in sides if side), None)
            found.append(Photos(given.name, kind, first, dims[0], size))
    if not found:
        raise TutorialError(
            f"{where} takes {dims} as {given.name!r}, which has no side of three colours: export "
            "the network for colour photos."
        )
    return found


def the_vector(
    original: Original,
    found: Mapping[str, np.ndarray],
    inner: Callable[[str], np.ndarray],
    output: str | None,
    labels: int | None,
) -> Vector:
    """Which tensor is to be the vector.

    Args:
        original: the network.
        found: its outputs for some photos.
        inner: computes another tensor for the same photos.
        output: the name a reader gave.
        labels: how many classes the network's configuration names.

    Raises:
        TutorialError: `output` is no tensor of the network.
    """
    if output is not None:
        if output not in {*found, *original.producers}:
            raise TutorialError(
                f"{display_path(original.file)} has no output {output!r}, only "
                f"{', '.join(found)}: give one of these."
            )
        return with_map(original, found, inner, output, f"its {output!r}, as you said")
    flat = [name for name, array in found.items() if array[0].ndim > 0 and is_flat(array)]
    scores = [
        name
        for name in flat
        if SCORES.search(name)
        or original.producers[name].op_type in SOFTMAX
        or found[name].shape[1] == labels
    ]
    pooled = sorted(  # CLIP's image_embeds come before its pooler_output
        (name for name in flat if name not in scores),
        key=lambda name: ("embed" not in name.lower(), not POOLED.search(name)),
    )
    others = [name for name, array in found.items() if array.ndim in (3, 4) and name not in flat]
    if pooled:
        return with_map(original, found, inner, pooled[0], f"its output {pooled[0]!r}")
    if others:
        last = [name for name in others if "last" in name] or others
        return with_map(original, found, inner, last[0], f"its output {last[0]!r}")
    if scores:
        layer = before_layer(original, scores[0])
        if layer:
            said = f"what the last layer before its {scores[0]!r} gets"
            return with_map(original, found, inner, layer, said)
    name = next(iter(found))
    return with_map(original, found, inner, name, f"its output {name!r}")


def is_flat(array: np.ndarray) -> bool:
    """Whether it is a vector per photo: [N, d] or [N, d, 1, 1]."""
    return array.ndim == 2 or (array.ndim == 4 and array.shape[2:] == (1, 1))


def before_layer(original: Original, name: str) -> str | None:
    """What the last layer before a tensor gets; None where there is none."""
    constants = {each.name for each in original.proto.graph.initializer}
    constants |= {key for key, node in original.producers.items() if node.op_type == "Constant"}
    node = original.producers.get(name)
    while node is not None and node.op_type in PASSED:
        computed = [each for each in node.input if each not in constants]
        node = original.producers.get(computed[0]) if computed else None
    return node.input[0] if node is not None and node.op_type in LAYERS else None


def with_map(
    original: Original,
    found: Mapping[str, np.ndarray],
    inner: Callable[[str], np.ndarray],
    name: str,
    said: str,
) -> Vector:
    """A tensor as the vector, with the feature map that it is pooled from where there is one."""
    array = found[name] if name in found else inner(name)
    if array.ndim == 3:
        places = array.shape[1]
        square = round(places**0.5) ** 2 == places
        token = "the mean of its tokens" if square else "its first token"
        return Vector(name, "mean" if square else "first", f"{said}, {token}")
    if array.ndim == 4 and not is_flat(array):
        first = array.shape[1] != array.shape[2]  # [N, d, h, w]: places are square
        return Vector(name, "map", f"{said}, averaged over its places", name, first, "average")
    flat = array.reshape(len(array), -1).astype(np.float64)
    maps = [each for each, values in found.items() if values.ndim == 4]
    node = original.producers.get(name)
    while node is not None and node.op_type in PASSED:
        node = original.producers.get(node.input[0])
    if node is not None and node.op_type in POOLINGS:
        maps.append(node.input[0])
    for each in maps:
        values = (found[each] if each in found else inner(each)).astype(np.float64)
        if values.ndim != 4:
            continue
        for first, axes in ((True, (2, 3)), (False, (1, 2))):
            for pooling, pool in (("average", np.mean), ("max", np.max)):
                pooled = pool(values, axis=axes)
                if pooled.shape == flat.shape and cosine(pooled, flat) >= EQUAL:
                    return Vector(name, "vector", said, each, first, pooling)
    return Vector(name, "vector", said)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """The lowest cosine between rows of the same number; nan where one is not finite."""
    with np.errstate(invalid="ignore"):
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        return float(((a * b).sum(axis=1) / np.maximum(lengths, 1e-30)).min())


def last_line(error: Exception) -> str:
    """What an error of ONNX Runtime says, in one line, without its place in their source."""
    line = (str(error).strip() or type(error).__name__).splitlines()[-1].rstrip(".")
    place = r"^.* : [A-Z_]+ : |Load model from .* failed: ?|\S+\.(cc|h):\d+ (.*\) )?"
    return re.sub(place, "", line)
