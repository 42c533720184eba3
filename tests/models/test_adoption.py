"""Any ONNX file becomes a model like ours, or one sentence says why not and nothing is kept.

The graphs are the real EfficientNet-Lite0 as Keras exports it, or its first layers, in the forms
that other frameworks write.
"""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from helpers import adoption, conversion, models
from helpers.adoption import onnx_contract, preprocessing
from helpers.extraction import extract
from helpers.images import load_pixels
from helpers.models import NETWORKS, all_models, embedding_model
from helpers.settings import ROOT, TutorialError
from helpers.study import speed

MEAN, STD = [127 / 255] * 3, [128 / 255] * 3
SCALED = {"mean": MEAN, "std": STD, "input_size": 64}
FROM_PYTORCH = ROOT.parent / "shared/models/efficientnet_lite0_from_pytorch.onnx"


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """The network as Keras exports it: float32 NHWC in, a feature map out, nothing around it."""
    from helpers.quiet_tf import keras

    file = tmp_path_factory.mktemp("raw") / "lite0.onnx"
    pixels = keras.InputSpec(shape=(None, None, None, 3), dtype="float32", name="pixels")
    network = NETWORKS["efficientnet_lite0"].build()
    network.export(file, format="onnx", verbose=False, input_signature=[pixels])
    return file


@pytest.fixture(scope="session")
def first_layers(exported):
    """Its stem and first blocks: float32 [N, H, W, 3] → `map` [N, 144, H / 4, W / 4]."""
    proto = onnx.load(exported)
    del proto.graph.output[:]
    name = [node.output[0] for node in proto.graph.node if node.op_type == "Clip"][6]
    nodes = onnx_contract.needed(proto.graph.node, {name})
    del proto.graph.node[:], proto.graph.value_info[:]
    proto.graph.node.extend(nodes)
    used = {each for node in nodes for each in node.input}
    kept = [each for each in proto.graph.initializer if each.name in used]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    proto.graph.node.append(helper.make_node("Identity", [name], ["map"]))
    return with_output(proto, "map")


def with_output(proto, *names):
    """`proto` with these outputs; their shapes are found by ONNX Runtime."""
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return proto


def followed(proto, *nodes, outputs, **constants):
    """A copy with more nodes at its end: (operator, inputs, output, attributes)."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    for operator, inputs, output, attributes in nodes:
        copy.graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
    for name, values in constants.items():
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    return with_output(copy, *outputs)


def preceded(proto, kind, shape, *nodes, **constants):
    """A copy with another input `given`, from which the nodes make its `pixels`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    old = list(copy.graph.node)
    del copy.graph.node[:], copy.graph.input[:]
    for operator, inputs, output, attributes in nodes:
        copy.graph.node.append(helper.make_node(operator, inputs, [output], **attributes))
    copy.graph.node.extend(old)
    for name, values in constants.items():
        copy.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
    copy.graph.input.append(helper.make_tensor_value_info("given", kind, shape))
    return copy


POOLED = (("GlobalAveragePool", ["map"], "p", {}), ("Flatten", ["p"], "pooled", {"axis": 1}))


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path / "build"))
    return tmp_path / "build"


@pytest.fixture
def adopt(tmp_path, build):
    """Writes a graph, adopts it, and gives its name; nothing stays where that fails."""

    def adopt(proto, name="net.onnx", config=None, **given):
        file = tmp_path / "there" / name
        file.parent.mkdir(exist_ok=True, parents=True)
        onnx.save(proto, file)
        for kind, values in (config or {}).items():
            (file.parent / f"{kind}.json").write_text(json.dumps(values))
        return adoption.from_onnx(file, **given)

    yield adopt


@pytest.fixture
def refused(adopt, build):
    """The sentence that adopting a graph ends with."""

    def refused(proto, **given):
        with pytest.raises(TutorialError) as error:
            adopt(proto, **given)
        assert not [path for path in build.rglob("*") if path.suffix in (".onnx", ".json")]
        assert str(error.value).endswith(".") and "\n" not in str(error.value)
        return str(error.value)

    return refused


def vectors(name, photos, output="embedding"):
    path = conversion.onnx_model(name, preset="recommended")
    recipe = embedding_model(name, "recommended").recipe
    pixels = np.stack([load_pixels(photo, *recipe.preparation) for photo in photos])
    return conversion.outputs(path, pixels)[output]


