"""Picture files for training and testing: eight bits of each, and telling whether they are the same ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from srcnn_tf.images.photo import FORMATS, read_photo
from srcnn_tf.images.quiet import Quiet

ENDINGS = frozenset(FORMATS)
MOST_PIXELS = 178_956_970  # Pillow's own limit


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Reads a picture as it is meant to be seen: turned as its EXIF data says, palette applied, opaque.

    Returns:
        uint8 array in 0..255: `(rows, cols)` for a grey (or 1-bit) picture, else RGB `(rows, cols, 3)`. Sixteen bits
        are rounded to eight. Of an animated picture the first frame, of several pages the first.

    Raises:
        RunError: the file is not a picture, is damaged, or is of a kind that would be read wrongly.
    """
    pages, _ = read_photo(path, MOST_PIXELS, "Make it smaller, or remove it.")
    pixels = next(iter(pages)).pixels
    if pixels.ndim == 3:  # without alpha
        pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
    if pixels.dtype == np.uint16:
        return np.rint(pixels / 257).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def declared_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """The rows and columns that a picture file says it has, before any turning; 0 and 0 if it cannot be read."""
    try:
        if not Path(path).is_file():  # opening a pipe would wait for ever
            return 0, 0
        with Quiet(), Image.open(path) as picture:
            cols, rows = picture.size
            return rows, cols
    except Exception:  # see read_image, which names it
        return 0, 0


def fingerprint(paths: Iterable[Path], directory: str | os.PathLike[str]) -> str:
    """SHA-256 of the names below `directory` and of the contents of the files: the same pictures, the same text."""
    total = hashlib.sha256()
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:  # a link to nowhere, say: named when it is to be read as a picture
            content = "unreadable"
        total.update(f"{content} ".encode() + os.fsencode(path.relative_to(directory)) + b"\n")
    return total.hexdigest()
