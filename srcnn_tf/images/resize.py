"""Resizes images like MATLAB and SciPy: one product with a sparse matrix for the rows, one for the columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from srcnn_tf.images.color import Floats
from srcnn_tf.images.page import Pixels, as_array

if TYPE_CHECKING:
    from scipy import sparse

BAND_ROWS = 128  # in smaller bands, rows that two of them need are copied more often
Scale = float | Fraction  # a fraction gives the exact size: `Fraction(new, old)`
# Which input pixels make each output pixel, and with what weights, both `(new size, taps)`, of a size and a scale.
Taps = Callable[[int, Scale], tuple[NDArray[np.int64], NDArray[np.float64]]]


def imresize(image: NDArray, scale: Scale | tuple[Scale, Scale]) -> NDArray:
    """Resizes an image like `imresize` of the MATLAB behind the super-resolution papers.

    Keys' bicubic kernel with a = -1/2, as many times wider as the image gets smaller (antialiasing). Beyond the
    borders the edge pixels are repeated; later versions of MATLAB mirror there. Rows first, then columns.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)`.
        scale: how many times as large, or how many times as many rows and columns.

    Returns:
        `(ceil(scale * rows), ceil(scale * cols)[, channels])`, of the same dtype. Unsigned integers are rounded,
        halves up, and clipped after rows and after columns; floats are neither rounded nor clipped.
    """
    by_rows = scale[0] if isinstance(scale, tuple) else scale
    return imresize_rows(image, scale, 0, math.ceil(by_rows * image.shape[0]))


def imresize_rows(
    image: Pixels,
    scale: Scale | tuple[Scale, Scale],
    begin: int,
    end: int,
    convert: Callable[[NDArray], NDArray] = lambda rows: rows,
    margin: int = 0,
) -> NDArray:
    """Computes the rows from `begin` to before `end` of `imresize(image, scale)`, and no others on the way.

    Args:
        image: see `imresize`.
        scale: how many times as large, or how many times as many rows and columns.
        begin: the first row wanted.
        end: the one after the last.
        convert: done to the rows of `image` that are needed, before they are resized: to floats, say, which take too
            much memory for the whole of a large image.
        margin: rows and columns at each side of `image` that only count as what is beyond the edges.

    Returns:
        `(end - begin, ceil(scale * cols)[, channels])`, of the dtype that `convert` gives.
    """
    by_rows, by_cols = scale if isinstance(scale, tuple) else (scale, scale)
    rows, cols = (size - 2 * margin for size in image.shape[:2])
    matrix = _matrix(rows, by_rows, _keys_taps, margin)[begin:end]
    low, high = int(matrix.indices.min()), int(matrix.indices.max()) + 1
    tall = _product(matrix[:, low:high], convert(image[low:high]))
    wide = _product(_matrix(cols, by_cols, _keys_taps, margin), tall.swapaxes(0, 1))
    return np.ascontiguousarray(wide.swapaxes(0, 1))


def resized_bands(image: Pixels, rows: int, cols: int, margin: int = 0) -> Iterator[NDArray]:
    """Resizes an image to a size like `imresize`, in bands of rows that are computed when they are needed.

    Args:
        image: see `imresize`.
        rows: of the result.
        cols: of the result.
        margin: see `imresize_rows`.
    """
    scale = Fraction(rows, image.shape[0] - 2 * margin), Fraction(cols, image.shape[1] - 2 * margin)
    for begin in range(0, rows, BAND_ROWS):
        yield imresize_rows(image, scale, begin, min(begin + BAND_ROWS, rows), margin=margin)


def wrapped(image: Pixels, margin: int) -> NDArray:
    """Returns an image with a margin at each side, in which it repeats itself as a tile of a texture does."""
    return np.pad(as_array(image), [(margin, margin)] * 2 + [(0, 0)] * (len(image.shape) - 2), mode="wrap")


def nearest(size: int, new_size: int) -> NDArray[np.int64]:
    """Returns which of `size` pixels lies nearest to each of `new_size` pixels of the resized image."""
    return (2 * np.arange(new_size) + 1) * size // (2 * new_size)


def zoom(image: Floats, factor: float) -> Floats:
    """Computes SciPy's `ndimage.zoom(image, factor, prefilter=False, mode="mirror")` on each channel, faster.

    Cubic splines without the prefilter smooth, even where the size stays.

    Args:
        image: `(rows, cols)` or `(rows, cols, channels)`.
        factor: how many times as large.

    Returns:
        `(round(factor * rows), round(factor * cols)[, channels])`, of the same dtype.
    """
    tall = _product(_matrix(image.shape[0], factor, _spline_taps), image)
    wide = _product(_matrix(image.shape[1], factor, _spline_taps), tall.swapaxes(0, 1))
    return np.ascontiguousarray(wide.swapaxes(0, 1))


def keys_kernel(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes Keys' bicubic kernel with a = -1/2 (IEEE ASSP 29, 1981), of signed distances in pixels."""
    distance = np.abs(distance)
    inner = (1.5 * distance - 2.5) * distance**2 + 1
    outer = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance <= 1, inner, np.where(distance <= 2, outer, 0))


def _keys_taps(size: int, scale: Scale) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Computes MATLAB's `contributions`: Keys' kernel, each pixel's weights summing to 1; also of pixels beyond."""
    new_size, scale = math.ceil(scale * size), float(scale)
    kernel_scale = min(scale, 1.0)
    width = 4 / kernel_scale
    center = np.arange(1, new_size + 1) / scale + 0.5 * (1 - 1 / scale)  # counted from 1, as there
    indices = np.floor(center - width / 2)[:, np.newaxis] + np.arange(math.ceil(width) + 2)
    distance = kernel_scale * (center[:, np.newaxis] - indices)
    weights = keys_kernel(distance)
    weights /= weights.sum(axis=1, keepdims=True)
    return indices.astype(np.int64) - 1, weights


def _spline_taps(size: int, scale: Scale) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Samples cubic B-splines; the first and last pixels of both sizes coincide; mirrored beyond them."""
    new_size = round(scale * size)
    positions = np.arange(new_size) * ((size - 1) / max(new_size - 1, 1))
    first = np.floor(positions).astype(np.int64)
    part = positions - first
    weights = [(1 - part) ** 3, 4 - 6 * part**2 + 3 * part**3, 1 + 3 * (part + part**2 - part**3), part**3]
    period = max(2 * (size - 1), 1)
    taps = np.abs(first[:, np.newaxis] + np.arange(-1, 3)) % period
    return np.minimum(taps, period - taps), np.stack(weights, axis=1) / 6


@lru_cache(maxsize=256)
def _matrix(size: int, scale: Scale, taps: Taps, margin: int = 0) -> sparse.csr_array:
    """Returns the matrix from `size` pixels, and a margin at each end, to the new ones.

    Beyond the margins, edge pixels are repeated; the weights of one pixel add up.
    """
    from scipy import sparse  # takes 0.1 s, which upscaling by a whole factor does not need

    indices, weights = taps(size, scale)
    indices = np.clip(indices + margin, 0, size + 2 * margin - 1)
    rows = np.arange(len(indices) + 1) * indices.shape[1]
    return sparse.csr_array((weights.ravel(), indices.ravel(), rows), shape=(len(indices), size + 2 * margin))


def _product(matrix: sparse.csr_array, image: NDArray) -> NDArray:
    """Returns the product of a matrix and an image's rows, in the image's dtype."""
    floats = image if image.dtype.kind == "f" else image.astype(np.float64)
    lines = np.ascontiguousarray(floats).reshape(len(image), -1)
    product = matrix.astype(floats.dtype, copy=False) @ lines
    if image.dtype.kind == "u":
        product = np.clip(np.floor(product + 0.5), 0, np.iinfo(image.dtype).max)
    return product.reshape(matrix.shape[0], *image.shape[1:]).astype(image.dtype, copy=False)


def fill_nearest(values: NDArray, is_missing: NDArray[np.bool_], reach: float = math.inf) -> NDArray:
    """Gives missing pixels the values of the nearest one that is there, up to so many pixels away.

    Args:
        values: `(rows, cols)` or `(rows, cols, channels)`.
        is_missing: `(rows, cols)`. If all are missing, nothing is done.
        reach: the largest distance.

    Returns:
        The values themselves, if nothing is done; else a changed copy.
    """
    if not is_missing.any() or is_missing.all():
        return values
    from scipy import ndimage  # takes 0.15 s, which most images do not need

    distance, (rows, cols) = ndimage.distance_transform_edt(is_missing, return_indices=True)
    is_filled = is_missing & (distance <= reach)
    filled = values.copy()
    filled[is_filled] = values[rows[is_filled], cols[is_filled]]
    return filled
