"""Writes images page by page without losing bit depth, alpha or metadata."""

from __future__ import annotations

import os
from typing import Self

from numpy.typing import DTypeLike

from srcnn_tf.config import Config
from srcnn_tf.images.page import Page
from srcnn_tf.images.photo import check_format, write_photo
from srcnn_tf.images.pixels import Photo


class ImageWriter:
    """Writes an image file in the format of its extension: `with ImageWriter(path) as writer: writer.write(page)`.

    The file appears when the context is left without an error; otherwise nothing is left behind.

    Args:
        path: the file.
        page_count: number of pages; more than one for TIFF only.
        quality: of JPEG and WebP, 1 to 100. The other formats are lossless.

    Attributes:
        warnings: what the format cannot hold and was left out.

    Raises:
        RunError: the format cannot hold the image, or the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], page_count: int = 1, quality: int = Config.quality) -> None:
        self._path, self._page_count, self._quality = path, page_count, quality
        self._pages: list[Photo] = []
        self.warnings: list[str] = []

    def check(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        """Raises a RunError if the format cannot hold such an image, before it is computed in vain."""
        check_format(self._path, shape, dtype, self._page_count)

    def write(self, page: Page) -> None:
        """Writes one page."""
        self.check(page.pixels.shape, page.pixels.dtype)
        self._pages.append(Photo(page.pixels, page.icc_profile, page.exif, page.dpi))

    def __enter__(self) -> Self:
        """Returns the writer."""
        return self

    def __exit__(self, kind: object, *error: object) -> None:
        """Completes the file."""
        if kind is None:
            self.warnings += write_photo(self._pages, self._path, self._quality)
