"""Pictures as the channels that the network works on, and back. Nothing here needs TensorFlow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.floating]
NEUTRAL = 128 / 255  # Cb and Cr of a grey pixel


def to_luma(image: NDArray[np.uint8]) -> Floats:
    """Turns a picture into the reference's luma.

    That is 0.299 R + 0.587 G + 0.114 B, not rounded, of the picture after a round trip through 8-bit YCbCr.

    Args:
        image: uint8 `(rows, cols)` grey, which is used as it is, or `(rows, cols, 3)` RGB.

    Returns:
        float64 `(rows, cols, 1)` in [0, 1].
    """
    return (image if image.ndim == 2 else _luma(_ycbcr(image)))[..., np.newaxis] / 255.0


def to_channels(image: NDArray[np.uint8]) -> Floats:
    """Turns a picture into luma (see `to_luma`) and, if it has colour, the Cb and Cr of the 8-bit YCbCr picture.

    Args:
        image: uint8 `(rows, cols)` grey or `(rows, cols, 3)` RGB.

    Returns:
        float64 in [0, 1]: `(rows, cols, 1)` for grey, else `(rows, cols, 3)` Y, Cb, Cr.
    """
    if image.ndim == 2:
        return to_luma(image)
    ycbcr = _ycbcr(image)
    return np.dstack([_luma(ycbcr), np.asarray(ycbcr)[..., 1:]]) / 255.0


def _ycbcr(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).convert("YCbCr")


def _luma(ycbcr: Image.Image) -> Floats:
    return np.asarray(ycbcr.convert("RGB")) @ np.array([0.299, 0.587, 0.114])


def to_image(channels: Floats) -> NDArray[np.uint8]:
    """Turns `(rows, cols, 1)` grey or `(rows, cols, 3)` full-range YCbCr in [0, 1] into a uint8 grey or RGB picture."""
    if channels.shape[-1] == 1:
        return to_uint8(channels[..., 0])
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