@pytest.fixture(scope="session")
def expected(first_layers, photos):
    """Vectors of the first layers, pooled and scaled by hand."""
    pixels = np.stack([load_pixels(photo, 64, "bicubic", crop=True) for photo in photos])
    session = onnxruntime.InferenceSession(first_layers.SerializeToString())
    [maps] = session.run(["map"], {"pixels": (pixels.astype(np.float32) - 127) / 128})
    return unit(maps.mean(axis=(2, 3)))


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_raw_export_gives_the_vectors_of_our_own_conversion(
    exported, adopt, onnx_files, photos, monkeypatch
):
    recipe = {"input_size": 224, "resize": "nearest", "crop": False}
    name = adopt(onnx.load(exported), mean=MEAN, std=STD, **recipe)
    pixels = np.stack([load_pixels(photo, 224) for photo in photos])
    maps = conversion.outputs(onnx_files["efficientnet_lite0"], pixels)["feature_map"]
    assert np.allclose(vectors(name, photos, "feature_map"), maps, atol=1e-4)
    assert np.allclose(vectors(name, photos), unit(maps.mean(axis=(1, 2))), atol=1e-5)
    model, path = (
        embedding_model(name, "recommended"),
        conversion.onnx_model(name, preset="recommended"),
    )
    assert (model.dimension, model.recipe.pooling) == (1280, "average")
    assert conversion.metadata(path)["input_size"] == "224"
    session = onnxruntime.InferenceSession(str(path))
    [image] = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", "H", "W", 3])
    shapes = {each.name: each.shape for each in session.get_outputs()}
    assert shapes == {"embedding": ["N", 1280], "feature_map": ["N", "h", "w", 1280]}
    assert np.allclose(extract(path, photos), vectors(name, photos), atol=1e-6)
    int8 = conversion.onnx_model(name, preset="recommended", precision="int8")
    assert conversion.parity(extract(int8, photos), extract(path, photos))[0].min() > 0.9


@pytest.mark.skipif(not FROM_PYTORCH.exists(), reason="no export of PyTorch's beside the checkout")
def test_an_export_of_pytorch_gives_the_same_vectors(onnx_files, build, photos):
    name = adoption.from_onnx(FROM_PYTORCH, mean=MEAN, std=STD, input_size=320)
    pixels = np.stack([load_pixels(photo, 320, "bicubic", crop=True) for photo in photos])
    maps = conversion.outputs(onnx_files["efficientnet_lite0"], pixels)["feature_map"]
    assert np.allclose(vectors(name, photos), unit(maps.mean(axis=(1, 2))), atol=1e-5)
    assert adoption.from_onnx(FROM_PYTORCH) == name, "what was given is remembered"
    assert embedding_model(name, "recommended") in all_models()


