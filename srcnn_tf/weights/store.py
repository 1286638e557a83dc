"""Finds, reads and saves the weights of the network; without TensorFlow, but for checkpoints of the reference."""

from __future__ import annotations

import hashlib
import io
import json
import math
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from srcnn_tf.errors import RunError
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.system.files import atomic_write, without_patterns
from srcnn_tf.weights.search import WEIGHTS_FILE, WeightsSearch, shipped_weights

KERAS_FILE = "SRCNN.keras"
# Attributes of a weights file: the name of the network that its weights belong to, and the digest of their bytes.
NETWORK, SHA256 = "network", "sha256"
# Keras names the layers in a weights file by their class and number, not by their name.
KERAS_GROUPS = ("conv2d", "conv2d_1", "conv2d_2")
KERAS_WEIGHTS = "model.weights.h5"  # in a .keras file, which is a zip archive


def find_weights(spec: NetworkSpec, search: WeightsSearch) -> tuple[list[NDArray[np.float32]], str]:
    """Reads the weights of a network: the file that is named, else the run's, else those of this package.

    Returns:
        Kernels and biases of the three layers, in turn; and where they are from.

    Raises:
        RunError: there are no such weights, or they belong to another network.
    """
    own, shipped = search.own(spec), shipped_weights(spec)
    if own is not None:
        return read_weights(own, spec), str(own)
    if shipped.is_file():
        return read_weights(shipped, spec), "shipped"
    names = sorted(path.name.removesuffix(".weights.h5") for path in shipped.parent.glob("*.weights.h5"))
    searched = "the package"
    if search.checkpoint_dir is not None:
        searched = f"there is no {search.run_directory(spec) / WEIGHTS_FILE}, and the package"
    raise RunError(
        f"No weights for {spec.flags}: {searched} ships only {', '.join(names) or 'none'}. Train some with "
        "--is_train=True and the same flags, or name a file with --weights."
    )


def read_weights(path: Path, spec: NetworkSpec) -> list[NDArray[np.float32]]:
    """Reads weights from a weights file, a .keras file, a run's folder, or a checkpoint of the reference.

    Returns:
        Kernels `(side, side, c_in, c_out)` and biases `(c_out,)` of the three layers, in turn.

    Raises:
        RunError: the weights cannot be read, or belong to another architecture, scale, degradation or number of
            channels; the message shows both.
    """
    if path.is_dir():
        path = path / WEIGHTS_FILE
    if path.is_file() and h5py.is_hdf5(path):
        weights, network = _read_weights_file(path)
    elif path.is_file() and path.suffix == ".keras":
        weights, network = _read_keras_file(path)
    else:
        weights, network = _read_reference_checkpoint(path), None
    expected, found = ([list(shape) for shape in shapes] for shapes in (spec.shapes, [a.shape for a in weights]))
    if expected != found:
        raise RunError(
            f"{path}: these are weights of another architecture. Expected shapes {expected} for "
            f"{spec.flags}, found {found}. Change the flags, or name another file with --weights."
        )
    if network is not None and network != spec.name:
        raise RunError(
            f"{path}: these are weights of {network}, but {spec.name} is asked for "
            f"({spec.flags}). Change the flags, or name another file with --weights."
        )
    if not all(np.isfinite(array).all() for array in weights):
        raise RunError(f"{path}: some of these weights are not finite numbers (NaN or infinity); name another file.")
    return weights


def to_bytes(weights: Sequence[NDArray]) -> bytes:
    """Returns the weights as little-endian float32 numbers, one array after the other."""
    return b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in weights)


def from_bytes(content: bytes, spec: NetworkSpec) -> list[NDArray[np.float32]]:
    """Returns the weights of a network that `to_bytes` was given."""
    ends = np.cumsum([math.prod(shape) for shape in spec.shapes])
    values = np.split(np.frombuffer(content, "<f4").astype(np.float32), ends[:-1])
    return [array.reshape(shape) for array, shape in zip(values, spec.shapes, strict=True)]


def write_weights_file(directory: Path, spec: NetworkSpec) -> None:
    """Writes SRCNN.weights.h5, with the network that its weights belong to, from the SRCNN.keras beside it.

    That holds the same bytes. Taken from there, the HDF5 library writes nothing to the disk: it crashes the process
    when the disk is full.

    Raises:
        RunError: it cannot be written; the former file is untouched.
    """
    with zipfile.ZipFile(directory / KERAS_FILE) as archive:
        content = io.BytesIO(archive.read(KERAS_WEIGHTS))
    with h5py.File(content, "a") as file:
        file.attrs.update({NETWORK: spec.name, SHA256: _digest(_read_layers(file))})
    with atomic_write(directory / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(content.getvalue())


def _digest(weights: Sequence[NDArray]) -> str:
    return hashlib.sha256(to_bytes(weights)).hexdigest()


def _read_layers(file: h5py.File) -> list[NDArray[np.float32]]:
    return [file[f"layers/{group}/vars/{number}"][()] for group in KERAS_GROUPS for number in (0, 1)]


def _read_weights_file(path: Path) -> tuple[list[NDArray[np.float32]], str | None]:
    try:
        with h5py.File(path, "r") as file:
            weights = _read_layers(file)
            digest = _digest(weights)
            if file.attrs.get(SHA256, digest) != digest:
                raise ValueError("its checksum is wrong: the file is damaged")
            return weights, file.attrs.get(NETWORK)
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError, TypeError and more
        raise RunError(f"{path}: cannot be read as weights of this network ({error}); name another file.") from error


def _read_keras_file(path: Path) -> tuple[list[NDArray[np.float32]], str | None]:
    """Reads the archive that Keras writes: the model's configuration as JSON, and its weights."""
    try:
        with zipfile.ZipFile(path) as members:
            model = json.loads(members.read("config.json"))["config"]
            with h5py.File(io.BytesIO(members.read(KERAS_WEIGHTS)), "r") as file:
                weights = _read_layers(file)
    except Exception as error:  # zipfile, json and h5py raise many types
        reason = str(error).split("\n")[0]
        raise RunError(f"{path}: cannot be read as a Keras model ({reason}); name another file.") from error
    activations = [layer["config"]["activation"] for layer in model["layers"] if "activation" in layer["config"]]
    if activations != ["relu", "relu", "linear"]:
        raise RunError(
            f"{path}: its layers have the activations {', '.join(map(str, activations))}, expected relu, relu, linear; "
            "name another file."
        )
    return weights, model["name"] if model["name"].startswith("srcnn_") else None


def _read_reference_checkpoint(path: Path) -> list[NDArray[np.float32]]:
    """Reads `w1 b1 w2 b2 w3 b3` from a TensorFlow 1 file, or a newer checkpoint of the reference's code."""
    if not (path.is_file() or path.with_name(path.name + ".index").is_file()):
        raise RunError(f"--weights={path}: there is no such file, run's folder or checkpoint.")
    from srcnn_tf.system.devices import load_tensorflow

    if "tensorflow" not in sys.modules:
        load_tensorflow()
    import tensorflow as tf

    try:
        with without_patterns(path) as name:
            reader = tf.train.load_checkpoint(str(name))
            return [reader.get_tensor(f"{kind}{number}") for number in (1, 2, 3) for kind in "wb"]
    except Exception as error:  # a damaged file raises OpError, ValueError, IndexError and more
        raise RunError(
            f"{path}: expected SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference with "
            "w1 b1 w2 b2 w3 b3; it is damaged or something else."
        ) from error
