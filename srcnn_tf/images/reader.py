"""Reads images for upscaling, page by page, with all their bits, alpha and metadata."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tifffile import TiffPage

from srcnn_tf.errors import RunError
from srcnn_tf.images import tiff
from srcnn_tf.images.decode import decode, kind_of, open_file, open_image, orientation_of
from srcnn_tf.images.formats import Kind
from srcnn_tf.images.library_errors import library_errors
from srcnn_tf.images.metadata import image_metadata, tiff_metadata
from srcnn_tf.images.page import (
    Page,
    Pixels,
    RowStream,
    as_array,
    channels_of,
    matching_profile,
    oriented,
    without_opaque_alpha,
)

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

    Raises:
        RunError: on entering, iterating, or slicing the pixels; the file is no image, is damaged, too large, or of a
            kind that would be read wrongly.
    """

    def __init__(self, path: str | os.PathLike[str], max_pixels: int) -> None:
        self._path, self._limits = path, (path, max_pixels, ADVICE)
        self._rows: RowStream | None = None  # of the page that is being read
        self.warnings: list[str] = []
        self.kinds: list[Kind] = []

    def __enter__(self) -> Self:
        """Opens the file and checks the kind and size of each page."""
        with library_errors(self._path), contextlib.ExitStack() as stack:
            self._file = stack.enter_context(open_file(self._path, self.warnings))
            self._tiff_pages: list[TiffPage] = []
            if tiff.is_tiff(self._file):
                self._tiff_pages = stack.enter_context(tiff.open_tiff(self._file, *self._limits, self.warnings))
                self.kinds = [_upright(tiff.kind_of(page), tiff.orientation_of(page)) for page in self._tiff_pages]
            else:
                image = open_image(self._file, *self._limits)
                self.kinds = [_upright(kind_of(image, self._file), orientation_of(image))]
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
        return _upright_page(pixels, tiff.orientation_of(page), profile, tiff_metadata(page, warnings), warnings)

    def _read_image(self, warnings: list[str]) -> Page:
        image = open_image(self._file, *self._limits)
        pixels = decode(image, self._file, self._path, warnings)
        metadata = image_metadata(image, self._file, warnings)
        profile = metadata.pop("icc_profile")
        if image.mode == "CMYK":  # whose pixels are RGB now
            profile = None
        return _upright_page(pixels, orientation_of(image), profile, metadata, warnings)


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


def _upright(kind: Kind, orientation: int) -> Kind:
    (rows, cols), rest = kind.shape[:2], kind.shape[2:]
    return kind._replace(shape=(cols, rows, *rest)) if orientation >= 5 else kind


def _upright_page(
    pixels: Pixels, orientation: int, profile: bytes | None, metadata: dict[str, Any], warnings: list[str]
) -> Page:
    """Returns the upright page, with the profile if it fits the pixels."""
    if orientation > 1:
        pixels = oriented(as_array(pixels), orientation)
    if orientation >= 5:
        metadata |= {name: metadata[name][::-1] for name in ("dpi", "aspect") if metadata.get(name)}
    size = pixels.shape[0], pixels.shape[1]
    return Page(pixels, matching_profile(profile, channels_of(pixels), warnings), size=size, **metadata)
