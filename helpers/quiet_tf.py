"""`from helpers.quiet_tf import keras, tf`: both without start-up chatter and foreign settings."""

import os
import warnings
from contextlib import contextmanager

from helpers.settings import TutorialError, load_settings

FOREIGN = ("KERAS_", "TF_", "TF2ONNX_", "XLA_")
"""Beginnings of variables that change what Keras, TensorFlow and tf2onnx compute or print."""


@contextmanager
def silent_stderr():
    """Drop what native code writes to file descriptor 2 inside the block."""
    before, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(nowhere)


def standard_keras() -> None:
    """Set what is global in Keras to what our models are built with.

    It may be otherwise where a cell imported Keras before this module did, or changed it since.
    Raises TutorialError if Keras runs on another backend: that cannot be changed any more.
    """
    if keras.config.backend() != "tensorflow":
        raise TutorialError(
            f"Keras was imported on {keras.config.backend()} before the helpers could choose "
            "TensorFlow: restart the kernel and run the notebook from its first cell, with your "
            "own `import keras` after `import helpers.quiet_tf`."
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


READERS_KERAS_HOME = os.environ.get("KERAS_HOME")
"""Where Keras keeps the weights of the reader's other projects; None is `~/.keras`."""

# All of this is read when Keras and TensorFlow are imported. A keras.json is read from KERAS_HOME;
# in ours Keras writes one of its defaults.
for name in [name for name in os.environ if name.startswith(FOREIGN)]:
    del os.environ[name]
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["KERAS_HOME"] = str(load_settings().build_dir / "keras")
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
with silent_stderr():
    import keras
    import tensorflow as tf

standard_keras()
# Keras' export to ONNX looks whether NumPy still has what it took away in 2023.
warnings.filterwarnings("ignore", "In the future `np.object`", FutureWarning)
tf.get_logger().setLevel("ERROR")

__all__ = ["READERS_KERAS_HOME", "keras", "standard_keras", "tf"]
