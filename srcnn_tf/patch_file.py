"""Training patches: extracted from an image, and the file that holds those of all images."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from srcnn_tf.config import Config
from srcnn_tf.errors import RunError
from srcnn_tf.images.color import Floats
from srcnn_tf.images.read import declared_size

FORMAT = 5  # of train.h5: increase it when other values are written for the same images
CHUNK = 64  # patches per HDF5 chunk of train.h5: 0.3 MB of 33 x 33 float32


def extract_patches(degraded: Floats, original: Floats, config: Config) -> tuple[Floats, Floats]:
    """Extracts the training patches of an image, row by row (the reference's step 5).

    Args:
        degraded: `(rows, cols, c_dim)`, see `preprocess`.
        original: likewise.
        config: gives the sizes of the patches and their stride.

    Returns:
        float32 `(n, image_size, image_size, c_dim)` degraded patches and `(n, label_size, label_size, c_dim)` labels,
        which are their centres in the original.

    Raises:
        ValueError: the image is smaller than one patch.
    """
    rows, cols = original.shape[:2]
    if min(rows, cols) < config.image_size:
        raise ValueError(
            f"{rows} x {cols} pixels are smaller than one patch of {config.image_size} x {config.image_size}; "
            "it cannot be used for training"
        )
    margin = config.network.border // 2
    inner = original[margin : rows - margin, margin : cols - margin]
    # float32 before the extraction: patches overlap, and hold several times as many numbers.
    data, label = (
        np.lib.stride_tricks.sliding_window_view(channels.astype(np.float32), (size, size), axis=(0, 1))[
            :: config.stride, :: config.stride
        ]
        for channels, size in ((degraded, config.image_size), (inner, config.label_size))
    )
    data, label = np.moveaxis(data, 2, -1), np.moveaxis(label, 2, -1)
    return data.reshape(-1, *data.shape[2:]), label.reshape(-1, *label.shape[2:])


def train_file(config: Config) -> Path:
    """Returns the path of the training file."""
    return Path(config.checkpoint_dir, "train.h5")


def patch_bytes(config: Config) -> int:
    """Returns the bytes that one patch and its label take in memory and in the training file."""
    return 4 * config.c_dim * (config.image_size**2 + config.label_size**2)


def describe_source(config: Config, data_hash: str) -> str:
    """Describes what a training file is made from, for its attribute `source`."""
    fields = ("image_size", "label_size", "stride", "scale", "c_dim", "color_space", "degradation", "value_range")
    return json.dumps({"format": FORMAT, "data": data_hash} | {name: getattr(config, name) for name in fields})


def is_up_to_date(path: Path, source: str) -> bool:
    """Says whether a training file is whole, and made from what `describe_source` describes."""
    try:
        with h5py.File(path, "r") as file:
            count = file["patches_per_image"][()].sum()
            list(file["warnings"].asstr()[()])  # raises an error if it is damaged
            return file.attrs["source"] == source and len(file["data"]) == len(file["label"]) == count
    except Exception:  # absent or truncated; a damaged file raises many types
        return False


def check_disk_space(path: Path, images: Sequence[Path], config: Config) -> tuple[int, int]:
    """Compares the size of the patches, from the sizes that the images declare, with the free disk space.

    Returns:
        Bytes of the patches of the largest image, and of all images.
    """
    sizes = [0]
    for image in images:
        last = [side - side % config.scale - config.image_size for side in declared_size(image)]
        sizes.append(math.prod(max(0, side // config.stride + 1) for side in last) * patch_bytes(config))
    total, free = sum(sizes), shutil.disk_usage(path.parent).free
    if total > free:
        raise RunError(
            f"{path}: the patches of {len(images)} images take {total / 1e9:.3g} GB, but only {free / 1e9:.3g} GB are "
            "free. Free some disk space, name another --checkpoint_dir, or give a larger --stride."
        )
    return max(sizes), total


@contextlib.contextmanager
def open_data(path: str | os.PathLike[str]) -> Iterator[h5py.File]:
    """Opens a training file for reading.

    Raises:
        RunError: the file is absent or damaged; also when that is noticed while it is read.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (RunError, MemoryError):
        raise
    except Exception as error:  # a damaged file raises OSError, KeyError, ValueError and more
        raise RunError(
            f"{path}: cannot be read ({error}). Delete it, and the same command creates it again."
        ) from error
