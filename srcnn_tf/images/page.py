"""One image, or one page of a file with several, with its metadata."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Page:
    r"""One image with its metadata.

    Attributes:
        pixels: uint8 or uint16, full range; `(rows, cols)` is grey, `(rows, cols, 2)` grey and alpha, 3 RGB, 4 RGBA.
            Alpha is not premultiplied.
        icc_profile: ICC profile for grey or RGB, as the pixels are.
        exif: EXIF data without `Exif\0\0` in front; its orientation is normal, since it has been applied.
        dpi: pixels per inch, horizontal and vertical.
    """

    pixels: NDArray[np.uint8 | np.uint16]
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