def forms(first_layers):
    """The first layers in many forms that give the same vectors, with what must be given."""
    fixed = [1, 64, 64, 3]
    yield "map", first_layers, {}
    yield "pooled", followed(first_layers, *POOLED, outputs=["pooled"]), {}
    both = followed(first_layers, *POOLED, outputs=["map", "pooled"])
    yield "map and pooled", both, {}
    first = preceded(
        first_layers, TensorProto.FLOAT, ["batch", "channels", "height", "width"],
        ("Transpose", ["given"], "pixels", {"perm": [0, 2, 3, 1]}),
    )  # fmt: skip
    yield "NCHW, every side open", first, {}
    to_one = ("Identity", ["given"], "pixels", {})
    yield "batch of 1", preceded(first_layers, TensorProto.FLOAT, fixed, to_one), {}
    yield "batch of 3", preceded(first_layers, TensorProto.FLOAT, [3, *fixed[1:]], to_one), {}
    one = followed(first_layers, *POOLED, ("Reshape", ["pooled", "shape"], "vector", {}),
                   outputs=["vector"], shape=[1, 144])  # fmt: skip
    yield "batch of 1 in its constants", preceded(one, TensorProto.FLOAT, fixed, to_one), {}
    half = preceded(first_layers, TensorProto.FLOAT16, ["N", "H", "W", 3],
                    ("Cast", ["given"], "pixels", {"to": TensorProto.FLOAT}))  # fmt: skip
    yield "float16", half, {}
    pixels = preceded(
        first_layers, TensorProto.UINT8, ["N", "H", "W", 3],
        ("Cast", ["given"], "f", {"to": TensorProto.FLOAT}), ("Sub", ["f", "m"], "g", {}),
        ("Div", ["g", "d"], "pixels", {}), m=np.float32(127), d=np.float32(128),
    )  # fmt: skip
    yield "uint8", pixels, {"mean": None, "std": None}
    flip = ("Gather", ["given", "order"], "pixels", {"axis": 3})
    flipped = preceded(first_layers, TensorProto.FLOAT, ["N", "H", "W", 3], flip, order=[2, 1, 0])
    yield "BGR", flipped, {"channels": "BGR"}
    rows = ("Flatten", ["map"], "rows", {"axis": 2}), ("Reshape", ["map", "flat"], "r", {})
    tokens = ("Transpose", ["r"], "last_hidden_state", {"perm": [0, 2, 1]})
    flat = {"flat": [0, 144, -1]}
    yield "tokens of a square", followed(first_layers, rows[1], tokens,
                                         outputs=["last_hidden_state"], **flat), {}  # fmt: skip
    cls = (*POOLED, rows[1], ("Unsqueeze", ["pooled", "axis"], "cls", {}),
           ("Transpose", ["r"], "places", {"perm": [0, 2, 1]}),
           ("Concat", ["cls", "places"], "last_hidden_state", {"axis": 1}))  # fmt: skip
    yield "a first token", followed(first_layers, *cls, outputs=["last_hidden_state"], axis=[1],
                                    **flat), {}  # fmt: skip
    weights = np.random.default_rng(0).normal(size=(144, 10)).astype(np.float32)
    layer = (*POOLED, ("Gemm", ["pooled", "w", "b"], "logits", {}))
    about = {"w": weights, "b": np.zeros(10, np.float32)}
    yield "logits", followed(first_layers, *layer, outputs=["logits"], **about), {}
    product = (*POOLED, ("MatMul", ["pooled", "w"], "m", {}), ("Add", ["m", "b"], "a", {}),
               ("Softmax", ["a"], "classes", {"axis": 1}))  # fmt: skip
    yield "after a Softmax", followed(first_layers, *product, outputs=["classes"], **about), {}
    length = ("ReduceL2", ["pooled"], "length", {"axes": [1], "keepdims": 1})
    divided = (*POOLED, ("Neg", ["pooled"], "pooler_output", {}), length,
               ("Div", ["pooled", "length"], "image_embeds", {}))  # fmt: skip
    yield (
        "of length 1, and another",
        followed(first_layers, *divided, outputs=["pooler_output", "image_embeds"], axes=[1]),
        {},
    )
    plain = followed(first_layers, *layer, ("Identity", ["logits"], "out", {}), outputs=["out"],
                     **about)  # fmt: skip
    labels = {"config": {"id2label": {str(number): "x" for number in range(10)}}}
    yield "as wide as the labels", plain, {"config": labels}
    yield "as wide as the classes", plain, {"config": {"config": {"num_classes": 10}}}  # timm's


NAMES = (
    "map",
    "pooled",
    "map and pooled",
    "NCHW, every side open",
    "batch of 1",
    "batch of 3",
    "batch of 1 in its constants",
    "float16",
    "uint8",
    "BGR",
    "tokens of a square",
    "a first token",
    "logits",
    "after a Softmax",
    "of length 1, and another",
    "as wide as the labels",
    "as wide as the classes",
)


WITHOUT_INT8 = ("tokens of a square", "a first token", "batch of 1 in its constants")


@pytest.mark.parametrize("form", NAMES)
def test_every_form_gives_the_same_vectors(first_layers, adopt, expected, photos, form):
    forms_by_name = {name: (proto, given) for name, proto, given in forms(first_layers)}
    assert list(forms_by_name) == list(NAMES)
    proto, given = forms_by_name[form]
    name = adopt(proto, **{**SCALED, **given})
    found = vectors(name, photos)
    assert found.shape == (len(photos), 144)
    int8 = embedding_model(name, "recommended", "int8")
    assert (int8 in all_models()) == (form not in WITHOUT_INT8)
    if form in WITHOUT_INT8:
        with pytest.raises(TutorialError, match='and this is none: use precision="fp32"'):
            conversion.ensure_onnx(int8)
    assert np.allclose(found, expected, atol=2e-3 if form == "float16" else 1e-5)
    has_map = "token" not in form
    pooling = embedding_model(name, "recommended").recipe.pooling
    assert pooling == ("average" if has_map else "none")
    if has_map:
        maps = vectors(name, photos, "feature_map")
        assert np.allclose(unit(maps.mean(axis=(1, 2))), found, atol=1e-5)


