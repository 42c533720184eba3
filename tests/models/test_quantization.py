"""INT8: same contract, nearly the same vectors, clear words where it cannot help."""

import logging
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import conversion, quantization
from helpers.images import load_pixels
from helpers.models import PRESETS, embedding_model
from helpers.settings import TutorialError


@pytest.fixture(scope="module")
def int8_file(onnx_files):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BUILD_DIR", str(onnx_files["vgg16"].parents[1]))
        return conversion.onnx_model("vgg16", precision="int8")


def test_an_int8_file_keeps_the_contract(int8_file, onnx_files):
    session = onnxruntime.InferenceSession(str(int8_file))
    [image] = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", "H", "W", 3])
    outputs = {output.name: (output.type, output.shape) for output in session.get_outputs()}
    assert outputs == {
        "embedding": ("tensor(float)", ["N", 512]),
        "feature_map": ("tensor(float)", ["N", "h", "w", 512]),
    }
    fp32, int8 = conversion.metadata(onnx_files["vgg16"]), conversion.metadata(int8_file)
    assert {key for key in fp32 if fp32[key] != int8[key]} == {"precision", "cache_key"}
    assert int8["precision"] == "int8" and int8["calibration_sha256"]
    assert int8_file.stat().st_size < onnx_files["vgg16"].stat().st_size / 3.5


def test_all_convolutions_and_nothing_around_the_network_is_quantized(int8_file):
    graph = onnx.load(int8_file).graph
    producers = {output: node for node in graph.node for output in node.output}
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 13
    for node in convolutions:
        assert {producers[name].op_type for name in node.input[:2]} == {"DequantizeLinear"}
        weights, scales, _ = producers[node.input[1]].input
        assert tensors[scales].dims == tensors[weights].dims[:1], "one scale per output channel"
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds["ReduceMax"] == 1 and producers["embedding"].op_type == "Mul"


def test_vectors_stay_close_to_fp32(int8_file, onnx_files, photos):
    pixels = np.stack([load_pixels(photo, 224) for photo in photos])
    vectors = {}
    for path in (onnx_files["vgg16"], int8_file):
        session = onnxruntime.InferenceSession(str(path))
        [vectors[path]] = session.run(["embedding"], {"image": pixels})
    fp32, int8 = vectors.values()
    assert np.allclose(np.linalg.norm(int8, axis=1), 1, atol=1e-5)
    cosines, difference = conversion.parity(fp32, int8)
    assert cosines.min() > 0.99 and difference > 0


def test_relu6_is_part_of_the_convolution_before_it(onnx_files, photos, monkeypatch):
    """Without that each range also spans what ReLU6 cuts off: cosines were 0.74, not 0.96."""
    fp32 = onnx_files["efficientnet_lite0"]
    monkeypatch.setenv("BUILD_DIR", str(fp32.parents[1]))
    int8 = conversion.onnx_model("efficientnet_lite0", precision="int8")
    assert "Clip" not in conversion.inspect(int8)["operators"]
    pixels = np.stack([load_pixels(photo, 224) for photo in photos])
    fp32, int8 = (conversion.outputs(path, pixels)["embedding"] for path in (fp32, int8))
    assert conversion.parity(fp32, int8)[0].min() > 0.9


def test_calibration_is_reproducible_and_fits_the_recipe():
    recipe = PRESETS["recommended"]["resnet50"]
    pixels = quantization.calibration_pixels(recipe)
    assert pixels.shape == (24, 320, 320, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels, quantization.calibration_pixels(recipe))
    assert len(np.unique(pixels.reshape(24, -1), axis=0)) == 24


def test_too_few_calibration_photos_are_refused(onnx_files, tmp_path):
    pixels = np.zeros((15, 224, 224, 3), np.uint8)
    target = tmp_path / "few.onnx"
    with pytest.raises(TutorialError, match="15 calibration photos.*at least 16"):
        quantization.quantize(onnx_files["vgg16"], target, pixels)
    assert not list(tmp_path.iterdir())


def test_without_instructions_for_it_the_weights_get_seven_bits_and_nothing_is_said(
    onnx_files, tmp_path, monkeypatch, capfd
):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 32, 32, 3), np.uint8)
    monkeypatch.setattr(quantization, "int8_instructions", lambda: None)
    monkeypatch.setattr(quantization.platform, "machine", lambda: "x86_64")
    assert "gains less here" in quantization.int8_advice()
    before = logging.root.manager.disable
    quantization.quantize(onnx_files["vgg16"], tmp_path / "safe.onnx", pixels)
    assert capfd.readouterr() == ("", "") and logging.root.manager.disable == before
    weights = [
        onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "safe.onnx").graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 4
    ]
    assert len(weights) == 13 and max(np.abs(each).max() for each in weights) <= 64


def test_the_key_covers_what_the_cpu_decides(monkeypatch):
    model = embedding_model("vgg16", precision="int8")
    before = conversion.cache_key(model)
    assert before != conversion.cache_key(embedding_model("vgg16"))
    monkeypatch.setattr(quantization, "reduce_range", lambda: "other")
    quantization.quantization_key.cache_clear()
    assert conversion.cache_key(model) != before
    quantization.quantization_key.cache_clear()
