"""Keras → SavedModel → ONNX, a look inside the file, and parity between the two."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime

import helpers
from helpers.files import locked, remove_leftovers, writing, written_whole
from helpers.models import EmbeddingModel, embedding_model
from helpers.progress import say
from helpers.settings import TutorialError, display_path, last_line, load_settings

if TYPE_CHECKING:
    import keras

OPSET = 18
CONVERSION = 2
"""Goes up when our own code makes other files: then those in the build folder are made again."""
LEAST_LIKENESS = {"fp32": 0.9999, "int8": 0.9}
"""Between the outputs of a file and of what it was made from, on the photos of `check`."""
NO_SPACE = os.strerror(errno.ENOSPC)
CHECKED = slice(None, None, 6)
"""Four of the crops of three photos that calibration has: enough to tell a wrong network."""
AXES = {"image": "NHWC", "embedding": "ND", "feature_map": "NhwD"}


def onnx_model(name: str, *, preset: str = "article", precision: str = "fp32") -> Path:
    """`ensure_onnx` for the network `name`, of the registry or adopted.

    Raises TutorialError as `ensure_onnx` and `models.embedding_model` do.
    """
    return ensure_onnx(embedding_model(name, preset, precision))


def ensure_onnx(model: EmbeddingModel) -> Path:
    """The ONNX file of a model, converted now unless a current one exists.

    The file has input `image` uint8 [N, H, W, 3] (RGB, 0–255) and outputs `embedding`
    float32 [N, d] of unit length and `feature_map` float32 [N, h, w, d], and says in its metadata
    which photo preparation it expects. Raises TutorialError if there are no weights, tf2onnx failed
    or the file computes something else than what it was made from.
    """
    target = onnx_path(model)
    with writing(target.parent), locked(target.with_suffix(".lock")):
        if is_current(target, model):
            return target
        if model.precision == "int8":
            return quantized(model)
        if model.network.build is None:
            raise TutorialError(
                f"The ONNX file of {model.title}, which was adopted, is gone from "
                f"{display_path(target.parent)}: adopt it again with "
                "helpers.adoption.from_onnx(path)."
            )
        say(f"{model.title}: converting to ONNX, half a minute …")
        folder = work_folder(model)
        try:
            return convert(keras_embedder(model), folder, model)
        finally:
            shutil.rmtree(folder.parent, ignore_errors=True)


def convert(embedder: keras.Model, folder: Path, model: EmbeddingModel) -> Path:
    """`embedder` as SavedModel in `folder`, through tf2onnx, with its metadata in its place.

    Returns the finished file, `onnx_path(model)`. Raises TutorialError if tf2onnx failed or was
    killed, or the build folder cannot be written.
    """
    with writing(onnx_path(model).parent):
        saved_model = save_saved_model(embedder, folder)
        converted = saved_model.with_suffix(".onnx")
        # From inside the folder: TensorFlow takes [ and * in a path for wildcards.
        command = tf2onnx_command(saved_model.name, converted.name)
        environment = os.environ | {"TF2ONNX_CATCH_ERRORS": "FALSE"}  # half the memory: notebook 1
        done = subprocess.run(
            command, cwd=converted.parent, env=environment, capture_output=True, text=True
        )
        if NO_SPACE in done.stderr:
            raise OSError(errno.ENOSPC, NO_SPACE)
    if done.returncode < 0:
        raise TutorialError(
            f"tf2onnx was killed while it converted {model.title} (signal {-done.returncode}), "
            "most often because memory ran out: close other notebooks and programs and run again."
        )
    if done.returncode:
        reason = last_line(done.stderr.strip() or f"it ended with code {done.returncode}")
        raise TutorialError(f"tf2onnx could not convert {model.title}: {reason}")
    return add_metadata(converted, model, embedder)


def quantized(model: EmbeddingModel) -> Path:
    """The INT8 file of `model`, `onnx_path(model)`, made from its fp32 file."""
    from helpers import quantization  # to convert, not to search

    source = ensure_onnx(replace(model, precision="fp32"))
    target = onnx_path(model)
    say_if_remade(target)
    say(f"{model.title}: quantizing to INT8, half a minute …")
    if not quantization.int8_instructions():
        say(quantization.int8_advice())
    with written_whole(target) as part:
        pixels = quantization.calibration_pixels(model.recipe)
        quantization.quantize(source, part, pixels)
        check(model, outputs(source, pixels[CHECKED]), outputs(part, pixels[CHECKED]))
        proto = load_onnx(part)
        onnx.helper.set_model_props(proto, properties(model))
        onnx.save(proto, part)
    return target


def onnx_path(model: EmbeddingModel) -> Path:
    """Where the ONNX file of `model` lies in the build folder."""
    return load_settings().build_dir / "models" / f"{model.slug}.onnx"


def work_folder(model: EmbeddingModel) -> Path:
    """An empty place for the SavedModel on its way to ONNX; `add_metadata` removes it.

    Each process has its own: the tf2onnx of a killed one may still be writing to that one's.
    Raises TutorialError if the build folder cannot be written.
    """
    target = onnx_path(model)
    say_if_remade(target)
    folder = target.with_name(f".{target.stem}.{os.getpid()}.part")
    remove_leftovers(target.parent)
    shutil.rmtree(folder, ignore_errors=True)
    with writing(target.parent):
        folder.mkdir(parents=True)
    return folder / "saved_model"


def say_if_remade(target: Path) -> None:
    """Why a file that is there is not used, with all that was computed with it."""
    if target.exists():
        say(f"{display_path(target)} was made with other versions or settings: making it again.")


def keras_embedder(model: EmbeddingModel) -> keras.Model:
    """Pixels to unit vector as one Keras model: preprocessing, network, pooling, length 1.

    Input `image` uint8 [N, H, W, 3] of any size, since convolution and pooling take any; outputs
    `embedding` float32 [N, d] and `feature_map` float32 [N, h, w, d], the map that is pooled
    (for VGG16 Keras' last layer, `block5_pool`).
    """
    from helpers.quiet_tf import keras, standard_keras

    standard_keras()
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    pixels = keras.ops.cast(image, "float32")  # [N, H, W, 3]
    if model.network.preprocessing == "lite":
        pixels = (pixels - 127) / 128
    else:
        pixels = keras.applications.imagenet_utils.preprocess_input(
            pixels, mode=model.network.preprocessing
        )
    feature_map = model.network.build()(pixels)  # [N, h, w, d]
    embedding = keras.layers.UnitNormalization()(pooled(feature_map, model.recipe.pooling))
    return keras.Model(image, {"embedding": embedding, "feature_map": feature_map})


def pooled(feature_map, pooling: str):
    """One number per channel from a feature map [N, h, w, d].

    `gem` is the generalised mean with p = 3 (Radenović, Tolias, Chum, "Fine-tuning CNN Image
    Retrieval with No Human Annotation", 2018, eq. 3), for feature maps that are not negative.
    Returns float32 [N, d].
    """
    from helpers.quiet_tf import keras

    maximum, average = keras.layers.GlobalMaxPooling2D(), keras.layers.GlobalAveragePooling2D()
    if pooling == "gem":
        return average(feature_map**3) ** (1 / 3)
    return {"max": maximum, "average": average}[pooling](feature_map)


def save_saved_model(embedder: keras.Model, folder: Path) -> Path:
    """Write `embedder` as a TensorFlow SavedModel with the explicit signature `image` → outputs.

    Raises OSError if the disk is full.
    """
    from helpers.quiet_tf import tf

    image = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
    serve = tf.function(lambda image: embedder(image), input_signature=[image])
    try:
        tf.saved_model.save(embedder, str(folder), signatures=serve)
    except tf.errors.ResourceExhaustedError as error:
        if NO_SPACE in str(error):
            raise OSError(errno.ENOSPC, NO_SPACE) from error
        raise
    return folder


def tf2onnx_command(saved_model: str, output: str) -> list[str]:
    """The command line that converts a SavedModel, with every choice explicit."""
    command = [sys.executable, "-m", "tf2onnx.convert", "--opset", str(OPSET), "--tag", "serve"]
    command += ["--signature_def", "serving_default"]
    return [*command, "--saved-model", saved_model, "--output", output]


def add_metadata(
    converted: Path, model: EmbeddingModel, embedder: keras.Model | None = None
) -> Path:
    """Check tf2onnx's output, write into it what it expects, and move it to its place in one step.

    `converted` is what tf2onnx wrote in a `work_folder`, which is removed; `embedder`, if it is
    there already, is `keras_embedder(model)`. Returns the finished file, `onnx_path(model)`. Raises
    TutorialError if tf2onnx left no file, or one that computes something else than Keras, or if the
    build folder cannot be written.
    """
    from helpers.quantization import calibration_pixels  # to convert, not to search

    if not converted.exists():
        raise TutorialError(
            f"tf2onnx wrote no {display_path(converted)}; its messages above say why."
        )
    pixels = calibration_pixels(model.recipe)[CHECKED]
    expected = (embedder or keras_embedder(model)).predict(pixels, verbose=0)
    check(model, expected, outputs(converted, pixels))
    proto = onnx.load(converted)
    for value in (*proto.graph.input, *proto.graph.output):
        for dim, letter in zip(value.type.tensor_type.shape.dim, AXES[value.name], strict=True):
            if not dim.HasField("dim_value"):
                dim.dim_param = letter
    onnx.helper.set_model_props(proto, properties(model))
    target = onnx_path(model)
    with writing(target.parent):
        onnx.save(proto, converted)
        converted.replace(target)
    shutil.rmtree(converted.parent)
    return target


def outputs(file: Path | bytes, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What an ONNX file or its content computes for pixels uint8 [n, H, W, 3], by output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it complains about is said in errors
    file = file if isinstance(file, bytes) else str(file)
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pixels}), strict=True))


def check(
    model: EmbeddingModel,
    expected: Mapping[str, np.ndarray],
    actual: Mapping[str, np.ndarray],
) -> None:
    """Compare a new file's outputs for some photos with those of what it was made from.

    Of an INT8 file only `embedding`, which is what is searched. Raises TutorialError if an output
    differs too much for at least one photo, or is missing.
    """
    names = ("embedding",) if model.precision == "int8" else expected
    lowest = min(likeness(expected[name], actual.get(name)) for name in names)
    least = LEAST_LIKENESS[model.precision]
    if lowest < least and model.precision == "int8":
        raise TutorialError(
            f"The INT8 ONNX file of {model.title} was not kept, because this network does not bear "
            f"INT8 well enough (a cosine of {lowest:.4f} to the vectors of its fp32 file, where "
            f'{least} is the least): use precision="fp32".'
        )
    if lowest < least:
        raise TutorialError(
            f"The fp32 ONNX file of {model.title} was not kept, because it computes something else "
            f"than what it was made from (a likeness of {lowest:.4f}, where {least} is the least): "
            "restart the kernel and run the notebook from its first cell; if that does not help, "
            "delete .venv and `make run` installs the versions that were tested."
        )


def likeness(expected: np.ndarray, actual: np.ndarray | None) -> float:
    """The lowest cosine between rows of the same number; less where their lengths differ too.

    2 a·b / (|a|² + |b|²), at most 1; 1 where both are zero; -1 for another shape and where
    either is not finite.
    """
    if actual is None or actual.shape != expected.shape:
        return -1.0
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return -1.0
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (expected, actual))
    lengths = (a * a + b * b).sum(axis=1)  # [N]
    alike = np.divide(2 * (a * b).sum(axis=1), lengths, out=np.ones(len(a)), where=lengths > 0)
    return float(alike.min())


def properties(model: EmbeddingModel) -> dict[str, str]:
    """What the file says about itself in its `metadata_props`."""
    about = {"package_version": helpers.__version__, "cache_key": cache_key(model)}
    if model.precision == "int8":
        from helpers.quantization import quantization_key

        about["calibration_sha256"] = quantization_key()
    return model.description() | about


def cache_key(model: EmbeddingModel) -> str:
    """A digest of everything the ONNX file depends on."""
    packages = ("keras", "tf2onnx", "onnx") if model.network.build else ()
    inputs = model.description() | {package: version(package) for package in packages}
    inputs |= {"opset": OPSET, "axes": AXES, "conversion": CONVERSION}
    if model.precision == "int8":
        from helpers.quantization import quantization_key

        inputs["quantization"] = quantization_key()
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def is_current(path: Path, model: EmbeddingModel) -> bool:
    """Whether `path` was converted from this model, these weights and these versions."""
    return path.exists() and metadata(path).get("cache_key") == cache_key(model)


def metadata(path: Path) -> dict[str, str]:
    """The `metadata_props` of an ONNX file. Raises TutorialError if it is none."""
    try:
        state = path.stat()
    except OSError as error:
        raise TutorialError(
            f"{display_path(path)} cannot be read ({error.strerror}); make it with "
            "helpers.conversion.onnx_model()."
        ) from error
    return dict(_metadata(path, state.st_mtime_ns, state.st_size))


@functools.lru_cache(maxsize=64)
def _metadata(path: Path, _changed: int, _size: int) -> dict[str, str]:
    """Parsing takes up to a second, so it is done once for each state of the file."""
    return {entry.key: entry.value for entry in load_onnx(path).metadata_props}


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file. Raises TutorialError if it cannot be read."""
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's own DecodeError has no stable home
        raise TutorialError(
            f"{display_path(path)} is not a readable ONNX file; delete it and run again."
        ) from error


def inspect(path: Path) -> dict:
    """What an ONNX file holds: `opset`, `operators` (a Counter), `parameters`, `size_mb`.

    Raises TutorialError if it cannot be read.
    """
    proto = load_onnx(path)
    return {
        "opset": next(entry.version for entry in proto.opset_import if entry.domain == ""),
        "operators": Counter(node.op_type for node in proto.graph.node),
        "parameters": sum(int(np.prod(tensor.dims)) for tensor in proto.graph.initializer),
        "size_mb": path.stat().st_size / 1e6,
    }


def parity(expected: np.ndarray, actual: np.ndarray) -> tuple[np.ndarray, float]:
    """Parity of two sets of vectors [N, d].

    Returns the cosine of each pair of rows, float64 [N] (0 where one is zero), and the maximum
    absolute difference.
    """
    expected, actual = expected.astype(np.float64), actual.astype(np.float64)
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(actual, axis=1)  # [N]
    cosines = (expected * actual).sum(axis=1) / np.maximum(lengths, 1e-30)
    return cosines, float(np.abs(expected - actual).max())