def test_what_is_not_known_is_asked_for(first_layers, refused):
    said = refused(first_layers)
    assert "which mean and std net.onnx was trained with" in said and "mean=(0.485" in said
    assert "which std net.onnx" in refused(first_layers, mean=MEAN)
    assert "from_onnx(path, input_size=224)" in refused(first_layers, mean=MEAN, std=STD)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": [127] * 3}, r"mean=\[127, 127, 127\] .* scaled to 0–1.*divide .* by 255"),
        ({"std": [0, 1, 1]}, "std=.* above 0"),
        ({"std": 0.5}, r"std=\[0.5\] .* not three numbers"),
        ({"mean": "grey"}, r"mean=\['grey'\] .* not three numbers"),
        ({"input_size": 5}, "input_size=5 of net.onnx is no number of pixels from 8 .*, as in"),
        ({"channels": "YUV"}, "channels='YUV' is unknown"),
        ({"resize": "area"}, "resize='area' is unknown"),
        ({"resize": ["bicubic"]}, r"resize=\['bicubic'\] is unknown"),
        ({"crop": "yes"}, "crop='yes' is unknown: use True or False"),
        ({"output": "embeds"}, "no output 'embeds', only map: give one"),
    ],
)
def test_what_cannot_be_is_said(first_layers, refused, given, said):
    assert re.search(said, refused(first_layers, **{**SCALED, **given}))


def test_networks_that_cannot_be_used_are_refused(first_layers, refused):
    def changed(*nodes, **constants):
        return followed(first_layers, *nodes, outputs=["out"], **constants)

    zero, one = np.float32(0), np.float32(1)
    constant = changed(
        ("Mul", ["map", "z"], "m", {}), ("Add", ["m", "o"], "out", {}), z=zero, o=one
    )
    assert "the same vector for different photos" in refused(constant, **SCALED)
    nothing = changed(("Mul", ["map", "z"], "m", {}), ("Div", ["m", "z"], "out", {}), z=zero)
    assert "no numbers or zero" in refused(nothing, **SCALED)
    own = changed(("Attend", ["map"], "out", {"domain": "my.lab"}))
    own.opset_import.append(helper.make_opsetid("my.lab", 1))
    assert "ONNX Runtime cannot run net.onnx (it has operators of my.lab)" in refused(own, **SCALED)
    text = changed(("Add", ["map", "ids"], "out", {}))
    text.graph.input.append(helper.make_tensor_value_info("ids", TensorProto.FLOAT, [1]))
    said = refused(text, **SCALED)
    assert "wants 2 inputs (pixels, ids)" in said and "vision_model.onnx" in said
    four = followed(first_layers, *POOLED, ("Reshape", ["pooled", "shape"], "out", {}),
                    outputs=["out"], shape=[4, 144])  # fmt: skip
    as_given = ("Identity", ["given"], "pixels", {})
    four = preceded(four, TensorProto.FLOAT, [4, 64, 64, 3], as_given)
    assert "because it fails for several photos at once" in refused(four, **SCALED)
    lacking = onnx.ModelProto()
    lacking.CopyFrom(first_layers)
    lacking.opset_import[0].domain = "my.lab"  # ONNX Runtime takes its operators for standard ones
    assert "with standard operators of opset" in refused(lacking, **SCALED)
    digits = changed(*POOLED, ("ArgMax", ["pooled"], "out", {"axis": 1}))
    assert "no floating-point numbers (its outputs: out)" in refused(digits, **SCALED)
    single = changed(("ReduceMean", ["map"], "out", {"keepdims": 0}))
    assert "the same vector for different photos" in refused(single, **SCALED)
    new = onnx.ModelProto()
    new.CopyFrom(first_layers)
    new.ir_version = 99
    assert "cannot run net.onnx: Unsupported model IR version: 99, max" in refused(new, **SCALED)
    never = followed(first_layers, ("Reshape", ["map", "shape"], "out", {}), outputs=["out"],
                     shape=[-1, 144, 7, 7])  # fmt: skip
    assert "does not run on photos of 64 × 64 pixels" in refused(never, **SCALED)
    for shape, said in (
        ([1, 64, 64, 1], "no side of three colours"),
        ([1, 64, 96, 3], "takes photos of 96 × 64 pixels, and only squares"),
        (["N", 3], "photos are four-dimensional"),
    ):
        assert said in refused(preceded(first_layers, TensorProto.FLOAT, shape, as_given), **SCALED)
    words = preceded(first_layers, TensorProto.INT64, [1, 64, 64, 3],
                     ("Cast", ["given"], "pixels", {"to": TensorProto.FLOAT}))  # fmt: skip
    assert "takes INT64" in refused(words, **SCALED)


