"""What image formats can hold, and which one holds an image that another cannot."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike
from PIL import features

# Pixels that are held in memory at once by default: of an image that is read, or of one that is encoded as a whole.
MAX_PIXELS = 200_000_000
# Pixels of a result that is encoded in bands, of which only a few are in memory: the disk and the time have to suffice.
MAX_PIXELS_IN_BANDS = 2_000_000_000


@dataclass(frozen=True)
class Format:
    """What an image format can hold.

    Attributes:
        name: for messages.
        max_side: rows or columns.
        max_pixels: the largest result by default, which depends on the memory that its encoder needs.
        alpha: whether it holds transparency.
        has_16_bits: whether it holds more than 8 bits.
        metadata: what it holds of `Page`.
        colors: what it holds of `Page.colors`.
    """

    name: str
    max_side: int
    max_pixels: int = MAX_PIXELS_IN_BANDS
    alpha: bool = True
    has_16_bits: bool = False
    metadata: tuple[str, ...] = ()
    colors: frozenset[bytes] = frozenset()


COLOR_CHUNKS = frozenset({b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI"})  # of PNG
EVERYWHERE = ("icc_profile", "exif", "xmp")
PNG_METADATA = (*EVERYWHERE, "dpi", "aspect", "texts")
PNG = Format("PNG", 1_000_000, has_16_bits=True, metadata=PNG_METADATA, colors=COLOR_CHUNKS)  # libpng's limit
JPEG = Format("JPEG", 65_500, alpha=False, metadata=(*EVERYWHERE, "dpi", "aspect", "texts", "iptc"))  # libjpeg's limit
WEBP = Format("WebP", 16_383, MAX_PIXELS, metadata=EVERYWHERE)
AVIF = Format("AVIF", 65_536, MAX_PIXELS, metadata=EVERYWHERE, colors=frozenset({b"cICP"}))
BMP = Format("BMP", 2**31 - 1, MAX_PIXELS, alpha=False, metadata=("dpi",))
TIFF = Format("TIFF", 2**31 - 1, has_16_bits=True, metadata=(*EVERYWHERE, "dpi", "aspect", "iptc"))
FORMATS = {
    **{".bmp": BMP, ".dib": BMP, ".png": PNG, ".apng": PNG, ".tif": TIFF, ".tiff": TIFF, ".webp": WEBP},
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), JPEG),
}
if features.check("avif"):
    FORMATS[".avif"] = AVIF
OUTPUT_EXTENSIONS = frozenset(FORMATS)


class Kind(NamedTuple):
    """What an image is like: the shape `(rows, cols[, channels])` and dtype of its pixels."""

    shape: tuple[int, ...]
    dtype: np.dtype


def problem_with(
    file_format: Format, shape: tuple[int, ...], dtype: DTypeLike, pages: int = 1, max_pixels: float = math.inf
) -> tuple[str, str] | None:
    """Says why a format cannot hold an image: what it holds instead, and extensions that do; None if it can."""
    if pages > 1 and file_format is not TIFF:
        return f"one page, and there are {pages}", ".tif"
    if np.dtype(dtype) == np.uint16 and not file_format.has_16_bits:
        return "8 bits, and the image has 16", ".png or .tif"
    if len(shape) == 3 and shape[2] in (2, 4) and not file_format.alpha:
        return "no transparency, and the image has it", ".png or .tif"
    if max(shape[:2]) > file_format.max_side:
        holding = ".tif" if file_format is PNG else ".png or .tif"
        return f"up to {file_format.max_side} rows and columns, and the image has {shape[0]} and {shape[1]}", holding
    if math.prod(shape[:2]) > max_pixels:
        return f"all pixels in memory, and the image has {math.prod(shape[:2]) / 1e6:,.1f} megapixels", ".png or .tif"
    return None


def holding_extension(extension: str, kinds: Sequence[Kind], has_limit: bool = True) -> tuple[str, str]:
    """Finds a format for pages of these kinds.

    Args:
        extension: of the format that is wanted.
        kinds: of the result's pages.
        has_limit: whether `Format.max_pixels` counts.

    Returns:
        The extension itself if its format holds them, else that of PNG or TIFF; and, then, the reason.
    """
    reasons: list[str] = []
    for name in (extension, ".png", ".tif"):
        held = FORMATS[name.lower()]
        limit = held.max_pixels if has_limit else math.inf
        problems = [problem_with(held, *kind, len(kinds), limit) for kind in kinds]
        if not any(problems):
            return name, reasons[0] if reasons else ""
        reasons += [f"{held.name} holds {problem[0]}" for problem in problems if problem]
    return extension, ""  # too large for each of them
