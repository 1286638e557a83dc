"""Reads images for upscaling, page by page, with all their bits, alpha and metadata."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Self

from tifffile import TiffPage

from srcnn_tf.images import tiff
from srcnn_tf.images.decode import decode, exif_orientation, open_file, open_image
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.metadata import image_dpi, jpeg_quality, tiff_metadata
from srcnn_tf.images.page import Dpi, Page, Pixels, RowStream, as_array, channels_of, matching_profile, oriented

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

    Raises:
        RunError: on entering, iterating, or slicing the pixels; the file is no image, is damaged, too large, or of a
            kind that would be read wrongly.
    """

    def __init__(self, path: str | os.PathLike[str], max_pixels: int) -> None:
        self._path, self._limits = path, (path, max_pixels, ADVICE)
        self._rows: RowStream | None = None  # of the page that is being read
        self.warnings: list[str] = []

    def __enter__(self) -> Self:
        """Opens the file and checks the kind and size of each page."""
        with library_errors(self._path), contextlib.ExitStack() as stack:
            self._file = stack.enter_context(open_file(self._path))
            self._tiff_pages: list[TiffPage] = []
            if tiff.is_tiff(self._file):
                self._tiff_pages = stack.enter_context(tiff.open_tiff(self._file, *self._limits, self.warnings))
            else:
                open_image(self._file, *self._limits)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file, and ends the threads that decode it."""
        if self._rows is not None:
            self._rows.close()
        self._stack.close()

    def __len__(self) -> int:
        """Returns the number of pages."""
        return len(self._tiff_pages) or 1

    def __iter__(self) -> Iterator[Page]:
        """Decodes and yields the pages one by one, so that only one is in memory."""
        pages: Sequence[TiffPage | None] = self._tiff_pages or [None]
        for tiff_page in pages:
            warnings: list[str] = []
            with library_errors(self._path):
                page = self._read_tiff(tiff_page, warnings) if tiff_page else self._read_image(warnings)
            prefix = f"page {tiff_page.index + 1}: " if tiff_page and len(self) > 1 else ""
            self.warnings += [prefix + warning for warning in warnings]
            self._rows = page.pixels if isinstance(page.pixels, RowStream) else None
            yield page

    def _read_tiff(self, page: TiffPage, warnings: list[str]) -> Page:
        pixels = tiff.decode_page(self._path, page, warnings)
        profile = None if page.photometric == tiff.CMYK else tiff.profile_of(page)
        return _page(pixels, tiff.orientation_of(page), profile, *tiff_metadata(page, warnings), warnings)

    def _read_image(self, warnings: list[str]) -> Page:
        image = open_image(self._file, *self._limits)
        pixels = decode(image, self._file, self._path, warnings)
        exif, dpi = image.info.get("exif"), image_dpi(image)
        profile = None
        if "icc_profile" in image.info and image.mode != "CMYK":  # whose pixels are RGB now
            profile = image.info["icc_profile"] or b""  # None if it is damaged
        page = _page(pixels, exif_orientation(exif), profile, exif, dpi, warnings)
        return replace(page, jpeg_quality=jpeg_quality(image, self._file))


def _page(
    pixels: Pixels, orientation: int, profile: bytes | None, exif: bytes | None, dpi: Dpi, warnings: list[str]
) -> Page:
    """Returns the upright page, with the profile if it fits the pixels."""
    if orientation > 1:
        pixels = oriented(as_array(pixels), orientation)
    if dpi and orientation >= 5:
        dpi = dpi[::-1]
    return Page(pixels, matching_profile(profile, channels_of(pixels), warnings), exif, dpi)
