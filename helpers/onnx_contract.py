"""The graph of our contract around a network: `image` in, `embedding` and `feature_map` out.

Only operators that mean the same from opset 13 on are added.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from helpers.conversion import OPSET
from helpers.onnx_networks import Photos, Vector
from helpers.preprocessing import Scaling

LEAST_OPSET = 13
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
