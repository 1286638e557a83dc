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
from srcnn_tf.images.page import Page, Pixels, RowStream, band_rows, without_opaque_alpha
from srcnn_tf.images.value_range import Setting, ValueRange, data_range, finite_values, fixed_range, range_of

ADVICE = "Allow more with --max_megapixels, or make it smaller."


class ImageReader:
    """Reads a file page by page: `with ImageReader(path, max_pixels) as pages: for page in pages: ...`.

    The content decides on the format, not the extension. Grey, grey and alpha, RGB and RGBA of `value_range.DTYPES`
    stay what they are; a palette becomes RGB or RGBA; 1 to 7 bits become 8, and 9 to 15 bits 16; CMYK becomes RGB. The
    EXIF orientation is applied. The frames of a DICOM file and the bands of a raster are pages, as those of a TIFF file
    are; of an animation, the first frame is read.

    The pixels of a TIFF page or of a band are rows that are decoded when they are sliced, which has to be before the
    next page is read or the file is closed; but if a TIFF page is CMYK, has alpha or another orientation than 1, they
    are an array, as for all other formats.

    Args:
        path: the file.
        max_pixels: largest size that a page may declare; all pages are checked before any is decoded.
        advice: what an error says to do about a larger one.

    Attributes:
        warnings: what was left out or changed. Iterating adds to it.
        kinds: shape and dtype that each page will have, known before any is decoded.
        images: the open file, for a writer that keeps what belongs to no page.

    Raises:
        RunError: on entering, iterating, or slicing the pixels; the file is no image, is damaged, too large, or of a
            kind that would be read wrongly.
    """

    def __init__(self, path: str | os.PathLike[str], max_pixels: int, advice: str = ADVICE) -> None:
        self._path, self._limits = path, (path, max_pixels, advice)
        self._rows: RowStream | None = None  # of the page that is being read
        self._array_page: Page | None = None  # the only page, if it was decoded to an array
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

    def value_ranges(self, setting: Setting = None) -> list[ValueRange]:
        """Returns which values of each page become 0 and 1.

        Those of 8 bits are all of their dtype's. Others are those that the file declares, or else the smallest and the
        largest one, of all pages that belong to one stack, in a pass over the whole file.

        Args:
            setting: that of `--value_range`.
        """
        ranges = [fixed_range(setting, kind.dtype) for kind in self.kinds]
        if None in ranges:
            for index, page in enumerate(self):
                ranges[index] = ranges[index] or page_range(page, setting, page.pixels)
        found = [values for values in ranges if values is not None]
        if len(found) == 1 or not self.images.is_stack or not all(values.is_of_data for values in found):
            return found
        low, high = min(values.low for values in found), max(values.high for values in found)
        limits = min(values.limits[0] for values in found), max(values.limits[1] for values in found)
        return [data_range(low, high, *limits)] * len(found)

    def __len__(self) -> int:
        """Returns the number of pages."""
        return len(self.kinds)

    def __iter__(self) -> Iterator[Page]:
        """Decodes and yields the pages one by one, so that only one is in memory."""
        pages = self.images.pages() if self._array_page is None else iter([self._array_page])
        while True:
            with library_errors(self._path):
                page = next(pages, None)
            if page is None:
                return
            if len(self) == 1 and not isinstance(page.pixels, RowStream):
                self._array_page = page  # which is in memory
            self._rows = page.pixels if isinstance(page.pixels, RowStream) else None
            yield page


def page_range(page: Page, setting: Setting, pixels: Pixels) -> ValueRange:
    """Returns which values of a page become 0 and 1, in one pass over its rows unless the setting says so.

    Args:
        page: says what it declares, and where it has data.
        setting: that of `--value_range`.
        pixels: those of the page.
    """
    fixed = fixed_range(setting, pixels.dtype)
    if fixed is not None:
        return fixed
    step = band_rows(pixels.shape, pixels.dtype)
    bands = (slice(begin, begin + step) for begin in range(0, pixels.shape[0], step))
    values = range_of(
        (finite_values(pixels[rows], None if page.mask is None else page.mask[rows]) for rows in bands), setting
    )
    values = values or data_range(0, 0)
    if setting is None and page.declared is not None and page.declared.is_filled(values.low, values.high):
        return page.declared
    return values


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
