"""Any ONNX file of an image network → our contract: `image` in, `embedding` of unit length out.

What is missing goes *into* the graph: layout, number type, scale, mean and deviation before the
network; pooling and unit length after it. Only operators that mean the same from opset 13 on are
added. What is made is compared with the original file on photos before it is kept.
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
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from helpers.conversion import CHECKED, OPSET, is_current, likeness, onnx_path, properties
from helpers.files import locked, written_whole
from helpers.models import (
    NETWORKS,
    EmbeddingModel,
    Network,
    adopted_folder,
    embedding_model,
    networks,
)
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
from helpers.quantization import calibration_pixels
from helpers.settings import TutorialError, display_path, load_settings, relative_path, typed_path

ADOPTION = 1
"""Goes up when the same file would be adopted otherwise."""
LEAST_OPSET = 13
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
        key: value
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
        model, source = named(model, identity), relative_path(file)
        about = {"embedding_from": vector.said, "source": source}
        helper.set_model_props(proto, {**properties(model), **about})
        with written_whole(onnx_path(model)) as part:
            onnx.save(proto, part)
        about = {
            "content": content,
            "identity": identity,
            "source": source,
            "network": asdict(model.network),
            "recipe": model.recipe.description(),
        }
        with written_whole(adopted_folder() / f"{model.name}.json") as part:
            part.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"{model.name}: {model.dimension} numbers a photo, {vector.said}.")
    return model.name


def records() -> dict[str, dict]:
    """What is remembered of the adopted models by name, the one adopted last first."""
    files = sorted(adopted_folder().glob("*.json"), key=lambda path: -path.stat().st_mtime_ns)
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}


def named(model: EmbeddingModel, identity: str) -> EmbeddingModel:
    """`model` under a name of its own: its title's, and where another has that, its content's."""
    name = re.sub(r"[^a-z0-9]+", "_", model.title.lower()).strip("_") or "model"
    title, known = model.title, {key: each.weights_sha256 for key, each in networks().items()}
    if known.get(name, identity) != identity:
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
                return (
                    proto,
                    EmbeddingModel(title, "recommended", "fp32", network, prepared),
                    vector,
                )
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


Step = tuple[str, dict, list]
"""An operator, its attributes, and the constants it gets beside the tensor before it."""


def before_network(photos: Photos, scaled: Scaling | None, channels: str) -> list[Step]:
    """From pixels uint8 [N, H, W, 3] to the input of the network."""
    steps: list[Step] = []
    if channels == "BGR":
        steps.append(("Gather", {"axis": 3}, [np.array([2, 1, 0])]))
    if scaled:
        shift, scale = scaled.shift_and_scale()
        steps.append(("Cast", {"to": TensorProto.FLOAT}, []))
        steps += [("Sub", {}, [shift]), ("Mul", {}, [scale])]
    if photos.channels_first:
        steps.append(("Transpose", {"perm": [0, 3, 1, 2]}, []))
    return [*steps, ("Cast", {"to": photos.type}, [])]


def after_network(vector: Vector) -> tuple[list[Step], list[Step]]:
    """From the network's tensors to `embedding` [N, d] and to `feature_map` [N, h, w, d]."""
    number: Step = ("Cast", {"to": TensorProto.FLOAT}, [])
    average: list[Step] = [("GlobalAveragePool", {}, [])]
    to_front: list[Step] = [("Transpose", {"perm": [0, 3, 1, 2]}, [])]
    kinds: dict[str, list[Step]] = {
        "vector": [],
        "first": [("Gather", {"axis": 1}, [np.array(0)])],
        "mean": [("Transpose", {"perm": [0, 2, 1]}, []), *average],
        "map": average if vector.channels_first else to_front + average,
    }
    unit: list[Step] = [("Flatten", {"axis": 1}, []), ("LpNormalization", {"axis": 1, "p": 2}, [])]
    to_back: list[Step] = [("Transpose", {"perm": [0, 2, 3, 1]}, [])]
    return [number, *kinds[vector.kind], *unit], [
        number,
        *(to_back if vector.channels_first else []),
    ]


