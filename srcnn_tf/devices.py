"""Loads TensorFlow without its start-up messages, which say nothing to someone who makes pictures larger."""

from __future__ import annotations

import os
import sys
import tempfile

from absl import logging


def load_tensorflow(is_train: bool) -> str:
    """Imports TensorFlow and looks for its devices, silently unless TF_CPP_MIN_LOG_LEVEL is set.

    Args:
        is_train: on a processor, run independent operations side by side, each on one core: the parts that a batch is
            trained in are faster so. Else TensorFlow's own setting, all cores for one operation.

    Returns:
        What it computes on, in words.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return _find_devices(is_train)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.set_verbosity(logging.WARNING)
    # Part of the messages is written by C++ straight to file descriptor 2, whatever the log level.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            return _find_devices(is_train)
        except BaseException:
            messages.seek(0)
            os.write(kept, messages.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _find_devices(is_train: bool) -> str:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        # Else TensorFlow takes all of the card's memory at once.
        tf.config.experimental.set_memory_growth(gpu, True)
    # An NVIDIA card's own idea of float32 has ten bits of mantissa in products; float32 means float32 here.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if is_train and not gpus:
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(os.cpu_count() or 1)
    tf.config.list_logical_devices()
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return ", ".join(names) if names else f"processor, {os.cpu_count()} cores"
