"""Degrades images: downscaled and upscaled again, as the reference or as the paper does it, with or without JPEG."""

from __future__ import annotations

from collections.abc import Callable

import imagecodecs
import numpy as np

from srcnn_tf.images.color import LUMA_GAIN, Floats, channels_to_image, luma_weights, rgb_to_ycbcr
from srcnn_tf.images.resize import imresize, zoom
from srcnn_tf.spec import ColorSpace, Compression

# The qualities that images are compressed with in training; chosen on validation images, see docs/experiments.md.
TRAINING_QUALITIES = {"jpeg": (40, 100), "jpeg90": (75, 100)}
CLEAN_SHARE = 0.05  # of the training images; they are not compressed


def degrade(
    label: Floats, scale: int = 3, degradation: str = "scipy", compress: Callable[[Floats], Floats] | None = None
) -> Floats:
    """Downscales an image and upscales it again.

    `scipy` zooms down and up as SciPy does (the reference's step 4): cubic splines without the prefilter, so that both
    zooms smooth. At some sizes (150 pixels at scale 3, for example) rounding puts samples slightly out of the image,
    and the reference's last rows or columns turn black or dark; here they are mirrored. Elsewhere both are equal.

    `matlab` is the paper's: bicubic as MATLAB's `imresize`, without rounding in between. So are `jpeg` and `jpeg90`,
    where `compress` compresses the small image.

    Args:
        label: `(rows, cols)` or `(rows, cols, channels)`, rows and cols multiples of `scale`.
        scale: factor of both steps.
        degradation: one of `spec.DEGRADATIONS`.
        compress: what is done to the small image, if anything.

    Returns:
        An array of the same shape and dtype.
    """
    resize = zoom if degradation == "scipy" else imresize
    small = resize(label, 1 / scale)
    return resize(small if compress is None else compress(small), scale)


def jpeg(channels: Floats, compression: Compression, space: ColorSpace, is_luma: bool = False) -> Floats:
    """Compresses an image as JPEG files are: 8 x 8 blocks, colour with one chroma pixel for 2 x 2 of luma.

    Args:
        channels: `(rows, cols, 1 or 3)` in [0, 1]: grey, or Y, Cb, Cr in the studio range, or R, G, B.
        compression: the quality, and where the blocks begin: the image is mirrored at its edges for that.
        space: what three channels are.
        is_luma: whether one channel is the luma of a colour image, in the studio range. It is compressed as JPEG files
            have it, in the full range.

    Returns:
        An array of the same shape, float64.
    """
    count, (_, black) = channels.shape[2], luma_weights(studio=True)
    above, left = compression.block_offset
    padded = np.pad(channels, ((above, 0), (left, 0), (0, 0)), mode="symmetric")
    if is_luma:
        padded = (padded - black) * LUMA_GAIN
    encoded = imagecodecs.jpeg8_encode(channels_to_image(padded, space), compression.quality, subsampling="420")
    decoded = imagecodecs.jpeg8_decode(encoded).reshape(*padded.shape[:2], count)[above:, left:] / 255
    if is_luma:
        return decoded / LUMA_GAIN + black
    return decoded if count == 1 or space.channels == "rgb" else rgb_to_ycbcr(decoded, studio=True)


def random_compression(degradation: str, rng: np.random.Generator) -> Compression | None:
    """Draws how a training image is compressed; None: not at all."""
    if degradation not in TRAINING_QUALITIES or rng.random() < CLEAN_SHARE:
        return None
    limits = TRAINING_QUALITIES[degradation], (0, 7), (0, 7)
    quality, row, col = (int(rng.integers(*each, endpoint=True)) for each in limits)
    return Compression(quality, (row, col))
