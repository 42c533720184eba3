"""The ONNX files: what the contract promises of them."""

from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import conversion
from helpers.images import load_pixels
from helpers.models import embedding_model
from helpers.settings import TutorialError


@pytest.fixture(scope="module", params=["resnet50", "vgg16"])
def model(request):
    return embedding_model(request.param)


@pytest.fixture
def path(model, onnx_files):
    return onnx_files[model.name]


def test_inputs_and_outputs(model, path):
    session = onnxruntime.InferenceSession(str(path))
    [image] = session.get_inputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(uint8)", ["N", "H", "W", 3])
    outputs = {output.name: output.shape for output in session.get_outputs()}
    assert outputs == {
        "embedding": ["N", model.dimension],
        "feature_map": ["N", "h", "w", model.dimension],
    }


def test_metadata_says_what_the_file_expects(model, path):
    about = conversion.metadata(path)
    expected = {
        "model": model.name,
        "preset": "article",
        "precision": "fp32",
        "pooling": "max",
        "resize": "nearest",
        "crop": "false",
        "input_size": "224",
        "weights_sha256": model.network.weights_sha256,
    }
    assert expected.items() <= about.items() and about["package_version"]


def test_the_embedding_is_the_normalised_maximum_of_the_feature_map(path, photos):
    pixels = np.stack([load_pixels(photo, 224) for photo in photos])
    session = onnxruntime.InferenceSession(str(path))
    embedding, feature_map = session.run(["embedding", "feature_map"], {"image": pixels})
    strongest = feature_map.max(axis=(1, 2))
    by_hand = strongest / np.linalg.norm(strongest, axis=1, keepdims=True)
    assert np.allclose(embedding, by_hand, atol=1e-6)
    assert feature_map.min() >= 0


def test_a_current_file_is_not_converted_again(path, model, monkeypatch):
    monkeypatch.setenv("BUILD_DIR", str(path.parents[1]))
    before = path.stat().st_mtime_ns
    assert conversion.onnx_model(model.name) == path
    assert path.stat().st_mtime_ns == before


def test_other_weights_make_the_file_stale(path, model, monkeypatch):
    other = replace(model, network=replace(model.network, weights_sha256="0" * 64))
    assert conversion.is_current(path, model) and not conversion.is_current(path, other)


def test_parity_numbers():
    a = np.array([[1, 0], [0, 1]], np.float32)
    b = np.array([[1, 0], [1, 1]], np.float32)
    cosines, difference = conversion.compare(a, b)
    assert np.allclose(cosines, [1, 1 / np.sqrt(2)]) and difference == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "alexnet"}, "resnet50, vgg16"),
        ({"name": "vgg16", "preset": "secret"}, "article"),
        ({"name": "vgg16", "precision": "fp8"}, "fp32 and int8"),
    ],
)
def test_unknown_choices_name_the_known_ones(choice, message):
    with pytest.raises(TutorialError, match=message):
        conversion.onnx_model(**choice)


def test_a_damaged_file_is_named(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\xff\xfe this is no protobuf")
    with pytest.raises(TutorialError, match="broken.onnx"):
        conversion.metadata(broken)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TutorialError, match="gone.onnx"):
        conversion.metadata(tmp_path / "gone.onnx")


def test_metadata_is_parsed_once_for_each_state_of_a_file(path, tmp_path):
    target = tmp_path / "copy.onnx"
    target.write_bytes(path.read_bytes())
    before = conversion._metadata.cache_info().misses
    first = conversion.metadata(target)
    assert conversion.metadata(target) == first
    assert conversion._metadata.cache_info().misses == before + 1
    proto = onnx.load(target)
    onnx.helper.set_model_props(proto, {**first, "pooling": "changed"})
    onnx.save(proto, target)
    assert conversion.metadata(target)["pooling"] == "changed"
