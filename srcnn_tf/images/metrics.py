"""Computes PSNR and SSIM as super-resolution papers do: on 8-bit luma, `scale` pixels shaved from each side."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from srcnn_tf.images.color import Floats, channels_to_luma, to_uint8
from srcnn_tf.spec import ColorSpace

SSIM_WINDOW = 11  # pixels: a Gaussian of sigma 1.5 cut at 3.5 sigma (Wang et al., 2004)


class Score(NamedTuple):
    """PSNR in dB (infinite for equal images) and SSIM (1 for equal images)."""

    psnr: float
    ssim: float


def psnr(image: NDArray, original: NDArray) -> float:
    """Returns the PSNR in dB of two arrays of one shape with values in 0..255; `inf` if they are equal."""
    error = np.mean((image.astype(np.float64) - original.astype(np.float64)) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(255.0**2 / error))


def ssim(image: NDArray, original: NDArray) -> float:
    """Returns the mean structural similarity of `(rows, cols)` values in 0..255, set as by MATLAB and Wang et al."""
    return float(
        structural_similarity(
            image, original, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def score(image: NDArray, original: NDArray, scale: int) -> Score:
    """Scores an image against the original one under the project's protocol.

    Args:
        image: luma `(rows, cols)` in 0..255, uint8; of measured data, floats.
        original: luma of the same shape.
        scale: pixels to shave from each side.

    Raises:
        ValueError: fewer than 11 rows or columns are left after shaving, too few for SSIM's window.
    """
    if min(original.shape) - 2 * scale < SSIM_WINDOW:
        raise ValueError(
            f"{original.shape[0]} x {original.shape[1]} pixels are too few: SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW} "
            f"after {scale} are shaved from each side"
        )
    shaved = (slice(scale, -scale), slice(scale, -scale))
    return Score(psnr(image[shaved], original[shaved]), ssim(image[shaved], original[shaved]))


def score_channels(image: Floats, original: Floats, scale: int, space: ColorSpace, is_measured: bool = False) -> Score:
    """Scores the luma of channels against that of the original ones, both as `color.to_channels` returns them.

    Args:
        image: `(rows, cols, channels)` in [0, 1].
        original: likewise.
        scale: pixels to shave from each side.
        space: what the channels are.
        is_measured: whether they are measured data, which are not rounded to 8 bits: PSNR is in dB of their range.

    Raises:
        ValueError: the image is too small, see `score`.
    """
    lumas = (channels_to_luma(channels, space) for channels in (image, original))
    luma, truth = (255 * values.clip(0, 1) if is_measured else to_uint8(values) for values in lumas)
    return score(luma, truth, scale)
