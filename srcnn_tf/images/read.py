"""Reads training and test images as uint8 arrays, and identifies sets of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images import tiff
from srcnn_tf.images.decode import decode, open_file, open_image, orientation_of
from srcnn_tf.images.library_errors import library_errors, quiet
from srcnn_tf.images.page import as_array, oriented

# Also those whose library may be missing: the error then names it.
IMAGE_EXTENSIONS = frozenset(
    {".bmp", ".dib", ".gif", ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".tif", ".tiff", ".webp"}
    | {".avif", ".heic", ".heif", ".hif"}
)
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
    with library_errors(path), open_file(path, []) as file:
        if tiff.is_tiff(file):
            with tiff.open_tiff(file, path, MAX_PIXELS, ADVICE, []) as pages:
                pixels, orientation = as_array(tiff.decode_page(path, pages[0], [])), tiff.orientation_of(pages[0])
        else:
            with open_image(file, path, MAX_PIXELS, ADVICE) as image:
                pixels, orientation = decode(image, file, path, []), orientation_of(image)
    pixels = oriented(pixels, orientation)
    if pixels.ndim == 3:
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16:
        return np.rint(pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def declared_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Returns the rows and columns that an image file declares, before orienting it; 0 and 0 if it cannot be read."""
    try:
        with quiet(), open_file(path, []) as file:
            if tiff.is_tiff(file):
                return tiff.first_page_size(file)
            with open_image(file, path, sys.maxsize, "") as image:
                return image.height, image.width
    except Exception:  # `read_image` reports it
        return 0, 0


def fingerprint(paths: Iterable[Path], directory: str | os.PathLike[str]) -> str:
    """Returns a SHA-256 sum of the files' contents and of their names relative to `directory`."""
    total = hashlib.sha256()
    for path in paths:
        content = "unreadable"  # `read_image` reports it
        if path.is_file():  # opening a pipe would wait forever
            with contextlib.suppress(OSError), open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{content} ".encode() + os.fsencode(path.relative_to(directory).as_posix()) + b"\n")
    return total.hexdigest()
