"""fp32 → INT8: static quantization of the convolutions, and whether this CPU gains by it."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import onnx
from PIL import Image

from helpers.images import RESIZE
from helpers.models import Recipe
from helpers.settings import TutorialError, display_path

CROPS_PER_PHOTO = 8
LEAST_PHOTOS = 16
BATCH_SIZE = 4
NETWORK_OPERATORS = ("Conv", "Relu", "Clip", "Add", "MaxPool")
INSTRUCTIONS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512vnni": "AVX-512 VNNI",  # as macOS spells it
    "avx_vnni": "AVX VNNI",
    "asimddp": "Arm dot product",
    "feat_dotprod: 1": "Arm dot product",
}
"""What /proc/cpuinfo and sysctl call the instructions that make INT8 faster than fp32."""


@functools.cache
def int8_instructions() -> str | None:
    """The instructions for INT8 dot products that this CPU has; None if it has none."""
    if platform.system() == "Darwin":
        names = ("hw.optional", "machdep.cpu")
        known = subprocess.run(["sysctl", *names], capture_output=True, text=True).stdout
    else:
        known = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    known = known.lower()
    return next((title for name, title in INSTRUCTIONS.items() if name in known), None)


def int8_advice() -> str:
    """One sentence: what INT8 does on this CPU."""
    if known := int8_instructions():
        return f"This CPU multiplies INT8 numbers with {known}: INT8 is worth it."
    return (
        "This CPU has no instructions for INT8 dot products (VNNI, AMX, Arm dot product), so INT8 "
        "gains less here than on one that has; weights of 7 bits keep it accurate."
    )


def reduce_range() -> bool:
    """Whether weights get 7 bits: x86 without VNNI saturates sums of 8-bit products."""
    return int8_instructions() is None and platform.machine().lower() in ("x86_64", "amd64")


def calibration_pixels(recipe: Recipe) -> np.ndarray:
    """Crops of three photos that come with scikit-learn and Matplotlib, the same ones every time.

    They are in no dataset that is searched, so no query is seen in calibration. Returns uint8
    [24, H, W, 3]: squares of 40–100 % of the shorter side, half of them mirrored.
    """
    size, random = (recipe.input_size, recipe.input_size), np.random.default_rng(0)
    crops = []
    for pixels in calibration_sources():
        photo = Image.fromarray(pixels)
        for number in range(CROPS_PER_PHOTO):
            side = int(min(photo.size) * random.uniform(0.4, 1))
            left, top = (int(random.integers(length - side + 1)) for length in photo.size)
            crop = photo.crop((left, top, left + side, top + side))
            resized = np.array(crop.resize(size, RESIZE[recipe.resize]))  # uint8 [H, W, 3]
            crops.append(resized[:, ::-1] if number % 2 else resized)
    return np.stack(crops)


def calibration_sources() -> list[np.ndarray]:
    """scikit-learn's china.jpg and flower.jpg, Matplotlib's grace_hopper.jpg: uint8 [H, W, 3]."""
    # Seconds to import, and only needed here.
    import matplotlib.cbook
    from sklearn.datasets import load_sample_images

    with (
        matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file,
        Image.open(file) as portrait,
    ):
        return [*load_sample_images().images, np.array(portrait.convert("RGB"))]


@functools.cache
def quantization_key() -> str:
    """A digest of everything an INT8 file depends on besides its fp32 file and recipe."""
    about = [CROPS_PER_PHOTO, NETWORK_OPERATORS, reduce_range(), version("onnxruntime")]
    digest = hashlib.sha256(json.dumps(about).encode())
    for pixels in calibration_sources():
        digest.update(pixels.tobytes())
    return digest.hexdigest()


def quantize(source: Path, target: Path, pixels: np.ndarray) -> None:
    """Write the INT8 form of an fp32 file of `conversion.onnx_model`.

    The convolutions with what lies between them – ReLU, ReLU6 (which ONNX calls Clip), addition,
    max pooling – compute in INT8: weights signed with one scale per output channel, activations
    unsigned with one scale per tensor, whose range is the smallest and largest value seen in
    calibration (MinMax). Preparation of the pixels, pooling and normalization stay in float32. The
    scales are in QuantizeLinear and DequantizeLinear nodes (QDQ), which ONNX Runtime fuses into the
    operators.

    pixels: calibration photos uint8 [n, H, W, 3], at least 16, none of them a query. Raises
    TutorialError if there are fewer, or no convolutions with a feature map.
    """
    if len(pixels) < LEAST_PHOTOS:
        raise TutorialError(
            f"{len(pixels)} calibration photos are too few to find the range of every tensor of "
            f"{display_path(source)}: give at least {LEAST_PHOTOS}."
        )
    # A second to import, and only needed here.
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with quiet_logging(), TemporaryDirectory() as folder:
        folded = Path(folder) / "folded.onnx"  # batch normalization folded into the convolutions
        quant_pre_process(str(source), str(folded), skip_symbolic_shape=True)
        quantize_static(
            str(folded),
            str(target),
            batches(pixels),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduce_range(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(NETWORK_OPERATORS),
            nodes_to_exclude=around_the_network(folded),
        )


def around_the_network(path: Path) -> list[str]:
    """Names of the nodes before the first convolution and after the network's last operator."""
    nodes = onnx.load(path, load_external_data=False).graph.node
    first = next((row for row, node in enumerate(nodes) if node.op_type == "Conv"), None)
    pooled = next((row for row, node in enumerate(nodes) if "feature_map" in node.output), None)
    if first is None or pooled is None:
        raise TutorialError(
            "INT8 is made for convolutions that lead to a feature map and take any number of "
            'photos at a time, and this is none: use precision="fp32".'
        )
    return [node.name for row, node in enumerate(nodes) if not first <= row < pooled]


def batches(pixels: np.ndarray) -> SimpleNamespace:
    """`pixels` as a reader for ONNX Runtime's calibration: a few photos at a time, then None."""
    starts = range(0, len(pixels), BATCH_SIZE)
    remaining = ({"image": pixels[start : start + BATCH_SIZE]} for start in starts)
    return SimpleNamespace(get_next=lambda: next(remaining, None))


@contextmanager
def quiet_logging() -> Iterator[None]:
    """Keep onnxruntime.quantization's advice, which goes to the root logger, out of notebooks."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
