"""Reads training and test images as uint8 arrays, and identifies sets of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.decode import open_file
from srcnn_tf.images.formats.registry import INPUT_EXTENSIONS, family_of
from srcnn_tf.images.library_errors import library_errors, quiet
from srcnn_tf.images.page import as_array

IMAGE_EXTENSIONS = INPUT_EXTENSIONS - {".gif"}  # of training and test images
MAX_PIXELS = 178_956_970  # Pillow's own limit
ADVICE = "Make it smaller, or remove it."


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Reads an image as it is meant to be seen: oriented by its EXIF data, palette applied, alpha dropped.

    Returns:
        uint8 `(rows, cols)` for a grey or 1-bit image, else RGB `(rows, cols, 3)`. 16 bits are rounded to 8. Of several
        frames or pages, the first.

    Raises:
        RunError: the file is no image, is damaged, too large, or of a kind that would be read wrongly.
    """
    with (
        library_errors(path),
        open_file(path, []) as file,
        family_of(file, path).open(file, path, MAX_PIXELS, ADVICE, []) as images,
    ):
        pixels = as_array(next(images.pages()).pixels)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16:
        return np.rint(pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def declared_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Returns the rows and columns that an image file declares, before orienting it; 0 and 0 if it cannot be read."""
    try:
        with quiet(), open_file(path, []) as file:
            return family_of(file, path).size(file, path)
    except Exception:  # `read_image` reports it
        return 0, 0


def fingerprint(paths: Iterable[Path], directory: str | os.PathLike[str]) -> str:
    """Returns a SHA-256 sum of the files' contents and of their names relative to `directory`."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # `read_image` reports it
            content = "unreadable"
        total.update(f"{content} ".encode() + os.fsencode(path.relative_to(directory).as_posix()) + b"\n")
    return total.hexdigest()
