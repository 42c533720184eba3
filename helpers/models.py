"""`EmbeddingModel` entries: which network, and the recipe that turns a photo into its vector.

Adding a model is adding an entry: a `Network` (how Keras builds it) and a recipe in `PRESETS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from helpers.settings import TutorialError
from helpers.weights import load_weights, weights_digest

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Network:
    """A convolutional network without its classifier."""

    title: str
    """Its name as shown in figures and tables."""
    build: Callable[[], keras.Model]
    """Builds it for any input size [N, H, W, 3], weights included."""
    preprocessing: str
    """Mode of `keras.applications.imagenet_utils.preprocess_input`: caffe, tf or torch."""
    dimension: int
    """Channels of its last feature map, hence the length of the vector."""
    weights_sha256: str
    """Names the weights; another value means another model and another cache entry."""


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
    """`max`, `average` or `gem` (generalised mean, p = 3) over the feature map's places."""


@dataclass(frozen=True)
class EmbeddingModel:
    """A network with a recipe: everything that decides which vector a photo gets."""

    name: str
    preset: str
    network: Network
    recipe: Recipe

    @property
    def title(self) -> str:
        return self.network.title

    @property
    def dimension(self) -> int:
        return self.network.dimension

    def description(self) -> dict[str, str]:
        """Name, preset, recipe and weights as strings, as written into the ONNX file."""
        recipe = {key: str(value).lower() for key, value in asdict(self.recipe).items()}
        return {
            "model": self.name,
            "preset": self.preset,
            **recipe,
            "preprocessing": self.network.preprocessing,
            "dimension": str(self.dimension),
            "weights_sha256": self.network.weights_sha256,
        }


def imagenet_network(application: str, name: str) -> keras.Model:
    """`keras.applications.<application>` without top, carrying the verified ImageNet weights."""
    from helpers.quiet_tf import keras

    model = getattr(keras.applications, application)(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    tensors = load_weights(name)
    model.set_weights([tensors[key] for key in variable_names(model)])
    return model


def variable_names(model: keras.Model) -> list[str]:
    """`<layer>/<variable>` in the order of `model.get_weights()`."""
    return [f"{layer.name}/{weight.name}" for layer in model.layers for weight in layer.weights]


NETWORKS = {
    "resnet50": Network(
        title="ResNet50",
        build=lambda: imagenet_network("ResNet50", "resnet50"),
        preprocessing="caffe",
        dimension=2048,
        weights_sha256=weights_digest("resnet50"),
    ),
    "vgg16": Network(
        title="VGG16",
        build=lambda: imagenet_network("VGG16", "vgg16"),
        preprocessing="caffe",
        dimension=512,
        weights_sha256=weights_digest("vgg16"),
    ),
}

ARTICLE = Recipe(input_size=224, resize="nearest", crop=False, pooling="max")

PRESETS = {
    "article": {"resnet50": ARTICLE, "vgg16": ARTICLE},
    # Chosen by the study that notebook 05 shows (docs/recipes.json), on half of its queries.
    "recommended": {
        "resnet50": Recipe(input_size=320, resize="bicubic", crop=True, pooling="gem"),
        "vgg16": Recipe(input_size=224, resize="nearest", crop=True, pooling="average"),
    },
}


def embedding_model(name: str, preset: str = "article") -> EmbeddingModel:
    """The registry entry `name` with its recipe under `preset`.

    Raises:
        TutorialError: there is no such model or preset.
    """
    if name not in NETWORKS:
        raise TutorialError(f"No model named {name!r}; the registry has {', '.join(NETWORKS)}.")
    if name not in PRESETS.get(preset, {}):
        raise TutorialError(f"No preset {preset!r} for {name}; there are {', '.join(PRESETS)}.")
    return EmbeddingModel(name, preset, NETWORKS[name], PRESETS[preset][name])
