"""Reads images page by page without losing bit depth, alpha or metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Self

from srcnn_tf.images.page import Page
from srcnn_tf.images.photo import read_photo


class ImageReader:
    """Reads an image file page by page: `with ImageReader(path, max_pixels) as pages: for page in pages: ...`.

    Args:
        path: the file.
        max_pixels: largest number of pixels that a page may declare; checked before anything is decoded.
        advice: what to do about a larger one, the end of the error message.

    Attributes:
        warnings: what was left out or changed. Iterating may add to it.

    Raises:
        RunError: on entering or iterating; the file cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        max_pixels: int,
        advice: str = "Allow more with --max_megapixels, or make it smaller.",
    ) -> None:
        self._arguments = path, max_pixels, advice

    def __enter__(self) -> Self:
        """Opens the file and checks it."""
        self._pages, self.warnings = read_photo(*self._arguments)
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file."""

    def __len__(self) -> int:
        """Returns the number of pages."""
        return len(self._pages)

    def __iter__(self) -> Iterator[Page]:
        """Decodes and yields the pages one by one."""
        for photo in self._pages:
            yield Page(photo.pixels, photo.profile, photo.exif, photo.resolution)
