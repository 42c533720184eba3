"""Which vector a photo gets: an `EmbeddingModel` is a network with a recipe at a precision.

Adding a model is adding an entry to `NETWORKS` and `PRESETS`, with its weights' digest and source.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.settings import TutorialError, load_settings
from helpers.weight_digests import WEIGHTS_SHA256

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """A convolutional network without its classifier."""

    title: str
    """Its name as shown in figures and tables."""
    build: Callable[[], keras.Model] | None
    """Builds it for any input size [N, H, W, 3], weights included; None if it was adopted."""
    preprocessing: str
    """Mode of `keras.applications.imagenet_utils.preprocess_input`: caffe, tf or torch; or `lite`,
    (x − 127) / 128. Of an adopted network what its file does with pixels."""
    dimension: int
    """Channels of its last feature map, hence the length of the vector."""
    weights_sha256: str
    """Names the weights; another value means another model and another cache entry."""
    int8: bool = True
    """Whether it has an INT8 form: convolutions that lead to a feature map, any number of photos
    at a time (`quantization.quantize`)."""


@dataclass(frozen=True)
class Recipe:
    """What happens to a photo before the network, and to the feature map after it."""

    input_size: int
    """Height and width in pixels of what the network sees."""
    resize: str
    """`nearest`, `bilinear`, `bicubic` or `lanczos`; all but the first are antialiased."""
    crop: bool
    """False squashes the photo to a square; True scales its shorter side and crops the centre."""
    pooling: str
    """`max`, `average` or `gem` (generalised mean, p = 3) over the feature map's places; `none`
    where an adopted network gives a vector and no feature map."""
    shorter_side: int | None = None
    """Pixels the shorter side is scaled to before `crop`, where that is more than `input_size`."""

    @property
    def preparation(self) -> tuple[int, str, bool, int | None]:
        """What decides the pixels uint8 [input_size, input_size, 3], as `load_pixels` takes it."""
        return self.input_size, self.resize, self.crop, self.shorter_side

    def description(self) -> dict[str, str]:
        """The recipe as strings; `described_recipe` is the inverse."""
        given = {key: value for key, value in asdict(self).items() if value is not None}
        return {key: str(value).lower() for key, value in given.items()}


def described_recipe(description: Mapping[str, str]) -> Recipe:
    """The recipe that a `description`, such as an ONNX file's metadata, states."""
    return Recipe(
        input_size=int(description["input_size"]),
        resize=description["resize"],
        crop=description["crop"] == "true",
        pooling=description["pooling"],
        shorter_side=int(description["shorter_side"]) if "shorter_side" in description else None,
    )


@dataclass(frozen=True)
class EmbeddingModel:
    """A network with a recipe at a precision: everything that decides which vector a photo gets."""

    name: str
    preset: str
    precision: str
    network: Network
    recipe: Recipe

    @property
    def title(self) -> str:
        """The network's name, as shown in figures and tables."""
        return self.network.title

    @property
    def dimension(self) -> int:
        """Length of the vector."""
        return self.network.dimension

    @property
    def label(self) -> str:
        """Told from all others by a reader: `ResNet50 · article · fp32`."""
        return f"{self.title} · {self.preset} · {self.precision}"

    @property
    def slug(self) -> str:
        """Told from all others in names of files and keys: `resnet50-article-fp32`."""
        return f"{self.name}-{self.preset}-{self.precision}"

    def description(self) -> dict[str, str]:
        """Name, preset, precision, recipe and weights as strings, as written into the ONNX file."""
        return {
            "model": self.name,
            "preset": self.preset,
            "precision": self.precision,
            **self.recipe.description(),
            "preprocessing": self.network.preprocessing,
            "dimension": str(self.dimension),
            "weights_sha256": self.network.weights_sha256,
        }


def imagenet_network(name: str) -> keras.Model:
    """A network of the registry for any input size, with its verified ImageNet weights."""
    # Only a conversion needs these: whoever searches imports neither them nor Keras.
    from helpers.efficientnet import efficientnet_lite0
    from helpers.quiet_tf import keras
    from helpers.weights import load_weights

    if name == "efficientnet_lite0":
        model = efficientnet_lite0()
    else:
        build = getattr(keras.applications, NETWORKS[name].title)
        model = build(include_top=False, weights=None, input_shape=(None, None, 3))
    model.set_weights(list(load_weights(name).values()))
    return model


NETWORKS = {
    name: Network(title, partial(imagenet_network, name), mode, dimension, WEIGHTS_SHA256[name])
    for name, title, mode, dimension in (
        ("resnet50", "ResNet50", "caffe", 2048),
        ("vgg16", "VGG16", "caffe", 512),
        ("efficientnet_lite0", "EfficientNet-Lite0", "lite", 1280),
    )
}
"""The registry. A title is what `keras.applications` calls the network, where it has it."""

PRECISIONS = ("fp32", "int8")

ARTICLE = Recipe(input_size=224, resize="nearest", crop=False, pooling="max")

PRESETS = {
    "article": dict.fromkeys(NETWORKS, ARTICLE),
    # Chosen by the study that notebook 05 shows (docs/recipes.json), on half of its queries.
    "recommended": {
        "resnet50": Recipe(input_size=320, resize="bicubic", crop=True, pooling="gem"),
        "vgg16": Recipe(input_size=224, resize="nearest", crop=True, pooling="average"),
        "efficientnet_lite0": Recipe(
            input_size=320, resize="lanczos", crop=True, pooling="average"
        ),
    },
}


def adopted_folder() -> Path:
    """Where `adoption` remembers the networks that readers bring."""
    return load_settings().build_dir / "adopted"


def adopted() -> dict[str, tuple[Network, Recipe]]:
    """The adopted networks with their recipes, by name."""
    models = {}
    for path in sorted(adopted_folder().glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        models[path.stem] = Network(**about["network"]), described_recipe(about["recipe"])
    return models


def networks() -> dict[str, Network]:
    """The registry and the adopted networks by name."""
    return {**NETWORKS, **{name: network for name, (network, _) in adopted().items()}}


def all_models() -> list[EmbeddingModel]:
    """Every network under every preset and at every precision that it has."""
    brought = {name: recipe for name, (_, recipe) in adopted().items()}
    presets = {**PRESETS, "recommended": {**PRESETS["recommended"], **brought}}
    models = [
        embedding_model(name, preset, precision)
        for preset, recipes in presets.items()
        for precision in PRECISIONS
        for name in recipes
    ]
    return [model for model in models if model.precision == "fp32" or model.network.int8]


def embedding_model(name: str, preset: str = "article", precision: str = "fp32") -> EmbeddingModel:
    """A network of the registry or an adopted one, its recipe under `preset`, at a precision.

    Raises TutorialError if there is no such model, preset or precision.
    """
    if name in NETWORKS:
        network = NETWORKS[name]
        recipes = {key: known[name] for key, known in PRESETS.items()}
    elif name in (brought := adopted()):
        network, recipe = brought[name]
        recipes = {"recommended": recipe}
    else:
        raise TutorialError(f"No model named {name!r}; the registry has {', '.join(networks())}.")
    if preset not in recipes:
        raise TutorialError(f"No preset {preset!r} for {name}; there are {', '.join(recipes)}.")
    if precision not in PRECISIONS:
        raise TutorialError(f"No precision {precision!r}; there are {' and '.join(PRECISIONS)}.")
    return EmbeddingModel(name, preset, precision, network, recipes[preset])