def test_sizes_that_contradict_each_other_are_refused(first_layers, refused, adopt):
    as_given = ("Identity", ["given"], "pixels", {})
    fixed = preceded(first_layers, TensorProto.FLOAT, ["N", 64, 64, 3], as_given)
    said = refused(fixed, **{**SCALED, "input_size": 96})
    assert "64 × 64 pixels only, and input_size says 96" in said
    config = {"preprocessor_config": {"size": 96, "image_mean": MEAN, "image_std": STD}}
    said = refused(fixed, config=config)
    assert "preprocessor_config.json says 96" in said
    uint8 = preceded(first_layers, TensorProto.UINT8, ["N", 64, 64, 3],
                     ("Cast", ["given"], "pixels", {"to": TensorProto.FLOAT}))  # fmt: skip
    assert "scales them itself: give no mean and std" in refused(uint8, **SCALED)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"]
)
def test_a_file_that_is_no_network_is_named(tmp_path, build, content):
    file = tmp_path / "model.onnx"
    file.write_bytes(content)
    with pytest.raises(TutorialError, match="model.onnx is not an ONNX file.*Git LFS"):
        adoption.from_onnx(file)
    assert not list(build.rglob("*.json"))


def test_a_network_of_3_gb_is_refused_before_it_is_read(tmp_path, build):
    file = tmp_path / "large.onnx"
    with file.open("wb") as empty:
        empty.truncate(3 * 10**9)  # takes no room on the disk
    with pytest.raises(TutorialError, match="large.onnx .* more than the 2 GB .* float16"):
        adoption.from_onnx(file)


def test_weights_in_another_file_are_taken_in_and_missed(
    first_layers, tmp_path, build, photos, expected
):
    file = tmp_path / "split.onnx"
    copy = onnx.ModelProto()
    copy.CopyFrom(first_layers)
    onnx.save(copy, file, save_as_external_data=True, location="split.data", size_threshold=0)
    name = adoption.from_onnx(file, **SCALED)
    data = (tmp_path / "split.data").read_bytes()
    (tmp_path / "split.data").unlink()
    assert np.allclose(vectors(name, photos), expected, atol=1e-5)
    with pytest.raises(TutorialError, match="keeps its weights in split.data, which is not beside"):
        adoption.from_onnx(file, **SCALED)
    with (tmp_path / "split.data").open("wb") as large:
        large.write(data)
        large.truncate(3 * 10**9)
    with pytest.raises(TutorialError, match="split.onnx with its weights takes more than the 2 GB"):
        adoption.from_onnx(file, **SCALED)


@pytest.mark.parametrize("opset", [11, 12])
def test_old_opsets_are_converted(first_layers, adopt, expected, photos, opset):
    old = onnx.ModelProto()
    old.CopyFrom(first_layers)
    old.opset_import[0].version = opset  # its operators are the same in these
    name = adopt(old, **SCALED)
    assert conversion.inspect(conversion.onnx_model(name, preset="recommended"))["opset"] >= 13
    assert np.allclose(vectors(name, photos), expected, atol=1e-5)


def test_equal_names_are_told_apart_by_content(first_layers, adopt, tmp_path, photos):
    one = adopt(first_layers, **SCALED)
    assert adopt(first_layers, **SCALED) == one == adopt(first_layers) == "net"
    wrong = adopt(
        first_layers, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), input_size=64
    )
    assert wrong.startswith("net_") and adopt(first_layers) == wrong, "the last one adopted"
    labels = {embedding_model(name, "recommended").label for name in (one, wrong)}
    assert len(labels) == 2
    assert not np.allclose(vectors(one, photos), vectors(wrong, photos), atol=0.01)
    assert adopt(first_layers, name="again.onnx", **SCALED) == one, "content decides"
    again = tmp_path / "elsewhere/net.onnx"
    again.parent.mkdir()
    onnx.save(followed(first_layers, *POOLED, outputs=["pooled"]), again)
    assert adoption.from_onnx(again, **SCALED).startswith("net_")
    other = followed(first_layers, *POOLED, outputs=["pooled", "map"])
    assert adopt(other, name="ResNet50.onnx", **SCALED).startswith("resnet50_")


