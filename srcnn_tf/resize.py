"""Making pictures smaller and larger, a product with a sparse matrix for the rows, and one for the columns."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from srcnn_tf.color import Floats

# Which input pixels make each output pixel, and with what weights, both `(new_size, taps)`, of `(size, new_size)`.
Taps = Callable[[int, int], tuple[NDArray[np.int64], NDArray[np.float64]]]


def zoom(image: Floats, factor: float) -> Floats:
    """Computes SciPy's `ndimage.zoom(image, factor, prefilter=False, mode="mirror")` on each channel, faster.

    Cubic splines without the prefilter smooth, even where the size stays.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)`.
        factor: how many times as large.

    Returns:
        `(round(factor * rows), round(factor * cols)[, channels])`, of the same dtype.
    """
    for axis in (0, 1):
        image = _resample(image, axis, round(factor * image.shape[axis]), _spline_taps)
    return image


def _spline_taps(size: int, new_size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Cubic B-splines; the first and the last pixels of both sizes coincide; mirrored beyond them."""
    places = np.arange(new_size) * ((size - 1) / max(new_size - 1, 1))
    first = np.floor(places).astype(np.int64)
    part = places - first
    weights = [(1 - part) ** 3, 4 - 6 * part**2 + 3 * part**3, 1 + 3 * (part + part**2 - part**3), part**3]
    period = max(2 * (size - 1), 1)
    taps = np.abs(first[:, np.newaxis] + np.arange(-1, 3)) % period
    return np.minimum(taps, period - taps), np.stack(weights, axis=1) / 6


def _resample(image: Floats, axis: int, new_size: int, taps: Taps) -> Floats:
    """Gives a picture another number of rows (axis 0) or columns (axis 1)."""
    lines = np.ascontiguousarray(image.swapaxes(0, axis))
    matrix = _matrix(len(lines), new_size, taps).astype(image.dtype, copy=False)
    found = matrix @ lines.reshape(len(lines), -1)
    return np.ascontiguousarray(found.reshape(new_size, *lines.shape[1:]).swapaxes(0, axis))


@lru_cache(maxsize=256)
def _matrix(size: int, new_size: int, taps: Taps) -> sparse.csr_array:
    """The `(new_size, size)` matrix from one to the other; pixels met again beyond the border add up."""
    places, weights = taps(size, new_size)
    rows = np.arange(new_size + 1) * places.shape[1]
    return sparse.csr_array((weights.ravel(), places.ravel(), rows), shape=(new_size, size))
