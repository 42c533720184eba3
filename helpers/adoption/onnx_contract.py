"""The graph of our contract around a network: `image` in, `embedding` and `feature_map` out.

Only operators that mean the same from opset 13 on are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from helpers.adoption.onnx_networks import Photos, Vector
from helpers.adoption.preprocessing import Scaling
from helpers.conversion import OPSET

LEAST_OPSET = 13
Step = tuple[str, dict, list]
"""An operator, its attributes, and the constants it gets beside the tensor before it."""
TO_FLOAT: Step = ("Cast", {"to": TensorProto.FLOAT}, [])
CHANNELS_FIRST: Step = ("Transpose", {"perm": [0, 3, 1, 2]}, [])
CHANNELS_LAST: Step = ("Transpose", {"perm": [0, 2, 3, 1]}, [])
AVERAGE: Step = ("GlobalAveragePool", {}, [])


def before_network(photos: Photos, scaled: Scaling | None, channels: str) -> list[Step]:
    """From pixels uint8 [N, H, W, 3] to the input of the network."""
    steps: list[Step] = []
    if channels == "BGR":
        steps.append(("Gather", {"axis": 3}, [np.array([2, 1, 0])]))
    if scaled:
        shift, scale = scaled.shift_and_scale()
        steps += [TO_FLOAT, ("Sub", {}, [shift]), ("Mul", {}, [scale])]
    if photos.channels_first:
        steps.append(CHANNELS_FIRST)
    return [*steps, ("Cast", {"to": photos.type}, [])]


def after_network(vector: Vector) -> dict[str, tuple[str, list[Step]]]:
    """The network's tensor and the steps from it to `feature_map` [N, h, w, d], `embedding` [N, d].

    The feature map, if there is one, comes first, since INT8 ends with it.
    """
    kinds: dict[str, list[Step]] = {
        "vector": [],
        "first": [("Gather", {"axis": 1}, [np.array(0)])],
        "mean": [("Transpose", {"perm": [0, 2, 1]}, []), AVERAGE],
        "map": [AVERAGE] if vector.channels_first else [CHANNELS_FIRST, AVERAGE],
    }
    ends = {}
    if vector.feature_map:
        to_back = [CHANNELS_LAST] if vector.channels_first else []
        ends["feature_map"] = (vector.feature_map, [TO_FLOAT, *to_back])
    unit: list[Step] = [("Flatten", {"axis": 1}, []), ("LpNormalization", {"axis": 1, "p": 2}, [])]
    return ends | {"embedding": (vector.tensor, [TO_FLOAT, *kinds[vector.kind], *unit])}


def with_contract(
    proto: onnx.ModelProto,
    photos: Photos,
    before: list[Step],
    vector: Vector,
    expected: Mapping[str, np.ndarray],
    photo_by_photo: bool,
) -> onnx.ModelProto:
    """The network between `before` and what follows it, with our inputs and outputs.

    With `photo_by_photo` a Scan gives the photos to it in turn: for a network that is fixed to one.
    `expected` are its outputs for some photos, whose widths it is to have.
    """
    proto = onnx.compose.add_prefix(_with_known_opset(proto), "net/")
    prefix, after = "", []
    if photo_by_photo:
        prefix, after = "photo_", [("Squeeze", {}, [np.array([0])])]
        before = [("Unsqueeze", {}, [np.array([0])]), *before]
    nodes, constants = _chain(prefix + "image", before, "net/" + photos.name)
    nodes, constants = [*nodes, *proto.graph.node], [*constants, *proto.graph.initializer]
    for name, (tensor, steps) in after_network(vector).items():
        more, needed_constants = _chain("net/" + tensor, [*steps, *after], prefix + name)
        nodes, constants = nodes + more, constants + needed_constants
    nodes = needed(nodes, {prefix + name for name in expected})
    used = {name for node in nodes for name in _inputs(node)}
    constants = [constant for constant in constants if constant.name in used]

    sides = [photos.size] * 2 if photos.size else ["H", "W"]
    shapes = {"image": ["N", *sides, 3], "embedding": ["N", expected["embedding"].shape[1]]}
    if vector.feature_map:
        shapes["feature_map"] = ["N", "h", "w", expected["feature_map"].shape[3]]
    inside = {prefix + name: shape[photo_by_photo:] for name, shape in shapes.items()}
    graph = helper.make_graph(nodes, "network", *_values(inside), constants)
    graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    if photo_by_photo:
        image, *outputs = shapes
        scan = helper.make_node("Scan", [image], outputs, body=graph, num_scan_inputs=1)
        graph = helper.make_graph([scan], "photos", *_values(shapes))
    about = {"opset_imports": proto.opset_import, "functions": proto.functions}
    return helper.make_model(graph, ir_version=max(proto.ir_version, 8), **about)


def _with_known_opset(proto: onnx.ModelProto) -> onnx.ModelProto:
    for entry in proto.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    if next(entry.version for entry in proto.opset_import if not entry.domain) < LEAST_OPSET:
        return onnx.version_converter.convert_version(proto, OPSET)
    return proto


def _values(shapes: Mapping[str, Sequence[int | str]]) -> tuple[list, list]:
    """The input, which is the first, and the outputs of a graph."""
    types = [TensorProto.UINT8] + [TensorProto.FLOAT] * (len(shapes) - 1)
    values = [
        helper.make_tensor_value_info(name, kind, shape)
        for kind, (name, shape) in zip(types, shapes.items(), strict=True)
    ]
    return values[:1], values[1:]


def _chain(start: str, steps: Sequence[Step], end: str) -> tuple[list, list]:
    """Nodes one after another from tensor `start` to `end`, and their constants."""
    nodes, initializers, name = [], [], start
    for number, (operator, attributes, constants) in enumerate(steps, start=1):
        here = f"adopted:{end}:{number}"
        names = [f"{here}:{place}" for place in range(len(constants))]
        initializers += map(numpy_helper.from_array, constants, names)
        following = end if number == len(steps) else here
        nodes.append(helper.make_node(operator, [name, *names], [following], here, **attributes))
        name = following
    return nodes, initializers


def needed(nodes: Sequence[onnx.NodeProto], outputs: set[str]) -> list[onnx.NodeProto]:
    """The nodes, in their order, that the outputs are computed from."""
    kept, names = [], set(outputs)
    for node in reversed(nodes):
        if names & set(node.output):
            kept.insert(0, node)
            names |= _inputs(node)
    return kept


def _inputs(node: onnx.NodeProto) -> set[str]:
    """The tensors that a node reads, those of the graphs inside it, too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            names.update(value.name for value in graph.output)
            names |= set().union(*map(_inputs, graph.node))
    return names