def test_a_file_that_changed_takes_its_own_place(first_layers, adopt, photos):
    name = adopt(first_layers, **SCALED)
    before = vectors(name, photos)
    last = ("Identity", ["map"], "again", {})
    weaker = followed(first_layers, ("Pow", ["map", "two"], "out", {}), last, outputs=["out"],
                      two=np.float32(2))  # fmt: skip
    assert adopt(weaker, **SCALED) == name and name in models.networks()
    assert not np.allclose(vectors(name, photos), before, atol=0.01)


def test_a_lost_file_is_adopted_again_under_its_name(first_layers, adopt, photos):
    name = adopt(first_layers, **SCALED)
    path = conversion.onnx_model(name, preset="recommended")
    path.unlink()
    with pytest.raises(TutorialError, match="was adopted, is gone from .*from_onnx"):
        conversion.onnx_model(name, preset="recommended")
    assert adopt(first_layers, **SCALED) == name and path.exists()


def test_the_operations_of_every_form_are_counted(first_layers, adopt):
    """In a graph that computes its own shapes, and in one that takes a photo at a time, too."""
    counted = {}
    for form, proto, given in forms(first_layers):
        if form in ("map", "NCHW, every side open", "batch of 1 in its constants"):
            name = adopt(proto, name=f"{form}.onnx", **{**SCALED, **given})
            path = conversion.onnx_model(name, preset="recommended")
            counted[form] = speed.gflop_per_photo(path)
    assert len(counted) == 3 and min(counted.values()) == max(counted.values()) > 0.005


def test_a_model_that_is_adopted_has_one_preset(first_layers, adopt):
    name = adopt(first_layers, **SCALED)
    with pytest.raises(
        TutorialError, match=f"No preset 'article' for {name}; there are recommended"
    ):
        embedding_model(name)


# Hugging Face's folders ------------------------------------------------------------------------


def folder(tmp_path, proto, config, about=None, place="onnx/model.onnx"):
    file = tmp_path / "vit-small" / place
    file.parent.mkdir(parents=True)
    onnx.save(proto, file)
    (tmp_path / "vit-small/preprocessor_config.json").write_text(json.dumps(config))
    (tmp_path / "vit-small/config.json").write_text(json.dumps(about or {}))
    return tmp_path / "vit-small"


@pytest.mark.parametrize("place", ["model.onnx", "onnx/model.onnx", "onnx/vision_model.onnx"])
def test_a_folder_of_hugging_face(first_layers, tmp_path, build, photos, expected, place):
    config = {
        "do_resize": True, "size": {"shortest_edge": 64}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": 64, "width": 64}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    name = adoption.from_onnx(folder(tmp_path, first_layers, config, place=place))
    assert name == ("vision_model" if "vision" in place else "vit_small")
    assert np.allclose(vectors(name, photos), expected, atol=1e-5)


def test_a_folder_without_a_network_says_what_is_there(tmp_path, build):
    for name in ("a.onnx", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(TutorialError, match="no model.onnx .*a.onnx, b.onnx.*give the path"):
        adoption.from_onnx(tmp_path)
    with pytest.raises(TutorialError, match="no ONNX file .*gone.onnx: correct"):
        adoption.from_onnx(tmp_path / "gone.onnx")


CROP_224 = {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
SIZES = {
    "DINOv2": ({"size": {"shortest_edge": 256}, **CROP_224}, (224, "bicubic", True, 256)),
    "CLIP": ({"size": 224, "crop_size": 224, "do_center_crop": True}, (224, "bicubic", True, None)),
    "ViT": ({"size": {"height": 384, "width": 384}, "resample": 2}, (384, "bilinear", False, None)),
    "ViT, earlier": ({"size": 224, "resample": 2}, (224, "bilinear", False, None)),
    "ConvNeXt": ({"size": {"shortest_edge": 224}, "crop_pct": 0.875}, (224, "bicubic", True, 256)),
    "larger": ({"size": {"shortest_edge": 384}, "crop_pct": 0.875}, (384, "bicubic", False, None)),
    "config.json alone": ({"image_size": 336}, (336, "bicubic", True, None)),
    "no crop": ({"size": {"shortest_edge": 256}, "do_center_crop": False, "crop_size": 224},
                (256, "bicubic", True, None)),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_in_a_config(name):
    config, expected = SIZES[name]
    none = {"input_size": None, "resize": None, "crop": None}
    recipe = preprocessing.recipe(config, None, **none, where="net")
    assert recipe.preparation == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}, 1.0),
        ({"do_normalize": False}, 1.0),
        ({"do_rescale": False, "image_mean": [0] * 3, "image_std": [255] * 3}, 1.0),
        ({"rescale_factor": 1 / 127.5, "image_mean": [1] * 3, "image_std": [1] * 3}, 1.0),
    ],
)
def test_numbers_in_a_config(config, expected):
    shift, scale = preprocessing.scaling(config, None, None, "RGB", "net").shift_and_scale()
    assert np.allclose((255 - shift) * scale, expected)


