"""What a family of image formats is: how its files are recognized, read page by page, and written.

Each module in this folder that has an instance of `Family` named FAMILY is a family; `registry` finds it.
"""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, ClassVar, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from srcnn_tf.images.page import Page

# Pixels that are held in memory at once by default: of an image that is read, or of one that is encoded as a whole.
MAX_PIXELS = 200_000_000
# Pixels of a result that is encoded in bands, of which only a few are in memory: the disk and the time have to suffice.
MAX_PIXELS_IN_BANDS = 2_000_000_000


class Kind(NamedTuple):
    """What an image is like: the shape `(rows, cols[, channels])` and dtype of its pixels."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def upright(self, orientation: int) -> Kind:
        """Returns that of the upright image, of one stored with this EXIF orientation."""
        (rows, cols), rest = self.shape[:2], self.shape[2:]
        return self._replace(shape=(cols, rows, *rest)) if orientation >= 5 else self


@dataclass(frozen=True)
class Format:
    """What an image format can hold.

    Attributes:
        name: for messages.
        max_side: rows or columns.
        max_pixels: the largest result by default, which depends on the memory that its encoder needs.
        alpha: whether it holds transparency.
        dtypes: of the pixels.
        has_pages: whether it holds several images.
        metadata: what it holds of `Page`.
        colors: what it holds of `Page.colors`.
    """

    name: str
    max_side: int
    max_pixels: int = MAX_PIXELS_IN_BANDS
    alpha: bool = True
    dtypes: tuple[str, ...] = ("uint8",)
    has_pages: bool = False
    metadata: tuple[str, ...] = ()
    colors: frozenset[bytes] = frozenset()

    def problem_with(
        self, shape: tuple[int, ...], dtype: DTypeLike, pages: int = 1, max_pixels: float = math.inf
    ) -> tuple[str, str] | None:
        """Says why it cannot hold an image: what it holds instead, and extensions that do; None if it can."""
        dtype, deep = np.dtype(dtype), ".png or .tif"
        if pages > 1 and not self.has_pages:
            return f"one page, and there are {pages}", ".tif"
        if dtype.name not in self.dtypes:
            if dtype == np.uint16:
                return "8 bits, and the image has 16", deep
            return f"{' or '.join(self.dtypes)}, and the image has {dtype.name}", ".tif"
        if len(shape) == 3 and shape[2] in (2, 4) and not self.alpha:
            return "no transparency, and the image has it", deep
        if max(shape[:2]) > self.max_side:
            holding = ".tif" if self.max_side >= 1_000_000 else deep
            size = f"up to {self.max_side} rows and columns, and the image has {shape[0]} and {shape[1]}"
            return size, holding
        if math.prod(shape[:2]) > max_pixels:
            return f"all pixels in memory, and the image has {math.prod(shape[:2]) / 1e6:,.1f} megapixels", deep
        return None


class Images(ABC):
    """An open image file.

    Attributes:
        kinds: shape and dtype that each page will have, known before any is decoded.
        is_stack: whether all pages are of one thing, so that equal values mean the same.
        belongings: what the file has besides its pages, which only a writer of its own family keeps.
    """

    is_stack = True
    belongings = ""
    family: Family  # which opened it; set by `reader.ImageReader`
    kinds: list[Kind]

    @abstractmethod
    def pages(self) -> Iterator[Page]:
        """Decodes and yields the pages one by one; may be called again."""


class Writer(AbstractContextManager):
    """A file that is being written; leaving the context without an error completes it."""

    def __exit__(self, *error: object) -> None:
        """Completes the file; does nothing where it is complete after its last page."""

    @abstractmethod
    def write(self, page: Page, warnings: list[str]) -> None:
        """Writes a page. Rows that are computed when they are read are, once from top to bottom."""


class Family(ABC):
    """A family of image formats.

    Attributes:
        rank: which family is asked first whether a file is of it: the one with the lowest.
        extensions: of the files that it reads, in lower case.
        outputs: the formats that it writes, by extension. The first one is for files whose own extension is not there.
        needs_source: whether it only writes what is from a file of its own, whose metadata it keeps.
    """

    rank: ClassVar[int]
    extensions: frozenset[str]
    outputs: Mapping[str, Format] = MappingProxyType({})
    needs_source: ClassVar[bool] = False

    @abstractmethod
    def recognizes(self, file: BinaryIO, path: str | os.PathLike[str]) -> bool:
        """Tells whether a file is of this family, by its content."""

    @abstractmethod
    def size(self, file: BinaryIO, path: str | os.PathLike[str]) -> tuple[int, int]:
        """Returns the rows and columns that the first page declares, upright."""

    @abstractmethod
    def open(
        self, file: BinaryIO, path: str | os.PathLike[str], max_pixels: int, advice: str, warnings: list[str]
    ) -> AbstractContextManager[Images]:
        """Opens a file of this family and checks the kind and size of each page; decodes none.

        Args:
            file: the file.
            path: for libraries that open it themselves, and for messages.
            max_pixels: largest size that a page may declare.
            advice: what an error says to do about a larger one.
            warnings: gets what is left out or changed, now and when pages are decoded.

        Raises:
            RunError: a page is too large or of a kind that would be read wrongly.
            Exception: of many kinds; the file is damaged.
        """

    @abstractmethod
    def create(self, path: Path, extension: str, page_count: int, quality: int, source: Images | None) -> Writer:
        """Begins a file in one of `outputs`.

        Args:
            path: the file.
            extension: that says which format.
            page_count: number of pages.
            quality: 1 to 100, of formats that have one.
            source: the file that the pages are from, if it is of this family.
        """
