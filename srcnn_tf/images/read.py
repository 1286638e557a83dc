"""Reads training and test images as arrays, and identifies sets of them."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.color import to_uint8
from srcnn_tf.images.decode import open_file
from srcnn_tf.images.formats.dicom import is_unnamed_dicom
from srcnn_tf.images.formats.interface import MAX_PIXELS
from srcnn_tf.images.formats.registry import INPUT_EXTENSIONS, family_of
from srcnn_tf.images.library_errors import quiet
from srcnn_tf.images.page import as_array
from srcnn_tf.images.reader import ImageReader, page_range
from srcnn_tf.images.resize import fill_nearest
from srcnn_tf.images.value_range import Setting, dtype_range

IMAGE_EXTENSIONS = INPUT_EXTENSIONS  # of training and test images, too
ADVICE = "Make it smaller, or remove it."


def read_image(path: str | os.PathLike[str], value_range: Setting = None) -> NDArray[np.uint8 | np.float32]:
    """Reads an image as it is meant to be seen: oriented by its EXIF data, palette applied, alpha dropped.

    Args:
        path: the file.
        value_range: see `value_range.fixed_range`; of measured data.

    Returns:
        uint8 `(rows, cols)` for a grey or 1-bit image, else RGB `(rows, cols, 3)`, of which 16 bits are rounded to 8;
        scaled by the range of their values before, if they fill less than a quarter of the 16 bits.
        Of grey with more than 8 bits, or in floats: float32 in [0, 1], scaled by the range of its values and clipped;
        where there are no data, the nearest ones. Of several frames or pages, the first.

    Raises:
        RunError: the file is no image, is damaged, too large, or of a kind that would be read wrongly.
    """
    with ImageReader(path, MAX_PIXELS, ADVICE) as reader:
        page = next(iter(reader))
        pixels = as_array(page.pixels)
        if pixels.ndim == 3:
            pixels = pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels)
        mask = None if page.mask is None else as_array(page.mask)  # rows can be read once only
        is_photograph = pixels.ndim == 3 and pixels.dtype == np.uint16
        declared = page.declared or (dtype_range(pixels.dtype) if is_photograph else None)
        values = page_range(replace(page, mask=mask, declared=declared), value_range, pixels)
        scaled = values.scale(pixels).clip(0, 1)
        has_data = np.isfinite(scaled) if mask is None else mask & np.isfinite(scaled)
    if scaled.ndim == 3:
        return to_uint8(scaled)
    return fill_nearest(scaled, ~has_data) if has_data.any() else np.zeros_like(scaled)


def declared_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Returns the rows and columns that an image file declares, upright; 0 and 0 if it cannot be read."""
    try:
        with quiet(), open_file(path, []) as file:
            return family_of(file, path).size(file, path)
    except Exception:  # `read_image` reports it
        return 0, 0


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its name; DICOM files, which often have no extension, by their content."""
    return path.suffix.lower() in IMAGE_EXTENSIONS or is_unnamed_dicom(path)


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
