"""A network's kernels in fewer bits, so chosen that what it makes of pictures changes least."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

SIDE = 80  # of the drawn picture: more windows of 8 x 8 features than the 1,601 numbers a filter of 5 x 5 x 64 has
# Pictures have almost nothing in the highest frequencies, and without this the errors would all go there.
RIDGE = 1e-3


def rounded(weights: Sequence[NDArray], dtype: DTypeLike) -> list[NDArray]:
    """Rounds the kernels and biases of all layers but the last to what `dtype` can hold.

    To the nearest number each, they would move the whole picture: a kernel's errors add up where the picture is smooth.
    So they are rounded one after the other, and the error of each is made good by those that follow, by what the
    layer's inputs have in common: the second moments of what a drawn picture, with the spectrum of photographs, gives
    it (Frantar et al., GPTQ, arXiv 2210.17323, section 3).

    Args:
        weights: kernel `(side, side, c_in, c_out)` and bias `(c_out,)` of each layer, float32.
        dtype: a floating-point type of fewer bits, such as bfloat16.

    Returns:
        As many float32 arrays of the same shapes.
    """
    results = list(weights)
    features = _drawn(SIDE, weights[0].shape[2])
    for layer in range(0, len(weights) - 2, 2):
        kernel, bias = weights[layer : layer + 2]
        inputs, shape = _inputs(features, kernel.shape[0])
        matrix = np.concatenate([kernel.reshape(-1, len(bias)), bias[np.newaxis]])
        matrix = _rounded_in_turn(matrix, inputs.T @ inputs / len(inputs), dtype)
        results[layer : layer + 2] = matrix[:-1].reshape(kernel.shape), matrix[-1]
        features = np.maximum(inputs @ matrix, 0).reshape(*shape, len(bias))
    return results


def _drawn(side: int, channels: int) -> NDArray[np.float32]:
    """Noise `(side, side, channels)` in [0, 1] whose spectrum falls as that of photographs does (Field 1987)."""
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((channels, side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.fftfreq(side))
    frequency[0, 0] = 1  # the mean: what follows sets it
    picture = np.fft.ifft2(noise / frequency**1.2).real
    low, high = picture.min(axis=(1, 2), keepdims=True), picture.max(axis=(1, 2), keepdims=True)
    return np.moveaxis((picture - low) / (high - low), 0, -1).astype(np.float32)


def _inputs(features: NDArray[np.float32], side: int) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """What each filter is multiplied by at each place, and a 1 for the bias; and how many rows and cols of places."""
    windows = np.moveaxis(sliding_window_view(features, (side, side), axis=(0, 1)), 2, -1)
    rows, cols = windows.shape[:2]
    flat = windows.reshape(rows * cols, -1)
    return np.concatenate([flat, np.ones((len(flat), 1), np.float32)], axis=1), (rows, cols)


def _rounded_in_turn(
    matrix: NDArray[np.float32], moments: NDArray[np.float32], dtype: DTypeLike
) -> NDArray[np.float32]:
    """Rounds row after row of `(inputs, outputs)`; each error is taken to the rows below, where it does least."""
    size = len(moments)
    ridge = RIDGE * np.trace(moments) / size
    inverse = np.linalg.inv(moments.astype(np.float64) + ridge * np.eye(size))
    spread = np.linalg.cholesky(inverse).T
    left, results = matrix.astype(np.float64), np.empty_like(matrix)
    for row in range(size):
        results[row] = left[row].astype(dtype)
        error = (left[row] - results[row]) / spread[row, row]
        left[row + 1 :] -= np.outer(spread[row, row + 1 :], error)
    return results
