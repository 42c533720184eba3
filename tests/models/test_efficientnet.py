"""EfficientNet-Lite0: our Keras build computes what the network computes elsewhere."""

import numpy as np
import onnxruntime
import pytest

from helpers.images import load_pixels
from helpers.settings import ROOT

FROM_PYTORCH = ROOT.parent / "shared/models/efficientnet_lite0_from_pytorch.onnx"


@pytest.mark.skipif(
    not FROM_PYTORCH.exists(), reason="no export of PyTorch's beside the repository"
)
@pytest.mark.parametrize("size", [224, 320])
def test_its_feature_maps_are_those_of_pytorch(onnx_files, photos, size):
    pixels = np.stack([load_pixels(photo, size, "bicubic", crop=True) for photo in photos])
    ours = onnxruntime.InferenceSession(str(onnx_files["efficientnet_lite0"]))
    [found] = ours.run(["feature_map"], {"image": pixels})
    theirs = onnxruntime.InferenceSession(str(FROM_PYTORCH))
    channels_first = (pixels.transpose(0, 3, 1, 2).astype(np.float32) - 127) / 128
    [expected] = theirs.run(["features"], {"pixel_values": channels_first})
    expected = expected.transpose(0, 2, 3, 1)
    assert found.shape == expected.shape == (len(photos), size // 32, size // 32, 1280)
    assert np.abs(found - expected).max() < 1e-4
    a, b = found.reshape(len(photos), -1), expected.reshape(len(photos), -1)
    cosines = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosines.min() >= 0.99999
