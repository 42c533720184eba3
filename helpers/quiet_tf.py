"""`from helpers.quiet_tf import keras, tf`: TensorFlow and Keras without their start-up chatter."""

import os
from contextlib import contextmanager


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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read once, when TensorFlow is imported
with silent_stderr():
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")

__all__ = ["keras", "tf"]
