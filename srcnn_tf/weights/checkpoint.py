"""A run's folder: checkpoints to go on from, weights to use, and what they belong to."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import zipfile
from importlib import resources
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.files import atomic_write
from srcnn_tf.model import srcnn

PREFIX = "SRCNN.model"  # the reference's name of a checkpoint, before '-<step>'
WEIGHTS = "SRCNN.weights.h5"
KERAS = "SRCNN.keras"
RECORD = "config.json"
KEEP = 3  # checkpoints of a run; the reference kept TensorFlow 1's five
# Attributes of a weights file: the `network_name` that its weights belong to, and the digest of their bytes.
NETWORK, SHA256 = "network", "sha256"
# Keras names the layers in a weights file by their class and place, not by their name.
_KERAS_GROUPS = ("conv2d", "conv2d_1", "conv2d_2")


def run_directory(config: Config) -> Path:
    """Where a run keeps its checkpoints and weights."""
    return Path(config.checkpoint_dir, config.run_name)


# --- checkpoints ------------------------------------------------------------------------------------


class Checkpoints:
    """The checkpoints `SRCNN.model-<step>` of one run: all that training needs to go on.

    Each is written under a temporary name and renamed, and the one before stays, so that a run killed at any moment
    has a whole one.
    """

    def __init__(self, directory: Path, **parts: Any) -> None:
        """Args: the run's folder, and what to save: models, built optimizers, variables."""
        self.directory = directory
        self._checkpoint = tf.train.Checkpoint(**parts)

    def save(self, step: int) -> None:
        """Writes `SRCNN.model-<step>`, and deletes the oldest beyond `KEEP`.

        Raises:
            RunError: it cannot be written; the ones before are untouched.
        """
        path = self.directory / f"{PREFIX}-{step}"
        try:
            self._checkpoint.write(str(path))
            # By this file tf.train.latest_checkpoint finds it.
            with atomic_write(self.directory / "checkpoint") as temporary:
                temporary.write_text(f'model_checkpoint_path: "{path.name}"\n', encoding="utf-8")
        except (tf.errors.OpError, OSError) as error:
            reason = str(getattr(error, "message", error)).split("\n")[0]
            raise RunError(
                f"{path}: cannot be written ({reason}); the checkpoints before it are kept. "
                "Free the place, and the same command goes on from them."
            ) from error
        finally:
            self._delete_leftovers()

    def _delete_leftovers(self) -> None:
        for path in self.directory.iterdir() if self.directory.is_dir() else ():
            if path.name.startswith(f"{PREFIX}-") and "_temp" in path.name:
                shutil.rmtree(path, ignore_errors=True)
        for checkpoint in _saved(self.directory)[:-KEEP]:
            for path in self.directory.iterdir():
                if path.stem == checkpoint.name:
                    path.unlink()

    def restore(self) -> None:
        """Takes up the newest checkpoint.

        Raises:
            RunError: it is damaged, or holds something else; the message says what to delete.
        """
        newest = latest(self.directory)
        assert newest is not None
        try:
            self._checkpoint.read(str(newest)).assert_existing_objects_matched()
        except Exception as error:  # a damaged file raises OpError, ValueError, IndexError and more
            older = [path.name for path in _saved(self.directory) if path != newest]
            way_out = f"the run then goes on from {older[-1]}" if older else "the run then begins anew"
            raise RunError(
                f"{newest}: the checkpoint cannot be read (damaged, or of another program). Delete {newest}.* and "
                f"give the same command again: {way_out}."
            ) from error


def latest(directory: Path) -> Path | None:
    """The newest whole checkpoint in a run's folder, as TensorFlow's prefix of its files; None if there is none."""
    return max(_saved(directory), key=_step, default=None)


def _saved(directory: Path) -> list[Path]:
    """The whole checkpoints, the oldest first; a folder's name may hold any character, so nothing is globbed."""
    names = [path.stem for path in directory.iterdir() if path.suffix == ".index"] if directory.is_dir() else []
    return sorted((directory / name for name in names if re.fullmatch(rf"{re.escape(PREFIX)}-\d+", name)), key=_step)


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def clear(directory: Path) -> None:
    """Deletes what an earlier run left in its folder, and nothing else."""
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name in {"checkpoint", WEIGHTS, KERAS, RECORD}:
            path.unlink()
        elif path.name.startswith(f"{PREFIX}-"):
            # TensorFlow leaves a folder when it is killed while it writes.
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# --- the run's record -------------------------------------------------------------------------------


def write_record(directory: Path, record: dict[str, Any]) -> None:
    """Writes config.json: what the run was told, what it was made from, how far it got.

    Raises:
        RunError: it cannot be written.
    """
    with atomic_write(directory / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def read_record(directory: Path) -> dict[str, Any]:
    """Reads config.json.

    Returns:
        What `write_record` was given, with `config` as a `Config`.

    Raises:
        RunError: it is absent, damaged, or of a version with other flags.
    """
    path = directory / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["config"] = Config(**record["config"])
        record["data"]["sha256"], record["data"]["pictures"], record["step"]
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{path}: cannot be read ({error!r}), so nobody knows what the checkpoints beside it belong to. "
            "Put it back, or begin anew with --resume=False."
        ) from error


# --- weights ----------------------------------------------------------------------------------------


