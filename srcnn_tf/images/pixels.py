"""A photo: its pixels, and what belongs to them. What is done to pixels so that all formats give the same kinds."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from srcnn_tf.errors import RunError

BAND = 256  # rows that are worked on at once, so that what is needed beside a large picture stays small


@dataclass(frozen=True, eq=False)
class Photo:
    r"""One picture, or one page, with what belongs to it.

    Attributes:
        pixels: uint8 or uint16 over its whole range; `(rows, cols)` is grey, `(rows, cols, 2)` grey and alpha, 3 RGB,
            4 RGBA. Colour is not multiplied by alpha.
        profile: ICC profile, for RGB or grey as the pixels are.
        exif: EXIF block without `Exif\0\0`; its orientation is normal, as it has been applied.
        resolution: pixels per inch, horizontal and vertical.
    """

    pixels: NDArray[np.uint8 | np.uint16]
    profile: bytes | None = None
    exif: bytes | None = None
    resolution: tuple[float, float] | None = None


LONGEST = 200_000  # rows or columns; what resizes longer ones takes gigabytes, and there are no such pictures


def check_size(path: str | os.PathLike[str], most_pixels: int, advice: str, rows: int, cols: int) -> None:
    """Checks the size that a picture says it has, before anything of that size is made.

    Raises:
        RunError: it is larger than `most_pixels`, and the message ends with `advice`; or it has too long a side.
    """
    if rows * cols > most_pixels:
        raise RunError(
            f"{path}: says it has {cols} x {rows} pixels, that is {rows * cols / 1e6:,.1f} megapixels; at most "
            f"{most_pixels / 1e6:,.1f} are read. {advice}"
        )
    if max(rows, cols) > LONGEST:
        raise RunError(
            f"{path}: says it has {cols} x {rows} pixels; at most {LONGEST:,} rows and columns are read. Cut it into "
            "parts."
        )


def refusal(path: str | os.PathLike[str], kind: str) -> RunError:
    """The error for a picture that is sound, but of a kind that would be read wrongly."""
    return RunError(
        f"{path}: this kind of picture ({kind}) is not read; convert it to grey or RGB of 8 or 16 bits first."
    )


def turned(pixels: NDArray, orientation: int) -> NDArray:
    """The picture as it is meant to be seen, from the one stored with this EXIF orientation (1 to 8)."""
    if orientation in (5, 6, 7, 8):  # stored with rows and columns swapped
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def unmultiplied(pixels: NDArray[np.uint8 | np.uint16]) -> NDArray[np.uint8 | np.uint16]:
    """Divides colour by alpha, the last channel, which it was multiplied by; rounded, and black where alpha is 0."""
    most = np.iinfo(pixels.dtype).max
    result = pixels.copy()
    for begin in range(0, len(pixels), BAND):
        band = pixels[begin : begin + BAND].astype(np.uint32)  # 65535 x 65535 + 32767 still fits
        colour, alpha = band[..., :-1], band[..., -1:]
        divided = np.minimum((colour * most + alpha // 2) // np.maximum(alpha, 1), most)
        result[begin : begin + BAND, ..., :-1] = divided * (alpha > 0)
    return result


def rgb_of_cmyk(picture: Image.Image, profile: bytes | None) -> tuple[NDArray[np.uint8], list[str]]:
    """Converts CMYK to RGB: by its ICC profile to sRGB, or by the plain formula if it has none.

    Returns:
        uint8 `(rows, cols, 3)`, and what there is to say about it.
    """
    if profile is None:
        return np.asarray(picture.convert("RGB")), []
    try:
        converted = ImageCms.profileToProfile(
            picture,
            io.BytesIO(profile),
            ImageCms.createProfile("sRGB"),
            # What Adobe's programs do with photographs.
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError):
        return np.asarray(picture.convert("RGB")), ["its CMYK profile is damaged and not used"]
    return np.asarray(converted), []


def fitting(profile: bytes | None, channels: int) -> tuple[bytes | None, list[str]]:
    """The ICC profile if it is one for a picture of so many channels, and what there is to say if it is not."""
    if not profile:
        return None, []
    # ICC.1:2010, section 7.2: the colour space at 16, the signature at 36.
    wanted = b"GRAY" if channels < 3 else b"RGB "
    if len(profile) >= 128 and profile[36:40] == b"acsp" and profile[16:20] == wanted:
        return profile, []
    return None, ["its colour profile is damaged, or for pictures of another kind, and left out"]


def channels_of(pixels: NDArray) -> int:
    """1 for grey, 2 for grey and alpha, 3 for RGB, 4 for RGBA."""
    return 1 if pixels.ndim == 2 else pixels.shape[2]
