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
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from helpers.conversion import CHECKED, is_current, likeness, onnx_path, properties
from helpers.files import locked, written_whole
from helpers.models import (
    NETWORKS,
    EmbeddingModel,
    Network,
    adopted_folder,
    embedding_model,
    networks,
)
from helpers.onnx_contract import before_network, computed, with_contract
from helpers.onnx_networks import (
    CONFIGS,
    TYPES,
    Original,
    Photos,
    Vector,
    digest,
    hints,
    last_line,
    layouts,
    located,
    read,
    the_vector,
)
from helpers.preprocessing import Scaling, read_config, recipe, scaling
from helpers.progress import say
from helpers.quantization import calibration_pixels
from helpers.settings import TutorialError, display_path, load_settings, relative_path, typed_path

ADOPTION = 1
"""Goes up when the same file would be adopted otherwise."""
LIKENESS = 0.9999
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

    Args:
        path: an ONNX file, or a folder as Hugging Face and Optimum lay it out, with `model.onnx`
            or `onnx/model.onnx`. `preprocessor_config.json` and `config.json` beside the file, or
            in the folder above an `onnx/`, say what is not given here.
        input_size: height and width of what the network sees, in pixels.
        mean, std: three numbers each for channels scaled to 0–1, in the order of `channels`.
        output: the tensor that becomes the vector; by default a pooled vector, else a sequence's
            first token (its mean where the tokens fill a square), else a feature map's average,
            else what the last layer of a classifier gets.
        channels: the order that the network wants, `RGB` or `BGR`.
        resize, crop: as in `models.Recipe`; by default bicubic, and the centre of the photo.

    Returns:
        The name, for `embedding_model(name, "recommended")` and `onnx_model`. It is remembered in
        BUILD_DIR: the same file, with nothing else given, is found as it was adopted last.

    Raises:
        TutorialError: the file cannot be used, or something that it needs is not known. Nothing is
            kept then.
    """
    file, folder = located(typed_path(path))
    proto, parts = read(file)
    given = {
        key: np.ravel(value).tolist() if key in ("mean", "std") else value
        for key, value in {
            "input_size": input_size, "mean": mean, "std": std, "output": output,
            "channels": channels, "resize": resize, "crop": crop,
        }.items()
        if value is not None
    }  # fmt: skip
    content = digest([file, *parts, *(folder / name for name in CONFIGS)])
    identity = hashlib.sha256(repr([content, sorted(given.items()), ADOPTION]).encode()).hexdigest()
    with locked(adopted_folder() / ".lock"):
        defaults = given == {"channels": "RGB"}
        for name, about in records().items():
            same = about["content"] == content if defaults else about["identity"] == identity
            model = embedding_model(name, "recommended")
            if same and is_current(onnx_path(model), model):
                return name
        config = {**hints(folder), **read_config(folder / CONFIGS[0])}
        title = folder.name if file.stem == "model" else file.stem
        proto, model, vector = adopt(Original(file, proto), config, given, title)
        source = relative_path(file)
        model = named(model, identity, source, given)
        about = {"embedding_from": vector.said, "source": source}
        helper.set_model_props(proto, {**properties(model), **about})
        with written_whole(onnx_path(model)) as part:
            onnx.save(proto, part)
        about = {
            "content": content,
            "identity": identity,
            "source": source,
            "given": given,
            "network": asdict(model.network),
            "recipe": model.recipe.description(),
        }
        with written_whole(adopted_folder() / f"{model.name}.json") as part:
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    say(f"{model.name}: {model.dimension} numbers a photo, {vector.said}.")
    return model.name


def records() -> dict[str, dict]:
    """What is remembered of the adopted models by name, the one adopted last first."""
    files = sorted(adopted_folder().glob("*.json"), key=lambda path: -path.stat().st_mtime_ns)
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def named(model: EmbeddingModel, identity: str, source: str, given: Mapping) -> EmbeddingModel:
    """`model` under its title's name, or with its content's where another model has that name.

    What was adopted of the same file with the same settings is replaced: the file has changed.
    """
    name = re.sub(r"[^a-z0-9]+", "_", model.title.lower()).strip("_") or "model"
    title, before = model.title, records().get(name)
    if name in NETWORKS or (before and [before["source"], before["given"]] != [source, given]):
        name, title = f"{name}_{identity[:6]}", f"{title} {identity[:6]}"
    network = replace(model.network, title=title, weights_sha256=identity)
    return replace(model, name=name, network=network)


def chosen() -> list[str]:
    """The names that MODELS gives, files and folders adopted: by default the whole registry.

    Raises:
        TutorialError: a name is no network, file or folder; or as `from_onnx`.
    """
    names = []
    for wanted in load_settings().models or NETWORKS:
        if wanted in networks():
            names.append(wanted)
        elif typed_path(wanted).exists():
            names.append(from_onnx(wanted))
        else:
            raise TutorialError(
                f"MODELS names {wanted!r}, which is neither a network ({', '.join(networks())}) "
                "nor an ONNX file or a folder of one: correct it, or unset MODELS to use the "
                "default."
            )
    return list(dict.fromkeys(names))


def chosen_models(preset: str = "article") -> list[EmbeddingModel]:
    """The models that MODELS gives under a preset, adopted ones under the only one they have.

    Raises TutorialError as `chosen` does.
    """
    models = []
    for name in chosen():
        models.append(embedding_model(name, preset if name in NETWORKS else "recommended"))
    return models


# From what it is to what it shall be --------------------------------------------------------------


def adopt(
    original: Original, config: Mapping, given: Mapping, title: str
) -> tuple[onnx.ModelProto, EmbeddingModel, Vector]:
    """The graph of our contract, checked against the original on photos, and what it is.

    Raises:
        TutorialError: as `from_onnx`.
    """
    where, ways = display_path(original.file), layouts(original)
    original.open()
    uint8, channels = ways[0].type == TensorProto.UINT8, given["channels"]
    if uint8 and not {"mean", "std"}.isdisjoint(given):
        raise TutorialError(
            f"{where} takes whole pixels (uint8), so it scales them itself: give no mean and std."
        )
    scaled = None
    if not uint8:
        scaled = scaling(config, given.get("mean"), given.get("std"), channels, where)
    sizes = {key: given.get(key) for key in ("input_size", "resize", "crop")}
    prepared = recipe(config, ways[0].size, **sizes, where=where)
    pixels = calibration_pixels(prepared)[CHECKED]
    photos, fed, found = tried(original, ways, pixels, scaled, channels)

    def inner(tensor: str) -> np.ndarray:
        return found[tensor] if tensor in found else original.run([tensor], fed, photos)[tensor]

    vector = the_vector(original, found, inner, given.get("output"), config.get("labels"))
    wanted = {"embedding": unit_vectors(inner(vector.tensor), vector, where)}
    if vector.feature_map:
        maps = inner(vector.feature_map).astype(np.float32)
        wanted["feature_map"] = maps.transpose(0, 2, 3, 1) if vector.channels_first else maps
    text = str(scaled) if scaled else f"{channels.lower()}, scaled inside the network"
    network = Network(title, None, text, wanted["embedding"].shape[1], "")
    prepared = replace(prepared, pooling=vector.pooling)
    before = before_network(photos, scaled, channels)
    for one_by_one in (False, True):
        with suppress(Exception):  # it cannot take several photos at once
            proto = with_contract(original.whole(), photos, before, vector, wanted, one_by_one)
            made = [computed(proto, pixels[:count]) for count in (len(pixels), 3)]
            if all(
                likeness(array[: len(found[name])], found[name]) >= LIKENESS
                for name, array in wanted.items()
                for found in made
            ):
                network = replace(network, int8=bool(vector.feature_map) and not one_by_one)
                model = EmbeddingModel(title, "recommended", "fp32", network, prepared)
                return proto, model, vector
        if photos.batch != 1:
            break
    raise TutorialError(
        f"{where} was not adopted, because it computes something else for several photos at once "
        "than for one: export it for an open number of photos, or for one."
    )


def tried(
    original: Original,
    ways: Sequence[Photos],
    pixels: np.ndarray,
    scaled: Scaling | None,
    channels: str,
) -> tuple[Photos, np.ndarray, dict[str, np.ndarray]]:
    """The first way to give photos that works, these photos as given, and all outputs for them.

    Raises:
        TutorialError: none works.
    """
    for photos in ways:
        fed = pixels[..., ::-1] if channels == "BGR" else pixels
        if scaled:
            shift, scale = scaled.shift_and_scale()
            fed = (fed.astype(np.float32) - shift) * scale
        fed = fed.transpose(0, 3, 1, 2) if photos.channels_first else fed
        fed = np.ascontiguousarray(fed, TYPES[photos.type])
        try:
            return photos, fed, original.run(original.outputs, fed, photos)
        except Exception as error:  # ONNX Runtime's errors have no common class
            failed = last_line(error)
    size = pixels.shape[1]
    raise TutorialError(
        f"{display_path(original.file)} does not run on photos of {size} × {size} pixels "
        f"({failed}): give the input_size it was made for."
    )


def unit_vectors(array: np.ndarray, vector: Vector, where: str) -> np.ndarray:
    """What the tensor is as vectors of unit length, float32 [n, d].

    Raises:
        TutorialError: there are none, or all are the same.
    """
    array = array.astype(np.float64)
    if vector.kind == "first":
        array = array[:, 0]
    elif vector.kind == "mean":
        array = array.mean(axis=1)
    elif vector.kind == "map":
        array = array.mean(axis=(2, 3) if vector.channels_first else (1, 2))
    array = array.reshape(len(array), -1)
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
