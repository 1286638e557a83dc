"""TensorFlow: its silent start, its threads, GPUs, and other machines."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
from functools import lru_cache
from typing import TYPE_CHECKING

from absl import logging
from numpy.typing import NDArray

from srcnn_tf.errors import RunError, UsageError
from srcnn_tf.system.threads import cores

if TYPE_CHECKING:
    import tensorflow as tf


def load_tensorflow(training: bool = False, threads: int | None = None) -> str:
    """Imports TensorFlow and initializes its devices, silently unless TF_CPP_MIN_LOG_LEVEL is below 3.

    On a processor, independent operations run in parallel, each on one core: faster for the shares of a training batch
    and for the tiles of an image than TensorFlow's own setting, all cores for one operation.

    Args:
        training: whether to train, for which this waits until all workers that TF_CONFIG lists are there.
        threads: how many independent operations run in parallel on a processor. Default: as many as there are cores.

    Returns:
        The devices in words.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "3") != "3":  # a process that this one starts inherits the 3
        return _initialize_devices(training, threads or cores())
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.set_verbosity(logging.WARNING)
    # C++ code writes some messages straight to file descriptor 2, whatever the log level.
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        return _initialize_devices(training, threads or cores())
    if sys.stderr is not None:
        sys.stderr.flush()
    with tempfile.TemporaryFile() as messages:
        os.dup2(messages.fileno(), 2)
        try:
            return _initialize_devices(training, threads or cores())
        except RunError:
            raise
        except BaseException:
            messages.seek(0)
            os.write(stderr, messages.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _initialize_devices(training: bool, threads: int) -> str:
    # The import makes 300,000 objects that stay. If garbage collection examined them, it would take half a second
    # during the import, and another one at exit.
    gc.disable()
    try:
        import keras
        import tensorflow as tf
    finally:
        gc.enable()
    gc.freeze()
    # What ~/.keras/keras.json says is for other programs.
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_dtype_policy("float32")

    gpus = tf.config.list_physical_devices("GPU")
    with contextlib.suppress(RuntimeError):  # a process that has computed with TensorFlow keeps its setting
        for gpu in gpus:
            # Else TensorFlow reserves all of the GPU's memory at once.
            tf.config.experimental.set_memory_growth(gpu, True)
    # By default, NVIDIA GPUs multiply float32 with ten bits of mantissa; float32 means float32 here.
    tf.config.experimental.enable_tensor_float_32_execution(False)
    if not gpus:
        with contextlib.suppress(RuntimeError):  # a process that has computed with TensorFlow keeps its threads
            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    if training and worker_number()[1] > 1:
        _connect_workers()
    tf.config.list_logical_devices()
    names = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name) for gpu in gpus]
    return ", ".join(names) if names else f"processor, {cores()} cores"


def _connect_workers() -> None:
    """Waits until all workers of TF_CONFIG are there.

    Raises:
        RunError: they cannot be connected.
    """
    import tensorflow as tf

    # TensorFlow waits in C++, where Python's handlers do not run. Nothing is written yet that a signal could damage.
    former = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        training_strategy()
        tf.config.list_logical_devices()
    except (tf.errors.OpError, RuntimeError) as error:
        raise RunError(
            f"TF_CONFIG: the workers cannot be connected ({error}). Check that each address is that of its machine, "
            f"with a port that is free; found {os.environ['TF_CONFIG']}."
        ) from error
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@lru_cache(maxsize=1)
def training_strategy() -> tf.distribute.Strategy:
    """Returns how training is distributed: over the workers of TF_CONFIG, over this machine's GPUs, or not at all.

    With several workers, the first call connects them, which has to precede everything else TensorFlow computes.
    """
    import tensorflow as tf

    if worker_number()[1] > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def worker_number() -> tuple[int, int]:
    """Returns the number of this worker, and how many there are, by TF_CONFIG; `(0, 1)` if it is not set.

    Raises:
        UsageError: TF_CONFIG is not what TensorFlow expects, or names a task that does not train.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0, 1
    try:
        given = json.loads(text)
        tasks = [
            (kind, number) for kind in ("chief", "worker") for number in range(len(given["cluster"].get(kind, [])))
        ]
        return tasks.index((given["task"]["type"], int(given["task"]["index"]))), len(tasks)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            'TF_CONFIG: expected {"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}} '
            f"with an index of that list, found {text} ({error}). Unset it to train on this machine alone."
        ) from error


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def to_device(array: NDArray) -> tf.Tensor:
    """Copies an array to where training computes: a GPU's memory if there is one."""
    import tensorflow as tf

    with tf.device("GPU:0" if has_gpu() else "CPU:0"):
        return tf.identity(tf.convert_to_tensor(array))