def with_contract(
    proto: onnx.ModelProto,
    photos: Photos,
    before: list[Step],
    vector: Vector,
    wanted: Mapping[str, np.ndarray],
    one_by_one: bool,
) -> onnx.ModelProto:
    """The network between `before` and what follows it, with our inputs and outputs.

    With `one_by_one` a Scan gives the photos to it in turn: for a network that is fixed to one.
    """
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    if next(each.version for each in proto.opset_import if not each.domain) < LEAST_OPSET:
        proto = onnx.version_converter.convert_version(proto, OPSET)
    proto = onnx.compose.add_prefix(proto, "net/")
    graph, prefix = proto.graph, "one_" if one_by_one else ""
    embedding, feature_map = after_network(vector)
    ways = [(prefix + "embedding", vector.tensor, embedding)]
    if vector.feature_map:  # first, since INT8 ends with it
        ways.insert(0, (prefix + "feature_map", vector.feature_map, feature_map))
    if one_by_one:
        before = [("Unsqueeze", {}, [np.array([0])]), *before]
        ways = [(*way, [*steps, ("Squeeze", {}, [np.array([0])])]) for *way, steps in ways]
    nodes = chain(graph, prefix + "image", before, "net/" + photos.name) + list(graph.node)
    for name, tensor, steps in ways:
        nodes += chain(graph, "net/" + tensor, steps, name)
    nodes = needed(nodes, {name for name, *_ in ways})
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    used = {name for node in nodes for name in names_in(node)}
    constants = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    sides = [photos.size] * 2 if photos.size else ["H", "W"]
    shapes = {"embedding": ["N", wanted["embedding"].shape[1]]}
    if vector.feature_map:
        shapes["feature_map"] = ["N", "h", "w", wanted["feature_map"].shape[3]]
    if one_by_one:
        body = helper.make_graph(
            nodes,
            "one_photo",
            [helper.make_tensor_value_info("one_image", TensorProto.UINT8, [*sides, 3])],
            [
                helper.make_tensor_value_info("one_" + name, TensorProto.FLOAT, shape[1:])
                for name, shape in shapes.items()
            ],
            constants,
        )
        nodes = [helper.make_node("Scan", ["image"], list(shapes), body=body, num_scan_inputs=1)]
        constants = []
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", *sides, 3]))
    for name, shape in shapes.items():
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    proto.ir_version = max(proto.ir_version, 8)
    return proto


def chain(graph: onnx.GraphProto, start: str, steps: Sequence[Step], end: str) -> list:
    """Nodes one after another from tensor `start` to `end`; their constants go to `graph`."""
    nodes, name = [], start
    for number, (operator, attributes, constants) in enumerate(steps, start=1):
        here = f"adopted:{end}:{number}"
        names = [f"{here}:{place}" for place in range(len(constants))]
        for constant, known in zip(constants, names, strict=True):
            graph.initializer.append(numpy_helper.from_array(constant, known))
        following = end if number == len(steps) else here
        made = helper.make_node(operator, [name, *names], [following], here, **attributes)
        nodes, name = [*nodes, made], following
    return nodes


def needed(nodes: Sequence, outputs: set[str]) -> list:
    """The nodes, in their order, that the outputs are computed from."""
    kept, names = [], set(outputs)
    for node in reversed(nodes):
        if names & set(node.output):
            kept.insert(0, node)
            names.update(names_in(node))
    return kept


def names_in(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, those of the graphs inside it, too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inside in graph.node:
                names |= names_in(inside)
            names.update(each.name for each in graph.output)
    return names


def computed(proto: onnx.ModelProto, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What a graph of our contract computes for pixels uint8 [n, H, W, 3], by output."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"image": pixels}), strict=True))
