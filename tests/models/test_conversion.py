"""The ONNX files: what the contract promises of them."""

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import onnx
import onnxruntime
import pytest

from helpers import conversion
from helpers.images import load_pixels
from helpers.models import (
    ARTICLE,
    NETWORKS,
    PRECISIONS,
    EmbeddingModel,
    Network,
    embedding_model,
)
from helpers.quantization import calibration_pixels
from helpers.settings import TutorialError


@pytest.fixture(scope="module", params=NETWORKS)
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
    cosines, difference = conversion.parity(a, b)
    assert np.allclose(cosines, [1, 1 / np.sqrt(2)]) and difference == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"name": "alexnet"}, "resnet50, vgg16, efficientnet_lite0"),
        ({"name": "vgg16", "preset": "secret"}, "article"),
        ({"name": "vgg16", "precision": "fp8"}, "fp32 and int8"),
    ],
)
def test_unknown_choices_name_the_known_ones(choice, message):
    with pytest.raises(TutorialError, match=message):
        conversion.onnx_model(**choice)


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """Converts with a command of the test's in the place of tf2onnx; gives the message."""

    def convert(code):
        command = [sys.executable, "-c", f"import os, sys; {code}"]
        monkeypatch.setattr(conversion, "tf2onnx_command", lambda *files: command)
        monkeypatch.setattr(conversion, "save_saved_model", lambda embedder, folder: folder)
        with pytest.raises(TutorialError) as error:
            conversion.convert(None, conversion.work_folder(vgg16), vgg16)
        return str(error.value)

    vgg16 = embedding_model("vgg16")
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    return convert


def test_a_killed_tf2onnx_is_said_to_be(failing):
    message = failing("os.kill(os.getpid(), 9)")
    assert re.search(r"VGG16 \(signal 9\), most often.*memory.*run again", message)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("sys.stderr.write('so\\nit goes\\n\\n'); sys.exit(1)", "VGG16: it goes$"),
        ("sys.exit(3)", "VGG16: it ended with code 3$"),
        ("", "tf2onnx wrote no"),
        (f"sys.exit({conversion.NO_SPACE!r})", "'models' cannot be written.*full.*BUILD_DIR"),
    ],
)
def test_a_tf2onnx_that_fails_says_why(failing, code, reason):
    assert re.search(reason, failing(code))


def test_a_build_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def read_only(*place, **how):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    monkeypatch.setattr(conversion.Path, "mkdir", read_only)
    with pytest.raises(TutorialError, match="'models' cannot be written .*read-only.*BUILD_DIR"):
        conversion.work_folder(embedding_model("vgg16"))


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


# Other projects' settings ---------------------------------------------------------------------

EMBED = """
import sys
{first}
import numpy as np
from helpers import conversion, models
embedder = conversion.keras_embedder(models.embedding_model("vgg16"))
np.save(sys.argv[2], embedder.predict(np.load(sys.argv[1]), verbose=0)["embedding"])
"""
KERAS_JSON = {"floatx": "float16", "epsilon": 0.1, "image_data_format": "channels_first"}
FOREIGN = {
    "KERAS_MAX_STEPS_PER_EPOCH": "many",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--of_another_version=1",
}


@pytest.mark.parametrize(
    "config, environment, first",
    [
        ({**KERAS_JSON, "backend": "jax"}, {"KERAS_BACKEND": "torch", **FOREIGN}, ""),
        (KERAS_JSON, {}, "import keras; keras.config.set_dtype_policy('mixed_float16')"),
    ],
    ids=["overruled", "imported before"],
)
def test_keras_computes_the_same_under_other_projects_settings(
    tmp_path, onnx_files, config, environment, first
):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras/keras.json").write_text(json.dumps(config))
    pixels = calibration_pixels(ARTICLE)[conversion.CHECKED]
    np.save(tmp_path / "pixels.npy", pixels)
    code, files = EMBED.format(first=first), [tmp_path / "pixels.npy", tmp_path / "vectors.npy"]
    home = {name: value for name, value in os.environ.items() if name != "KERAS_HOME"}
    home |= {"HOME": str(tmp_path), "BUILD_DIR": str(tmp_path / "build")}
    command = [sys.executable, "-c", code, *map(str, files)]
    done = subprocess.run(command, env={**home, **environment}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = conversion.outputs(onnx_files["vgg16"], pixels)["embedding"]
    vectors = np.load(files[1])
    assert vectors.dtype == np.float32 and conversion.likeness(expected, vectors) > 0.999999


def test_keras_on_another_backend_is_said_in_one_sentence(monkeypatch):
    from helpers import quiet_tf

    monkeypatch.setattr(quiet_tf.keras.config, "backend", lambda: "torch")
    with pytest.raises(TutorialError, match="imported on torch before.* restart the kernel"):
        quiet_tf.standard_keras()


# Checked before it is kept --------------------------------------------------------------------


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch, onnx_files):
    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    article, recommended = (
        embedding_model("vgg16", preset) for preset in ("article", "recommended")
    )
    for model, good in ((recommended, False), (article, True)):
        converted = conversion.work_folder(model).with_suffix(".onnx")
        shutil.copy(onnx_files["vgg16"], converted)  # pools as the article does
        if good:
            assert conversion.is_current(conversion.add_metadata(converted, model), model)
        else:
            with pytest.raises(TutorialError, match="not kept.* likeness of 0.* run the notebook"):
                conversion.add_metadata(converted, model)
            assert not conversion.onnx_path(model).exists()


