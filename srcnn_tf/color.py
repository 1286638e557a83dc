"""Pictures as the channels that the network works on, and back. Nothing here needs TensorFlow.

Luma and chroma come in two ranges. The reference's is the full one of JPEG files, where white has the luma 255. The
paper's is MATLAB's `rgb2ycbcr`, the studio range of ITU-R BT.601, where it has 235.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]
NEUTRAL = 128 / 255  # Cb and Cr of a grey pixel
# Y, Cb and Cr of R, G and B in 0..255, times 255; the offsets are to be added after the division (PAPER, protocol 1).
STUDIO = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
STUDIO_OFFSET = np.array([16.0, 128.0, 128.0])


def to_luma(image: NDArray[np.uint8], studio: bool = False) -> Floats:
    """Turns a picture into luma.

    The full-range one is the reference's: 0.299 R + 0.587 G + 0.114 B, not rounded, of the picture after a round trip
    through 8-bit YCbCr. The studio-range one is MATLAB's, rounded to eight bits.

    Args:
        image: uint8 `(rows, cols)` grey, which is used as it is, or `(rows, cols, 3)` RGB.
        studio: the studio range, else the full one.

    Returns:
        float64 `(rows, cols, 1)` in [0, 1].
    """
    if image.ndim == 2:
        luma = image.astype(np.float64)
    elif studio:
        luma = _studio(image, STUDIO[:1])[..., 0]
    else:
        luma = _full_luma(_full_ycbcr(image))
    return luma[..., np.newaxis] / 255


def to_channels(image: NDArray[np.uint8], studio: bool = False) -> Floats:
    """Turns a picture into luma (see `to_luma`) and, if it has colour, the Cb and Cr of the 8-bit YCbCr picture.

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.
        studio: the studio range, else the full one.

    Returns:
        float64 in [0, 1]: `(rows, cols, 1)` for grey, else `(rows, cols, 3)` Y, Cb, Cr.
    """
    if image.ndim == 2:
        return to_luma(image)
    if studio:
        return _studio(image, STUDIO) / 255
    ycbcr = _full_ycbcr(image)
    return np.dstack([_full_luma(ycbcr), np.asarray(ycbcr)[..., 1:]]) / 255


def _studio(image: NDArray[np.uint8], rows: NDArray[np.float64]) -> Floats:
    """MATLAB's `rgb2ycbcr`: as many of Y, Cb and Cr as `rows` has, rounded, in 0..255."""
    return np.floor(image @ (rows.T / 255) + STUDIO_OFFSET[: len(rows)] + 0.5)


def _full_ycbcr(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).convert("YCbCr")


def _full_luma(ycbcr: Image.Image) -> Floats:
    return np.asarray(ycbcr.convert("RGB")) @ np.array([0.299, 0.587, 0.114])


def to_image(channels: Floats, studio: bool = False) -> NDArray[np.uint8]:
    """Turns `(rows, cols, 1)` grey or `(rows, cols, 3)` YCbCr in [0, 1] into a uint8 grey or RGB picture."""
    if channels.shape[-1] == 1:
        return to_uint8(channels[..., 0])
    if studio:
        return to_uint8((channels - STUDIO_OFFSET / 255) @ np.linalg.inv(STUDIO / 255).T)
    luma, blue, red = channels[..., 0], channels[..., 1] - NEUTRAL, channels[..., 2] - NEUTRAL
    # JFIF's full-range form of ITU-R BT.601.
    rgb = [luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue]
    return to_uint8(np.dstack(rgb))


def with_chroma(channels: Floats) -> Floats:
    """Gives `(rows, cols, 1)` grey in [0, 1] neutral Cb and Cr; `(rows, cols, 3)` is returned as it is."""
    if channels.shape[-1] == 3:
        return channels
    neutral = np.full_like(channels, NEUTRAL)
    return np.concatenate([channels, neutral, neutral], axis=-1)


def to_uint8(values: Floats) -> NDArray[np.uint8]:
    """Turns values in [0, 1] into uint8: times 255, clipped, rounded half up as MATLAB does."""
    return (np.clip(values, 0, 1) * 255 + 0.5).astype(np.uint8)