def test_what_a_config_may_not_say():
    none = {"input_size": None, "resize": None, "crop": None}
    for config, said in (
        ({"size": {"height": 224, "width": 320}}, "320 × 224 pixels, and only squares"),
        ({"size": 224, "resample": 4}, 'resample=4, .*resize="bicubic"'),
        ({"size": 5}, "input_size=5 of net is no number"),
    ):
        with pytest.raises(TutorialError, match=said):
            preprocessing.recipe(config, None, **none, where="net")


@pytest.mark.parametrize("content", ["{", "[1]", "null"])
def test_a_config_that_is_no_json_object_is_named(tmp_path, content):
    (tmp_path / "preprocessor_config.json").write_text(content)
    with pytest.raises(TutorialError, match="preprocessor_config.json is not a JSON object"):
        preprocessing.read_config(tmp_path / "preprocessor_config.json")


def test_a_setting_in_a_config_that_cannot_be_is_named(tmp_path):
    for setting in (
        {"size": {"shortest_edge": "big"}},
        {"size": [224, 224]},
        {"crop_size": 224.5},
        {"crop_pct": "0.9"},
        {"crop_pct": 0},
        {"rescale_factor": "1/255"},
        {"rescale_factor": 0},
        {"vision_config": "base"},
        {"id2label": 5},
    ):
        (tmp_path / "config.json").write_text(json.dumps(setting))
        with pytest.raises(TutorialError, match=f"config.json says {next(iter(setting))}=.*delete"):
            preprocessing.read_config(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"rescale_factor": null}')
    assert preprocessing.read_config(tmp_path / "config.json") == {}


def test_the_margin_of_a_config_is_cut_off(photos):
    """Shorter side 256, then the centre's 224: as Pillow does it in two steps, nearly."""
    from PIL import Image

    photo = Image.open(photos[0]).convert("RGB")
    scale = 256 / min(photo.size)
    width, height = (round(side * scale) for side in photo.size)
    resized = photo.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - 224) // 2, (height - 224) // 2
    expected = np.asarray(resized.crop((left, top, left + 224, top + 224)), np.float32)
    found = load_pixels(photos[0], 224, "bicubic", True, 256).astype(np.float32)
    assert np.abs(found - expected).mean() < 2.5


# MODELS ----------------------------------------------------------------------------------------


def test_models_are_chosen_by_name_and_path(first_layers, tmp_path, build, monkeypatch):
    monkeypatch.delenv("MODELS", raising=False)
    assert adoption.chosen() == list(NETWORKS)
    file = tmp_path / "mine.onnx"
    onnx.save(first_layers, file)
    monkeypatch.setenv("MODELS", f" vgg16, {file} ,vgg16")
    with pytest.raises(TutorialError, match="mean and std mine.onnx was trained with"):
        adoption.chosen()
    config = {"size": 64, "image_mean": MEAN, "image_std": STD}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    assert adoption.chosen() == ["vgg16", "mine"]
    models = adoption.chosen_models("article")
    assert [model.slug for model in models] == ["vgg16-article-fp32", "mine-recommended-fp32"]
    monkeypatch.setenv("MODELS", "mine")
    assert adoption.chosen() == ["mine"]
    monkeypatch.setenv("MODELS", "resnet51")
    with pytest.raises(TutorialError, match="MODELS names 'resnet51', which is neither .*vgg16"):
        adoption.chosen()
