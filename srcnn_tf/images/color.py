"""Converts images to the channels that the network works on, and back.

Luma and chroma come in two ranges. The reference's is the full one of JPEG files, where white has the luma 255. The
paper's is MATLAB's `rgb2ycbcr`, the studio range of ITU-R BT.601, where it has 235. An image stored with one channel
is used as it is in training and testing, as in the paper's protocol; in upscaling, as equal R, G, B.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from srcnn_tf.spec import LUMA, ColorSpace

Floats = NDArray[np.floating]
NEUTRAL = 128 / 255  # Cb and Cr of a grey pixel
# Y, Cb and Cr of R, G and B in 0..255, times 255; the offsets are added after the division: the studio range of ITU-R
# BT.601, as in MATLAB's rgb2ycbcr.
STUDIO = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
STUDIO_OFFSET = np.array([16.0, 128.0, 128.0])
# JFIF's full-range form of ITU-R BT.601, likewise.
FULL_LUMA = np.array([0.299, 0.587, 0.114])
FULL = 255 * np.array([FULL_LUMA, [-0.299 / 1.772, -0.587 / 1.772, 0.5], [0.5, -0.587 / 1.402, -0.114 / 1.402]])
FULL_OFFSET = np.array([0.0, 128.0, 128.0])
LUMA_GAIN = 255 / 219  # what R, G and B change by, where studio-range luma changes by 1; full-range luma has 1


def to_luma(image: NDArray, space: ColorSpace = LUMA) -> Floats:
    """Converts an image to luma in [0, 1].

    The full-range one is the reference's: 0.299 R + 0.587 G + 0.114 B, not rounded, of the image after a round trip
    through 8-bit YCbCr. The studio-range one is MATLAB's, rounded to eight bits.

    Args:
        image: uint8 or, in [0, 1], float32 `(rows, cols)` grey, used as it is; or uint8 `(rows, cols, 3)` RGB.
        space: says whether in the studio range.

    Returns:
        float64 `(rows, cols, 1)` in [0, 1].
    """
    if image.dtype != np.uint8:
        return image.astype(np.float64)[..., np.newaxis]
    if image.ndim == 2:
        luma: Floats = image.astype(np.float64)
    elif space.studio:
        luma = _studio(image, STUDIO[:1])[..., 0]
    else:
        luma = _full_luma(_full_ycbcr(image))
    return luma[..., np.newaxis] / 255


def to_channels(image: NDArray, space: ColorSpace = LUMA) -> Floats:
    """Converts an image to all channels of a colour space: luma and, if it has colour, Cb and Cr; or R, G, B.

    Luma is that of `to_luma`; Cb and Cr are those of the 8-bit YCbCr image. A network of luma leaves them as they are.

    Args:
        image: uint8 or, in [0, 1], float32 `(rows, cols)` grey; or uint8 `(rows, cols, 3)` RGB.
        space: that of the network.

    Returns:
        float64 in [0, 1]: `(rows, cols, 1)` for grey, else `(rows, cols, 3)` Y, Cb, Cr, or R, G, B.
    """
    if image.ndim == 2:
        return to_luma(image)
    if space.channels == "rgb":
        return image / 255
    if space.studio:
        return _studio(image, STUDIO) / 255
    ycbcr = _full_ycbcr(image)
    return np.dstack([_full_luma(ycbcr), np.asarray(ycbcr)[..., 1:]]) / 255


def _studio(image: NDArray[np.uint8], rows: NDArray[np.float64]) -> Floats:
    """Computes MATLAB's `rgb2ycbcr`: as many of Y, Cb and Cr as `rows` has, rounded, in 0..255."""
    return np.floor(image @ (rows.T / 255) + STUDIO_OFFSET[: len(rows)] + 0.5)


def _full_ycbcr(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image).convert("YCbCr")


def _full_luma(ycbcr: Image.Image) -> Floats:
    return np.asarray(ycbcr.convert("RGB")) @ FULL_LUMA


def channels_to_luma(channels: Floats, space: ColorSpace = LUMA) -> Floats:
    """Computes the luma `(rows, cols)` of channels that `to_channels` returned for the same colour space."""
    if channels.shape[-1] == 1 or space.channels != "rgb":
        return channels[..., 0]
    return (channels @ STUDIO[0] + STUDIO_OFFSET[0]) / 255 if space.studio else channels @ FULL_LUMA


