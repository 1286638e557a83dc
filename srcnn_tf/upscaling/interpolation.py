"""Bicubic interpolation by a whole factor, phase by phase, and merged into a convolution.

SRCNN restores an image that bicubic interpolation has upscaled (Dong et al., TPAMI 2016, section 3.1). Interpolation
and the convolution of the first layer are both linear, and nothing is rounded between them. So together they are one
linear map from the small image to the features of the large one:

- Let s be the scale. The large pixel s*i + p, with phase p in 0..s-1, lies at u = i + (p + 0.5) / s - 0.5 of the small
  image, and bicubic interpolation makes it of the small pixels k with the weights keys(u - k), by Keys' kernel.
- The first layer weights the large pixels s*i + p + r around it, |r| <= f // 2, with a filter K of f rows. With the
  interpolation inserted, each phase has a filter of its own on the small image. In one dimension, let A[p, r, a] be the
  weight of the small pixel i + a in the large pixel s*i + p + r. In two, the filter of the phase (p, q) is
  G[p, q, a, b] = sum over r and c of A[p, r, a] A[q, c, b] K[r, c].
- So the features of all s*s phases are one convolution of the small image, with s*s times as many filters. For f = 9
  they have 8 x 8 taps at x2, 7 x 7 at x3 and 6 x 6 at x4, instead of 81. At even scales, phases are counted from the
  middle between two small pixels: then all of them have the same taps.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.resize import keys_kernel


class Merged(NamedTuple):
    """Bicubic interpolation and a convolution in one: for each phase, filters on the small image.

    Attributes:
        filters: float64 `(scale, scale, taps, taps, c_in, c_out)`; the first two axes are the phases.
        first_tap: rows, and columns, from a small pixel to the first one that its phases need; not above 0.
        shift: large pixels from the first one of a small pixel to phase 0.
    """

    filters: NDArray[np.float64]
    first_tap: int
    shift: int


def merge_interpolation(kernel: NDArray, scale: int) -> Merged:
    """Merges bicubic interpolation into the convolution after it.

    Args:
        kernel: of the convolution, `(side, side, c_in, c_out)`; its side is odd.
        scale: the upscaling factor.
    """
    shift = 0 if scale % 2 else scale // 2
    weights, first_tap = phase_weights(scale, shift, len(kernel))
    filters = np.einsum("pra,qcb,rcif->pqabif", weights, weights, kernel.astype(np.float64))
    return Merged(filters, first_tap, shift)


def phase_weights(scale: int, shift: int, size: int) -> tuple[NDArray[np.float64], int]:
    """Returns the bicubic weights of the large pixels around each phase.

    Args:
        scale: the upscaling factor.
        shift: large pixels from the first one of a small pixel to phase 0.
        size: number of large pixels, odd; phase p has those from `shift + p - size // 2` on.

    Returns:
        `(scale, size, taps)` weights of as many small pixels, and the offset of the first one from the phases' own.
    """
    large = shift + np.arange(scale)[:, np.newaxis] + np.arange(size) - size // 2
    position = (large + 0.5) / scale - 0.5
    small = np.arange(math.floor(position.min()) - 1, math.floor(position.max()) + 3)
    weights = keys_kernel(position[..., np.newaxis] - small)
    used = np.flatnonzero(np.abs(weights).max(axis=(0, 1)) > 1e-12)
    return weights[..., used[0] : used[-1] + 1], int(small[used[0]])


def interpolation_matrix(scale: int, size: int) -> tuple[NDArray[np.float32], int]:
    """Returns the matrix that interpolates a row, or a column, of small pixels.

    Returns:
        float32 `(scale * size, size + taps - 1)`, and the offset of its first small pixel from that of the first large
        one. For fewer pixels, its upper left corner is the matrix.
    """
    weights, first_tap = phase_weights(scale, 0, 1)
    matrix = np.zeros((scale * size, size + weights.shape[2] - 1), np.float32)
    for tap in range(weights.shape[2]):
        matrix += np.kron(np.eye(*(size, matrix.shape[1]), tap), weights[:, :, tap])
    return matrix, first_tap


def mirrored(begin: int, end: int, size: int) -> NDArray[np.int64]:
    """Returns the indices from `begin` to before `end`, mirrored into an image of `size` pixels."""
    index = np.arange(begin, end) % (2 * size)
    return np.minimum(index, 2 * size - 1 - index)
