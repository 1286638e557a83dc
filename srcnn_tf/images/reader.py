"""Reads images for upscaling, page by page, with all their bits, alpha and metadata."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Self

from srcnn_tf.errors import RunError
from srcnn_tf.images.decode import open_file
from srcnn_tf.images.formats.interface import Images, Kind
from srcnn_tf.images.formats.registry import family_of
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.page import Page, RowStream, without_opaque_alpha

ADVICE = "Allow more with --max_megapixels, or make it smaller."


class ImageReader:
    """Reads a file page by page: `with ImageReader(path, max_pixels) as pages: for page in pages: ...`.

    The content decides on the format, not the extension. Grey, grey and alpha, RGB and RGBA of 8 or 16 bits stay what
    they are; a palette becomes RGB or RGBA; 1 to 7 bits become 8, and 9 to 15 bits 16; CMYK becomes RGB. The EXIF
    orientation is applied. Only TIFF files have several pages; of an animation, the first frame is read.

    The pixels of a TIFF page are rows that are decoded when they are sliced, which has to be before the next page is
    read or the file is closed; but if it is CMYK, has alpha or another orientation than 1, they are an array, as for
    all other formats.

    Args:
        path: the file.
        max_pixels: largest size that a page may declare; all pages are checked before any is decoded.

    Attributes:
        warnings: what was left out or changed. Iterating adds to it.
        kinds: shape and dtype that each page will have, known before any is decoded.
        images: the open file, for a writer that keeps what belongs to no page.

    Raises:
        RunError: on entering, iterating, or slicing the pixels; the file is no image, is damaged, too large, or of a
            kind that would be read wrongly.
    """

    def __init__(self, path: str | os.PathLike[str], max_pixels: int) -> None:
        self._path, self._limits = path, (path, max_pixels, ADVICE)
        self._rows: RowStream | None = None  # of the page that is being read
        self.images: Images
        self.warnings: list[str] = []
        self.kinds: list[Kind] = []

    def __enter__(self) -> Self:
        """Opens the file and checks the kind and size of each page."""
        with library_errors(self._path), contextlib.ExitStack() as stack:
            file = stack.enter_context(open_file(self._path, self.warnings))
            family = family_of(file, self._path)
            self.images = stack.enter_context(family.open(file, *self._limits, self.warnings))
            self.images.family = family
            self.kinds = self.images.kinds
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file, and ends the threads that decode it."""
        if self._rows is not None:
            self._rows.close()
        self._stack.close()

    def __len__(self) -> int:
        """Returns the number of pages."""
        return len(self.kinds)

    def __iter__(self) -> Iterator[Page]:
        """Decodes and yields the pages one by one, so that only one is in memory."""
        pages = self.images.pages()
        while True:
            with library_errors(self._path):
                page = next(pages, None)
            if page is None:
                return
            self._rows = page.pixels if isinstance(page.pixels, RowStream) else None
            yield page


def page_kinds(path: str | os.PathLike[str], max_pixels: int, without_alpha: bool) -> list[Kind]:
    """Returns what the pages of a file are like; an empty list if it cannot be read.

    Args:
        path: the file.
        max_pixels: see `ImageReader`.
        without_alpha: whether alpha only counts where it is not opaque throughout, for which it has to be decoded.
    """
    try:
        with ImageReader(path, max_pixels) as reader:
            if not without_alpha or not any(len(kind.shape) == 3 and kind.shape[2] in (2, 4) for kind in reader.kinds):
                return reader.kinds
            pages = (without_opaque_alpha(page.pixels) for page in reader)
            return [Kind(pixels.shape, pixels.dtype) for pixels in pages]
    except (RunError, MemoryError):  # reported when it is upscaled
        return []