def channels_to_image(channels: Floats, space: ColorSpace = LUMA) -> NDArray[np.uint8]:
    """Converts channels to a uint8 grey or RGB image: the inverse of `to_channels` with the same colour space."""
    if channels.shape[-1] == 1:
        return to_uint8(channels[..., 0])
    return to_uint8(channels if space.channels == "rgb" else ycbcr_to_rgb(channels, space.studio))


def channel_matrices(space: ColorSpace, colors: int) -> tuple[NDArray, NDArray, NDArray]:
    """Returns the linear functions from an image's colours to a network's channels, and back, in [0, 1].

    Args:
        space: that of the network.
        colors: 1 for a grey image, 3 for R, G, B.

    Returns:
        float32 `to_channels (channels, colors)`, `offset (channels, 1)` and `to_colors (colors, channels)`. The
        channels are `to_channels @ colours + offset`, and `to_colors` says by how much the colours change with the
        channels. Grey has the luma of equal R, G, B: what was trained in the studio range has seen nothing below 16,
        and would lift black. Of networks of three channels, Y is taken, or the luma of R, G, B.
    """
    matrix, offset = (STUDIO, STUDIO_OFFSET) if space.studio else (FULL, FULL_OFFSET)
    matrix, offset, gain = matrix / 255, offset[:, np.newaxis] / 255, LUMA_GAIN if space.studio else 1
    if colors == 1:
        matrices = {
            "luma": (np.full((1, 1), 1 / gain), offset[:1], np.full((1, 1), gain)),
            "ycbcr": (np.eye(3, 1) / gain, offset, np.eye(1, 3) * gain),
            "rgb": (np.ones((3, 1)), np.zeros((3, 1)), FULL_LUMA[np.newaxis]),
        }
    else:
        matrices = {
            "luma": (matrix[:1], offset[:1], np.full((3, 1), gain)),
            "ycbcr": (matrix, offset, np.linalg.inv(matrix)),
            "rgb": (np.eye(3), np.zeros((3, 1)), np.eye(3)),
        }
    to_channels, offset, to_colors = (values.astype(np.float32) for values in matrices[space.channels])
    return to_channels, offset, to_colors


def luma_weights(studio: bool = False) -> tuple[NDArray[np.float64], float]:
    """Returns the weights of R, G and B in [0, 1] in luma, and the luma of black."""
    matrix, offset = (STUDIO, STUDIO_OFFSET) if studio else (FULL, FULL_OFFSET)
    return matrix[0] / 255, float(offset[0]) / 255


def rgb_to_ycbcr(image: Floats, studio: bool = False) -> Floats:
    """Converts `(rows, cols, 3)` R, G, B in [0, 1] to Y, Cb, Cr without rounding; of the same dtype."""
    matrix, offset = (STUDIO, STUDIO_OFFSET) if studio else (FULL, FULL_OFFSET)
    return image @ (matrix.T / 255).astype(image.dtype) + (offset / 255).astype(image.dtype)


def ycbcr_to_rgb(channels: Floats, studio: bool = False) -> Floats:
    """Converts `(rows, cols, 3)` Y, Cb, Cr in [0, 1] to R, G, B without clipping; of the same dtype."""
    matrix, offset = (STUDIO, STUDIO_OFFSET) if studio else (FULL, FULL_OFFSET)
    return (channels - (offset / 255).astype(channels.dtype)) @ np.linalg.inv(matrix / 255).T.astype(channels.dtype)


def to_three_channels(channels: Floats, space: ColorSpace) -> Floats:
    """Adds neutral Cb and Cr, or equal G and B, to `(rows, cols, 1)` grey in [0, 1]; keeps three channels."""
    if channels.shape[-1] == 3:
        return channels
    others = channels if space.channels == "rgb" else np.full_like(channels, NEUTRAL)
    return np.concatenate([channels, others, others], axis=-1)


def to_uint8(values: NDArray) -> NDArray[np.uint8]:
    """Converts values in [0, 1] to uint8: times 255, clipped, rounded half up as MATLAB does."""
    return to_integers(values, np.uint8)


def to_integers(values: NDArray, dtype: DTypeLike) -> NDArray[np.unsignedinteger]:
    """Converts values in [0, 1] to unsigned integers, 1 to the largest one: clipped, rounded half up."""
    return (np.clip(values, 0, 1) * np.iinfo(dtype).max + 0.5).astype(dtype)