def publish(model: keras.Model, config: Config, directory: Path) -> None:
    """Writes the weights of a run for use: SRCNN.weights.h5 (with what they belong to) and SRCNN.keras.

    Raises:
        RunError: they cannot be written; the files before are untouched.
    """
    with atomic_write(directory / KERAS) as temporary:
        model.save(temporary)
    # In a .keras file lie the same bytes that save_weights writes. Taken from there, no HDF5 file is written to the
    # disk: the HDF5 library crashes the process where that is full.
    with zipfile.ZipFile(directory / KERAS) as archive:
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights, "a") as file:
        file.attrs.update({NETWORK: config.network_name, SHA256: _digest(model.get_weights())})
    with atomic_write(directory / WEIGHTS) as temporary:
        temporary.write_bytes(weights.getvalue())


def build(config: Config, initialization: str = "gaussian") -> keras.Model:
    """Builds the network that a configuration describes, with random weights."""
    return srcnn(
        config.filter_sizes, config.c_dim, config.filter_counts, initialization, config.seed, config.network_name
    )


def restored_model(config: Config, own_runs: bool = True) -> tuple[keras.Model, str]:
    """Builds the network and gives it weights: `--weights`, else the run in `checkpoint_dir`, else shipped ones.

    Args:
        config: what for.
        own_runs: whether to look into `checkpoint_dir`.

    Returns:
        The model, and where its weights are from.

    Raises:
        RunError: there are none, or they belong to something else.
    """
    source = _find_weights(config, own_runs)
    model = build(config)
    load_weights(model, source, config)
    return model, "shipped" if config.weights is None and source == _shipped(config) else str(source)


def _find_weights(config: Config, own_runs: bool) -> Path:
    if config.weights is not None:
        return Path(config.weights)
    own = run_directory(config) / WEIGHTS
    if own_runs and own.is_file():
        return own
    if _shipped(config).is_file():
        return _shipped(config)
    shipped = sorted(path.name.removesuffix(".weights.h5") for path in _shipped(config).parent.glob("*.weights.h5"))
    looked = f"there is no {own}, and the package" if own_runs else "the package"
    raise RunError(
        f"No weights for {_asked_for(config)}: {looked} ships only "
        f"{', '.join(shipped) or 'none'}. Train some with --is_train=True and the same flags, or name a file with "
        "--weights."
    )


def _shipped(config: Config) -> Path:
    return Path(str(resources.files("srcnn_tf.weights") / f"{config.network_name}.weights.h5"))


def load_weights(model: keras.Model, path: Path, config: Config) -> None:
    """Gives a model the weights of a weights file, a run's folder, or a checkpoint of the reference.

    Raises:
        RunError: they cannot be read, or belong to another architecture, scale, degradation or channel count; the
            message shows both.
    """
    if path.is_dir():
        path = path / WEIGHTS
    if path.is_file() and h5py.is_hdf5(path):
        weights, network = _read_weights_file(path)
    elif path.is_file() and path.suffix == ".keras":
        weights, network = _read_keras_file(path)
    else:
        weights, network = _read_reference(path), None
    wanted, found = [list(array.shape) for array in model.get_weights()], [list(array.shape) for array in weights]
    if wanted != found:
        raise RunError(
            f"{path}: these are weights of another architecture. Expected shapes {wanted} for "
            f"{_asked_for(config)}, found {found}. Change the flags, or name another file with --weights."
        )
    if network is not None and network != config.network_name:
        raise RunError(
            f"{path}: these are weights of {network}, but {config.network_name} is asked for "
            f"({_asked_for(config)}). Change the flags, or name another file with --weights."
        )
    if not all(np.isfinite(array).all() for array in weights):
        raise RunError(f"{path}: some of these weights are not finite numbers (NaN or infinity); name another file.")
    model.set_weights(weights)


def _digest(weights: list[np.ndarray]) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array, "<f4").tobytes() for array in weights)).hexdigest()


def _asked_for(config: Config) -> str:
    names = ["architecture", "filters", "scale", "degradation", "c_dim"] + ["color_space"] * (config.c_dim == 3)
    return " ".join(f"--{name}={getattr(config, name)}" for name in names)


def _read_weights_file(path: Path) -> tuple[list[np.ndarray], str | None]:
    try:
        with h5py.File(path, "r") as file:
            weights = [file[f"layers/{group}/vars/{number}"][()] for group in _KERAS_GROUPS for number in (0, 1)]
            if file.attrs.get(SHA256, _digest(weights)) != _digest(weights):
                raise ValueError("its checksum is wrong: the file is damaged")
            return weights, file.attrs.get(NETWORK)
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError, TypeError and more
        raise RunError(f"{path}: cannot be read as weights of this network ({error}); name another file.") from error


def _read_keras_file(path: Path) -> tuple[list[np.ndarray], str | None]:
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:  # zipfile, json and Keras raise many kinds
        reason = str(error).split("\n")[0]
        raise RunError(f"{path}: cannot be read as a Keras model ({reason}); name another file.") from error
    return model.get_weights(), model.name if model.name.startswith("srcnn_") else None


def _read_reference(path: Path) -> list[np.ndarray]:
    """Reads `w1 b1 w2 b2 w3 b3` of a TensorFlow 1 file, or of a later one of the reference's code."""
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
