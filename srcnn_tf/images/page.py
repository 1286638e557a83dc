"""One image with its metadata, and the conversions that give images of all formats the same form."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from srcnn_tf.errors import RunError

MAX_SIDE = 200_000  # rows or columns; resizing longer ones takes gigabytes, and no real image has them
Dpi = tuple[float, float] | None  # pixels per inch, horizontal and vertical
BLOCK_ROWS = 256  # rows converted at once, to need little memory besides the image


@dataclass(frozen=True, eq=False)
class Page:
    """One image, or one page of a TIFF file, with its metadata.

    Attributes:
        pixels: uint8 or uint16, full range; `(rows, cols)` is grey, `(rows, cols, 2)` grey and alpha, 3 RGB, 4 RGBA.
            Colour is not premultiplied by alpha.
        icc_profile: for grey or RGB, as the pixels are.
        exif: as `PIL.Image.Exif.tobytes` returns it. Its orientation has been applied to the pixels already.
        dpi: pixels per inch, horizontal and vertical.
    """

    pixels: NDArray[np.uint8 | np.uint16]
    icc_profile: bytes | None = None
    exif: bytes | None = None
    dpi: Dpi = None


def channels_of(pixels: NDArray) -> int:
    """Returns 1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA."""
    return 1 if pixels.ndim == 2 else pixels.shape[2]


def check_size(path: str | os.PathLike[str], rows: int, cols: int, max_pixels: int, advice: str) -> None:
    """Raises a RunError if a file declares more pixels than allowed; called before anything is decoded."""
    if rows * cols > max_pixels:
        raise RunError(
            f"{path}: declares {cols} x {rows} pixels ({rows * cols / 1e6:,.1f} megapixels); at most "
            f"{max_pixels / 1e6:,.1f} megapixels are read. {advice}"
        )
    if max(rows, cols) > MAX_SIDE:
        raise RunError(
            f"{path}: declares {cols} x {rows} pixels; at most {MAX_SIDE:,} rows and columns are read. Cut it into "
            "parts."
        )


def unsupported(path: str | os.PathLike[str], kind: str) -> RunError:
    """Returns the error for an intact image of a kind that would be read wrongly."""
    return RunError(
        f"{path}: this kind of image ({kind}) is not supported; convert it to grey or RGB of 8 or 16 bits first."
    )


def oriented(pixels: NDArray, orientation: int) -> NDArray:
    """Returns the upright image, of the one stored with this EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):  # stored with rows and columns swapped
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def unpremultiplied(pixels: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8 | np.uint16]:
    """Divides colour by alpha, the last channel, and rounds it; colour is black where alpha is 0."""
    full = np.iinfo(pixels.dtype).max
    result = pixels.copy()
    for begin in range(0, len(pixels), BLOCK_ROWS):
        block = pixels[begin : begin + BLOCK_ROWS].astype(np.uint32)  # 65535 x 65535 + 32767 still fits
        color, alpha = block[..., :-1], block[..., -1:]
        divided = np.minimum((color * full + alpha // 2) // np.maximum(alpha, 1), full)
        result[begin : begin + BLOCK_ROWS, ..., :-1] = divided * (alpha > 0)
    return result


def cmyk_to_rgb(image: Image.Image, profile: bytes | None, warnings: list[str]) -> NDArray[np.uint8]:
    """Converts CMYK to sRGB by its ICC profile, or by the plain formula if it has none; uint8 `(rows, cols, 3)`."""
    if profile is None:
        return np.asarray(image.convert("RGB"))
    try:
        converted = ImageCms.profileToProfile(
            image,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            # The defaults of Adobe's programs for photographs.
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        warnings.append("its CMYK profile is damaged and not used")
        converted = image.convert("RGB")
    return np.asarray(converted)


def matching_profile(profile: bytes | None, channels: int, warnings: list[str]) -> bytes | None:
    """Returns the ICC profile if it is for images with so many channels."""
    if profile is None:
        return None
    # ICC.1:2010, section 7.2: the size, the colour space at byte 16, the signature at byte 36.
    complete = 128 <= int.from_bytes(profile[:4], "big") <= len(profile) and profile[36:40] == b"acsp"
    if complete and profile[16:20] == (b"GRAY" if channels < 3 else b"RGB "):
        return profile
    warnings.append("its colour profile is damaged or for another kind of image, and left out")
    return None
