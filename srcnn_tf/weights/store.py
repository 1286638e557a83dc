"""Finds, loads and saves the weights of the network."""

from __future__ import annotations

import hashlib
import io
import zipfile
from importlib import resources
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.model import build_model, plain_keras

WEIGHTS_FILE = "SRCNN.weights.h5"
KERAS_FILE = "SRCNN.keras"
# Attributes of a weights file: the `network_name` that its weights belong to, and the digest of their bytes.
NETWORK, SHA256 = "network", "sha256"
# Keras names the layers in a weights file by their class and number, not by their name.
KERAS_GROUPS = ("conv2d", "conv2d_1", "conv2d_2")


def run_directory(config: Config) -> Path:
    """Returns the folder of a run's checkpoints and weights."""
    return Path(config.checkpoint_dir, config.run_name)


def own_weights(config: Config, search_runs: bool = True) -> Path | None:
    """Returns the file of `--weights`, else that of the run in `checkpoint_dir`, if there is one."""
    if config.weights is not None:
        return Path(config.weights)
    run = run_directory(config) / WEIGHTS_FILE
    return run if search_runs and run.is_file() else None


def shipped_weights(config: Config) -> Path:
    """Returns the file of the package's weights for a network; it may not exist."""
    return Path(str(resources.files("srcnn_tf.weights") / f"{config.network_name}.weights.h5"))


def find_model(config: Config, search_runs: bool = True) -> tuple[keras.Model, str]:
    """Builds the network with the weights of `--weights`, else of the run in `checkpoint_dir`, else shipped ones.

    Args:
        config: describes the network and names the folders.
        search_runs: whether to search `checkpoint_dir`.

    Returns:
        The model in float32, and where its weights are from.

    Raises:
        RunError: there are no such weights, or they belong to another network.
    """
    shipped = shipped_weights(config)
    path = own_weights(config, search_runs) or shipped
    if path == shipped and not shipped.is_file():
        run = run_directory(config) / WEIGHTS_FILE
        names = sorted(path.name.removesuffix(".weights.h5") for path in shipped.parent.glob("*.weights.h5"))
        searched = f"there is no {run}, and the package" if search_runs else "the package"
        raise RunError(
            f"No weights for {_describe(config)}: {searched} ships only {', '.join(names) or 'none'}. Train some with "
            "--is_train=True and the same flags, or name a file with --weights."
        )
    model = build_model(config)
    load_weights(model, path, config)
    return model, "shipped" if path == shipped else str(path)


def load_weights(model: keras.Model, path: Path, config: Config) -> None:
    """Sets a model's weights from a weights file, a .keras file, a run's folder, or a checkpoint of the reference.

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
    expected, found = ([list(array.shape) for array in arrays] for arrays in (model.get_weights(), weights))
    if expected != found:
        raise RunError(
            f"{path}: these are weights of another architecture. Expected shapes {expected} for "
            f"{_describe(config)}, found {found}. Change the flags, or name another file with --weights."
        )
    if network is not None and network != config.network_name:
        raise RunError(
            f"{path}: these are weights of {network}, but {config.network_name} is asked for "
            f"({_describe(config)}). Change the flags, or name another file with --weights."
        )
    if not all(np.isfinite(array).all() for array in weights):
        raise RunError(f"{path}: some of these weights are not finite numbers (NaN or infinity); name another file.")
    model.set_weights(weights)


def save_weights(model: keras.Model, config: Config, directory: Path) -> None:
    """Writes SRCNN.weights.h5 (with the network it belongs to) and SRCNN.keras, which need no code of this package.

    Raises:
        RunError: they cannot be written; the former files are untouched.
    """
    plain = plain_keras(model)
    with atomic_write(directory / KERAS_FILE) as temporary:
        plain.save(temporary)
    # A .keras file holds the bytes that save_weights would write. Taken from there, the HDF5 library writes nothing to
    # the disk: it crashes the process when the disk is full.
    with zipfile.ZipFile(directory / KERAS_FILE) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "a") as file:
        file.attrs.update({NETWORK: config.network_name, SHA256: _digest(model.get_weights())})
    with atomic_write(directory / WEIGHTS_FILE) as temporary:
        temporary.write_bytes(weights.getvalue())


def _describe(config: Config) -> str:
    names = ["architecture", "filters", "scale", "degradation", "c_dim"] + ["color_space"] * (config.c_dim == 3)
    return " ".join(f"--{name}={getattr(config, name)}" for name in names)


def _digest(weights: list[NDArray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in weights)).hexdigest()


def _read_weights_file(path: Path) -> tuple[list[NDArray], str | None]:
    try:
        with h5py.File(path, "r") as file:
            weights = [file[f"layers/{group}/vars/{number}"][()] for group in KERAS_GROUPS for number in (0, 1)]
            if file.attrs.get(SHA256, _digest(weights)) != _digest(weights):
                raise ValueError("its checksum is wrong: the file is damaged")
            return weights, file.attrs.get(NETWORK)
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError, TypeError and more
        raise RunError(f"{path}: cannot be read as weights of this network ({error}); name another file.") from error


def _read_keras_file(path: Path) -> tuple[list[NDArray], str | None]:
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # zipfile, json and Keras raise many types
        reason = str(error).split("\n")[0]
        raise RunError(f"{path}: cannot be read as a Keras model ({reason}); name another file.") from error
    return model.get_weights(), model.name if model.name.startswith("srcnn_") else None


def _read_reference_checkpoint(path: Path) -> list[NDArray]:
    """Reads `w1 b1 w2 b2 w3 b3` from a TensorFlow 1 file, or a newer checkpoint of the reference's code."""
    if not (path.is_file() or path.with_name(path.name + ".index").is_file()):
        raise RunError(f"--weights={path}: there is no such file, run's folder or checkpoint.")
    try:
        reader = tf.train.load_checkpoint(str(path))
        return [reader.get_tensor(f"{kind}{number}") for number in (1, 2, 3) for kind in "wb"]
    except Exception as error:  # a damaged file raises OpError, ValueError, IndexError and more
        raise RunError(
            f"{path}: expected SRCNN.weights.h5, SRCNN.keras, a run's folder, or a checkpoint of the reference with "
            "w1 b1 w2 b2 w3 b3; it is damaged or something else."
        ) from error
