"""Any ONNX file of an image network → our contract: `image` in, `embedding` of unit length out.

What is missing goes *into* the graph: layout, number type, scale, mean and deviation before the
network; pooling and unit length after it (`onnx_contract`). What is made is compared with the
original file on photos before it is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from helpers import conversion, models, settings
from helpers.adoption import onnx_networks
from helpers.adoption.onnx_contract import before_network, with_contract
from helpers.adoption.onnx_networks import Original, Photos, Tensors, Vector
from helpers.adoption.preprocessing import Scaling, recipe, scaling
from helpers.conversion import onnx_path
from helpers.files import locked, written_whole
from helpers.models import NETWORKS, EmbeddingModel, adopted_folder, embedding_model
from helpers.progress import say
from helpers.quantization import calibration_pixels
from helpers.settings import TutorialError, display_path, load_settings, typed_path

ADOPTION = 1
"""Goes up when the same file would be adopted otherwise."""
ALIKE = 0.99999  # a cosine above which two photos have the same vector


def from_onnx(
    path: str | Path,
    *,
    input_size: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    output: str | None = None,
    channels: str = "RGB",
    resize: str | None = None,
    crop: bool | None = None,
) -> str:
    """Register a network of any framework under the name that is returned, preset `recommended`.

    path: an ONNX file, or a folder as Hugging Face and Optimum lay it out, with `model.onnx` or
    `onnx/model.onnx`. `preprocessor_config.json` and `config.json` beside the file, or in the
    folder above an `onnx/`, say what is not given here.
    input_size: height and width of what the network sees, in pixels.
    mean, std: three numbers each for channels scaled to 0–1, in the order of `channels`.
    output: the tensor that becomes the vector; by default a pooled vector, else a sequence's first
    token (its mean where the tokens fill a square), else a feature map's average, else what the
    last layer of a classifier gets.
    channels: the order that the network wants, `RGB` or `BGR`.
    resize, crop: as in `models.Recipe`; by default bicubic, and the centre of the photo.

    Returns the name, for `embedding_model(name, "recommended")` and `onnx_model`. It is remembered
    in BUILD_DIR: the same file, with nothing else given, is found as it was adopted last. Raises
    TutorialError, and keeps nothing, if the file cannot be used or something that it needs is not
    known.
    """
    file, folder = onnx_networks.located(typed_path(path))
    proto, parts = onnx_networks.read(file)
    given = {
        "input_size": input_size, "mean": mean, "std": std, "output": output,
        "channels": channels, "resize": resize, "crop": crop,
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value is not None}
    given |= {key: np.ravel(given[key]).tolist() for key in ("mean", "std") if key in given}
    content = onnx_networks.network_digest([file, *parts], folder)
    identity = hashlib.sha256(repr([content, sorted(given.items()), ADOPTION]).encode()).hexdigest()
    about = {"content": content, "identity": identity}
    about |= {"source": settings.relative_path(file), "given": given}
    with locked(adopted_folder() / ".lock"):
        if name := remembered(about):
            return name
        config = onnx_networks.configuration(folder)
        title = folder.name if file.stem == "model" else file.stem
        proto, model, vector = adopt(Original(file, proto), config, given, title)
        model = named(model, about)
        keep(proto, model, vector, about)
    say(f"{model.name}: {model.dimension} numbers a photo, {vector.said}.")
    return model.name


def records() -> dict[str, dict]:
    """What is remembered of the adopted models by name, the one adopted last first."""
    files = sorted(adopted_folder().glob("*.json"), key=lambda path: -path.stat().st_mtime_ns)
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def remembered(about: Mapping) -> str | None:
    """The name of the same file with the same settings, or with any if none are given now."""
    same = "content" if about["given"] == {"channels": "RGB"} else "identity"
    for name, record in records().items():
        model = embedding_model(name, "recommended")
        if record[same] == about[same] and conversion.is_current(onnx_path(model), model):
            return name
    return None


def named(model: EmbeddingModel, about: Mapping) -> EmbeddingModel:
    """`model` under its title's name, or with its content's where another model has that name.

    What was adopted of the same file with the same settings is replaced: the file has changed.
    """
    name = re.sub(r"[^a-z0-9]+", "_", model.title.lower()).strip("_")[:60] or "model"
    title, before, identity = model.title, records().get(name, about), about["identity"]
    if name in NETWORKS or any(before[key] != about[key] for key in ("source", "given")):
        name, title = f"{name}_{identity[:6]}", f"{title} {identity[:6]}"
    network = replace(model.network, title=title, weights_sha256=identity)
    return replace(model, name=name, network=network)


def keep(proto: onnx.ModelProto, model: EmbeddingModel, vector: Vector, about: Mapping) -> None:
    """Write the ONNX file with its metadata, then what is remembered of it."""
    said = {"embedding_from": vector.said, "source": about["source"]}
    helper.set_model_props(proto, conversion.properties(model) | said)
    with written_whole(onnx_path(model)) as part:
        onnx.save(proto, part)
    about = {**about, "network": asdict(model.network), "recipe": model.recipe.description()}
    with written_whole(adopted_folder() / f"{model.name}.json") as part:
        part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def chosen() -> list[str]:
    """The names that MODELS gives, files and folders adopted: by default the whole registry.

    Raises TutorialError if a name is no network, file or folder, or as `from_onnx` does.
    """
    names, known = [], models.networks()
    for wanted in load_settings().models or NETWORKS:
        if wanted in known:
            names.append(wanted)
        elif typed_path(wanted).exists():
            names.append(from_onnx(wanted))
        else:
            raise TutorialError(
                f"MODELS names {wanted!r}, which is neither a network ({', '.join(known)}) "
                "nor an ONNX file or a folder of one: correct it, or unset MODELS to use the "
                "default."
            )
    return list(dict.fromkeys(names))


def chosen_models(preset: str) -> list[EmbeddingModel]:
    """The models that MODELS gives under a preset, adopted ones under the only one they have.

    Raises TutorialError as `chosen` does.
    """
    return [
        embedding_model(name, preset if name in NETWORKS else "recommended") for name in chosen()
    ]


# From what it is to what it shall be --------------------------------------------------------------


def adopt(
    original: Original, config: Mapping, given: Mapping, title: str
) -> tuple[onnx.ModelProto, EmbeddingModel, Vector]:
    """The graph of our contract, checked against the original on photos, and what it is.

    Raises TutorialError as `from_onnx` does.
    """
    where, possible = display_path(original.file), onnx_networks.layouts(original)
    original.open()
    channels, scaled = given["channels"], None
    if possible[0].type != TensorProto.UINT8:
        scaled = scaling(config, given.get("mean"), given.get("std"), channels, where)
    elif not {"mean", "std"}.isdisjoint(given):
        raise TutorialError(
            f"{where} takes whole pixels (uint8), so it scales them itself: give no mean and std."
        )
    sizes = {key: given.get(key) for key in ("input_size", "resize", "crop")}
    prepared = recipe(config, possible[0].size, **sizes, where=where)
    pixels = calibration_pixels(prepared)[conversion.CHECKED]
    photos, tensors = first_that_runs(original, possible, pixels, scaled, channels)
    vector = onnx_networks.the_vector(original, tensors, given.get("output"), config.get("labels"))
    expected = outputs_of_contract(tensors, vector, where)
    text = str(scaled) if scaled else f"{channels.lower()}, scaled inside the network"
    network = models.Network(title, None, text, expected["embedding"].shape[1], "")
    prepared = replace(prepared, pooling=vector.pooling)
    before = before_network(photos, scaled, channels)
    for photo_by_photo in (False, True) if photos.batch == 1 else (False,):
        try:
            proto = with_contract(
                original.whole(), photos, before, vector, expected, photo_by_photo
            )
            if computes(proto, pixels, expected):
                network = replace(network, int8=bool(vector.feature_map) and not photo_by_photo)
                model = EmbeddingModel(title, "recommended", "fp32", network, prepared)
                return proto, model, vector
            why = "it computes something else for several photos at once than for one"
        except Exception as error:  # of onnx or ONNX Runtime
            words = onnx_networks.runtime_words(error)
            why = f"it fails for several photos at once or in a newer opset ({words})"
    raise TutorialError(
        f"{where} was not adopted, because {why}: export it for an open number of photos, or for "
        f"one, with standard operators of opset {conversion.OPSET}."
    )


def outputs_of_contract(tensors: Tensors, vector: Vector, where: str) -> dict[str, np.ndarray]:
    """`embedding` float32 [n, d] and, if there is one, `feature_map` float32 [n, h, w, d].

    Raises TutorialError as `unit_vectors` does.
    """
    expected = {"embedding": unit_vectors(tensors[vector.tensor], vector, where)}
    if vector.feature_map:
        maps = tensors[vector.feature_map].astype(np.float32)
        expected["feature_map"] = maps.transpose(0, 2, 3, 1) if vector.channels_first else maps
    return expected


def computes(
    proto: onnx.ModelProto, pixels: np.ndarray, expected: Mapping[str, np.ndarray]
) -> bool:
    """Whether a graph gives these outputs for pixels uint8 [n, H, W, 3], and for fewer of them."""
    for count in (len(pixels), 3):
        actual = conversion.outputs(proto.SerializeToString(), pixels[:count])
        for name, array in expected.items():
            if conversion.likeness(array[:count], actual[name]) < conversion.LEAST_LIKENESS["fp32"]:
                return False
    return True


def first_that_runs(
    original: Original,
    possible: Sequence[Photos],
    pixels: np.ndarray,
    scaled: Scaling | None,
    channels: str,
) -> tuple[Photos, Tensors]:
    """The first layout of `possible` in which the network takes photos, and its tensors for them.

    pixels: uint8 [n, H, W, 3]. Raises TutorialError if none works.
    """
    for photos in possible:
        fed = pixels[..., ::-1] if channels == "BGR" else pixels
        if scaled:
            shift, scale = scaled.shift_and_scale()
            fed = (fed.astype(np.float32) - shift) * scale
        fed = fed.transpose(0, 3, 1, 2) if photos.channels_first else fed
        # [n, 3, H, W] or [n, H, W, 3], as the network has its photos
        fed = np.ascontiguousarray(fed, onnx_networks.TYPES[photos.type])
        try:
            return photos, Tensors(original, fed, photos)
        except Exception as error:  # ONNX Runtime's errors have no common class
            reason = onnx_networks.runtime_words(error)
    size = pixels.shape[1]
    raise TutorialError(
        f"{display_path(original.file)} does not run on photos of {size} × {size} pixels "
        f"({reason}): give the input_size it was made for."
    )


def unit_vectors(array: np.ndarray, vector: Vector, where: str) -> np.ndarray:
    """What the tensor is as vectors of unit length, float32 [n, d].

    Raises TutorialError if there are none, or all are the same.
    """
    array = array.astype(np.float64)
    if vector.kind == "first":
        array = array[:, 0]
    elif vector.kind == "mean":
        array = array.mean(axis=1)
    elif vector.kind == "map":
        array = array.mean(axis=(2, 3) if vector.channels_first else (1, 2))
    array = array.reshape(len(array), -1)  # [n, d]
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if np.isfinite(array).all() and lengths.all():
        array /= lengths
        if (array @ array.T).min() <= ALIKE:
            return array.astype(np.float32)
        what = "the same vector for different photos"
    else:
        what = "vectors that are no numbers or zero"
    raise TutorialError(
        f"{where} gives {what} ({vector.said}): give the mean and std it was trained with, or "
        "another output."
    )