def test_likeness():
    a = np.array([[1, 0], [0, 1]], np.float32)
    assert conversion.likeness(a, a) == 1
    assert conversion.likeness(a, np.array([[1, 0], [1, 0]], np.float32)) == 0
    assert conversion.likeness(a, 2 * a) == pytest.approx(0.8)
    nan = np.full_like(a, np.nan)
    for wrong in (None, a[:1], nan):
        assert conversion.likeness(a, wrong) == -1
    assert conversion.likeness(nan, a) == conversion.likeness(nan, nan) == -1
    nothing = np.zeros_like(a)
    assert conversion.likeness(nothing, nothing) == 1
    assert conversion.likeness(nothing, a) == conversion.likeness(a, nothing) == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_is_no_number_is_not_kept(precision):
    nan, ones = ({"embedding": np.full((2, 2), value, np.float32)} for value in (np.nan, 1))
    for expected, found in ((nan, ones), (ones, nan), (nan, nan)):
        with pytest.raises(TutorialError, match="was not kept"):
            conversion.check(embedding_model("vgg16", precision=precision), expected, found)


def test_a_network_that_does_not_bear_int8_leads_to_fp32():
    """Only the vectors count; to start again would change nothing."""
    a, b = np.array([[1, 0]], np.float32), np.array([[0.8, 0.6]], np.float32)
    vgg16 = embedding_model("vgg16", precision="int8")
    other_map = {"embedding": a, "feature_map": b}
    conversion.check(vgg16, {"embedding": a, "feature_map": a}, other_map)
    message = r'INT8 ONNX file of VGG16 .* \(a cosine of 0.8000 .*use precision="fp32"\.$'
    with pytest.raises(TutorialError, match=message) as error:
        conversion.check(vgg16, {"embedding": a}, {"embedding": b})
    assert "restart" not in str(error.value)


# Weights that Keras keeps ---------------------------------------------------------------------


def test_weights_that_keras_keeps_for_others_are_taken_and_no_copy_is_left(
    tmp_path, onnx_files, monkeypatch
):
    from helpers import quiet_tf, weights

    copies = tmp_path / ".keras/models"
    copies.mkdir(parents=True)
    kept = copies / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    genuine = weights.load_weights("vgg16")
    with h5py.File(kept, "w") as file:  # in the format of Keras' own
        layers = list(dict.fromkeys(name.partition("/")[0] for name in genuine))
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [b"kernel", b"bias"]
            for kind in ("kernel", "bias"):
                group[kind] = genuine[f"{layer}/{kind}"]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(quiet_tf, "READERS_KERAS_HOME", str(tmp_path / "none"))
    monkeypatch.setattr(weights, "KERAS_HOST", "http://127.0.0.1:1")
    found = weights.from_keras("vgg16")
    assert all(np.array_equal(found[key], genuine[key]) for key in genuine)
    assert not (tmp_path / "data").exists()

    monkeypatch.setattr(weights, "KERAS_HOST", copies.as_uri())  # now as the server
    (copies / "vgg16").mkdir()
    kept.rename(copies / "vgg16" / kept.name)
    kept.write_bytes(b"damaged")
    found = weights.from_keras("vgg16")
    assert all(np.array_equal(found[key], genuine[key]) for key in genuine)
    assert list((tmp_path / "data/weights").iterdir()) == []


def test_a_file_of_an_earlier_version_is_made_again_and_that_is_said(
    path, model, monkeypatch, tmp_path
):
    assert conversion.is_current(path, model)
    monkeypatch.setattr(conversion, "CONVERSION", conversion.CONVERSION + 1)
    assert not conversion.is_current(path, model)

    monkeypatch.setenv("BUILD_DIR", str(tmp_path))
    said = []
    monkeypatch.setattr(conversion, "say", said.append)
    conversion.work_folder(model)
    assert said == []
    conversion.onnx_path(model).write_bytes(path.read_bytes())
    conversion.work_folder(model)
    assert said == [f"{path.name} was made with other versions or settings: making it again."]


def test_a_conversion_in_a_folder_with_any_name(tmp_path, monkeypatch):
    """TensorFlow takes brackets for wildcards, a shell blanks and dollars for its own."""
    from helpers.quiet_tf import keras

    def tiny() -> keras.Model:
        keras.utils.set_random_seed(0)
        image = keras.Input((None, None, 3))
        return keras.Model(image, keras.layers.Conv2D(8, 3, activation="relu")(image))

    network = Network("Tiny", tiny, preprocessing="tf", dimension=8, weights_sha256="0" * 64)
    model = EmbeddingModel("tiny", "article", "fp32", network, replace(ARTICLE, input_size=32))
    folder = tmp_path / """My 'Pro' "jects" $HOME %41 #1? [x] * Übung"""
    monkeypatch.setenv("BUILD_DIR", str(folder / "build"))
    embedder = conversion.keras_embedder(model)
    path = conversion.convert(embedder, conversion.work_folder(model), model)
    assert conversion.is_current(path, model) and path.is_relative_to(folder)
    assert not list(path.parent.glob(".*.part"))


def test_a_python_in_a_folder_with_blanks_is_one_word(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/My Projects/repo/.venv/bin/python")
    assert conversion.tf2onnx_command("a", "b")[:2] == [sys.executable, "-m"]
