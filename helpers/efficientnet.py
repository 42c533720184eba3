"""EfficientNet-Lite0, which `keras.applications` lacks, as a Keras model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

STEM, HEAD = 32, 1280
BLOCKS = (  # repeats, kernel, stride of the first, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0() -> keras.Model:
    """The network without its classifier, float32 [N, H, W, 3] → [N, H / 32, W / 32, 1280].

    Tan, Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019,
    table 1, in its Lite variant of 2020: ReLU6, no squeeze-and-excitation. Pixels come in as
    (x − 127) / 128. Layers are called as in the PyTorch checkpoint of `weights`; the weights are
    not set yet.
    """
    from helpers.quiet_tf import keras

    layers = keras.layers

    def normalise(maps, name: str, active: bool = True):
        maps = layers.BatchNormalization(epsilon=1e-3, name=name)(maps)
        return layers.ReLU(6, name=f"{name}_relu6")(maps) if active else maps

    def convolve(maps, channels: int, name: str, kernel: int = 1, stride: int = 1):
        how = {"padding": "same", "use_bias": False, "name": name}
        return layers.Conv2D(channels, kernel, stride, **how)(maps)

    image = keras.Input((None, None, 3))
    maps, number = normalise(convolve(image, STEM, "conv_stem", 3, 2), "bn0"), 0
    for repeats, kernel, first_stride, expansion, channels in BLOCKS:
        for repeat in range(repeats):
            name, stride = f"blocks_{number}", 1 if repeat else first_stride
            before, width, number = maps, maps.shape[-1], number + 1
            if expansion > 1:
                expanded = convolve(maps, width * expansion, f"{name}_expand_conv")
                maps = normalise(expanded, f"{name}_bn0")
            how = {"padding": "same", "use_bias": False, "name": f"{name}_depthwise_conv"}
            maps = normalise(layers.DepthwiseConv2D(kernel, stride, **how)(maps), f"{name}_bn1")
            maps = convolve(maps, channels, f"{name}_project_conv")
            maps = normalise(maps, f"{name}_bn2", active=False)
            if repeat:
                maps = layers.Add(name=f"{name}_skip")([before, maps])
    return keras.Model(image, normalise(convolve(maps, HEAD, "conv_head"), "bn1"))
