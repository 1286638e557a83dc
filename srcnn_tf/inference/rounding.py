"""Converts the network to bfloat16 with the least error in the restored image."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import DTypeLike, NDArray

from srcnn_tf.images.color import Floats
from srcnn_tf.model import LAYERS, srcnn

SIDE = 80  # of the synthetic image: it has more windows of 8 x 8 features than the 1,601 numbers of a 5 x 5 x 64 filter
# Images have almost no energy in the highest frequencies, and without this the errors would all go there.
RIDGE = 1e-3


def bfloat16_model(model: keras.Model) -> keras.Model:
    """Copies a float32 model of `model.srcnn` into one that computes all layers but the last in bfloat16."""
    weights = round_weights(model.get_weights(), tf.bfloat16.as_numpy_dtype)
    weights[0] = np.concatenate([weights[0], weights[0]], axis=2)  # for the high and the low part of the input
    layers = [model.get_layer(name) for name in LAYERS]
    copy = srcnn(
        [layer.kernel_size[0] for layer in layers],
        model.input_shape[-1],
        [layer.filters for layer in layers[:2]],
        name=model.name,
        compute_dtype="bfloat16",
        split_input=True,
    )
    copy.set_weights(weights)
    return copy


def round_weights(weights: Sequence[NDArray], dtype: DTypeLike) -> list[NDArray]:
    """Rounds the kernels and biases of all layers but the last to values that `dtype` holds.

    Rounded to the nearest each, the errors of a kernel would add up where the image is smooth. So values are rounded
    one after the other, and each error is compensated by those that follow, weighted by the second moments of the
    layer's inputs for a synthetic image with the spectrum of photographs (Frantar et al., GPTQ, arXiv 2210.17323,
    section 3).

    Args:
        weights: kernel `(side, side, c_in, c_out)` and bias `(c_out,)` of each layer, float32.
        dtype: a floating-point type of fewer bits, such as bfloat16.

    Returns:
        As many float32 arrays of the same shapes.
    """
    results = list(weights)
    features = _synthetic_image(SIDE, weights[0].shape[2])
    for layer in range(0, len(weights) - 2, 2):
        kernel, bias = weights[layer : layer + 2]
        windows = np.moveaxis(sliding_window_view(features, kernel.shape[:2], axis=(0, 1)), 2, -1)
        rows, cols = windows.shape[:2]
        inputs = windows.reshape(rows * cols, -1)
        inputs = np.concatenate([inputs, np.ones((len(inputs), 1), np.float32)], axis=1)  # a 1 for the bias
        matrix = np.concatenate([kernel.reshape(-1, len(bias)), bias[np.newaxis]])
        matrix = _round_rows(matrix, inputs.T @ inputs / len(inputs), dtype)
        results[layer : layer + 2] = matrix[:-1].reshape(kernel.shape), matrix[-1]
        features = np.maximum(inputs @ matrix, 0).reshape(rows, cols, len(bias))
    return results


def _synthetic_image(side: int, channels: int) -> NDArray[np.float32]:
    """Returns noise `(side, side, channels)` in [0, 1] whose spectrum falls as that of photographs (Field 1987)."""
    noise = np.fft.fft2(np.random.default_rng(0).standard_normal((channels, side, side)))
    frequency = np.hypot(np.fft.fftfreq(side)[:, np.newaxis], np.fft.fftfreq(side))
    frequency[0, 0] = 1  # the mean, which the next lines set
    image = np.fft.ifft2(noise / frequency**1.2).real
    low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
    return np.moveaxis((image - low) / (high - low), 0, -1).astype(np.float32)


def _round_rows(matrix: NDArray[np.float32], moments: Floats, dtype: DTypeLike) -> NDArray[np.float32]:
    """Rounds `(inputs, outputs)` row by row; each error is compensated in the rows below, where it matters least."""
    size = len(moments)
    ridge = RIDGE * np.trace(moments) / size
    inverse = np.linalg.inv(moments.astype(np.float64) + ridge * np.eye(size))
    factor = np.linalg.cholesky(inverse).T
    remaining, results = matrix.astype(np.float64), np.empty_like(matrix)
    for row in range(size):
        results[row] = remaining[row].astype(dtype)
        error = (remaining[row] - results[row]) / factor[row, row]
        remaining[row + 1 :] -= np.outer(factor[row, row + 1 :], error)
    return results
