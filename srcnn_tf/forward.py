"""The network's forward pass in the forms that are fastest on a processor; the same function as the Keras model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def forward(weights: Sequence[Any], images: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Restores float32 images as a model of `model.srcnn` with these weights does.

    Args:
        weights: kernel and bias of each layer, in the model's order; tensors or variables.
        images: `(batch, rows, cols, c_dim)`, rows and cols known.
        dtype: what the convolutions reckon in.

    Returns:
        float32 `(batch, rows - border, cols - border, c_dim)`; the products before the last sum are in `dtype`.
    """
    features = tf.cast(images, dtype)
    *pairs, (last_kernel, last_bias) = zip(weights[::2], weights[1::2], strict=True)
    for kernel, bias in pairs:
        features = _convolved(features, tf.cast(kernel, dtype), bias)
    return tf.cast(convolve_to_few(features, tf.cast(last_kernel, dtype)), tf.float32) + last_bias


def forward_precisely(weights: Sequence[Any], image: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Does what `forward` does for one picture of any size that is looked at: in `dtype` only where it does not show.

    In bfloat16, most of the error is from rounding the input: what that takes away is the first layer's second channel,
    which costs little as such processors multiply pairs. Next are the kernels, which `rounding.rounded` rounds best.
    The last layer is in float32, as its output is the picture.

    Args:
        weights: see `forward`.
        image: `(1, rows, cols, c_dim)`.
        dtype: what the convolutions but the last reckon in.

    Returns:
        float32 `(1, rows - border, cols - border, c_dim)`.
    """
    *pairs, (last_kernel, last_bias) = zip(weights[::2], weights[1::2], strict=True)
    features = image
    for layer, (kernel, bias) in enumerate(pairs):
        kernel = tf.cast(kernel, dtype)
        if layer == 0 and dtype != tf.float32:
            seen = tf.cast(image, dtype)
            features = tf.concat([seen, tf.cast(image - tf.cast(seen, tf.float32), dtype)], axis=3)
            kernel = tf.concat([kernel, kernel], axis=2)
        features = _convolved(features, kernel, bias)
    return _last_layer(tf.cast(features, tf.float32)[0], tf.convert_to_tensor(last_kernel))[tf.newaxis] + last_bias


def _convolved(features: tf.Tensor, kernel: tf.Tensor, bias: Any) -> tf.Tensor:
    return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(features, kernel, 1, "VALID"), tf.cast(bias, features.dtype)))


def _last_layer(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """What `convolve_to_few` does, without a gradient and faster: of one large `(rows, cols, c_in)`.

    A matrix product for each row of the filter, whose results have the picture's pixels beside each other.
    """
    side, c_in, c_out = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    width = tf.shape(features)[1]
    rows, cols = tf.shape(features)[0] - side + 1, width - side + 1
    matrices = tf.reshape(tf.transpose(kernel, [0, 1, 3, 2]), [side, side * c_out, c_in])
    flat = [tf.reshape(features[row : row + rows], [-1, c_in]) for row in range(side)]
    products = tf.add_n([tf.matmul(matrices[row], flat[row], transpose_b=True) for row in range(side)])
    taps = tf.reshape(products, [side, c_out, rows, width])
    return tf.transpose(tf.add_n([taps[col, :, :, col : col + cols] for col in range(side)]), [1, 2, 0])


def convolve_to_few(features: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolution without padding to very few channels: one matrix product for all filter taps, shifted and summed.

    Libraries compute output channels in blocks of 16 or so, and waste the rest of the block; with one channel, this is
    2 to 3 times as fast, and so is its gradient.

    Args:
        features: `(batch, rows, cols, c_in)`; a gradient needs rows and cols known.
        kernel: `(side, side, c_in, c_out)`.

    Returns:
        `(batch, rows - side + 1, cols - side + 1, c_out)`.
    """
    side, c_in, c_out = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    height, width = (features.shape[axis] or tf.shape(features)[axis] for axis in (1, 2))
    rows, cols = height - side + 1, width - side + 1
    taps = [(row, col) for row in range(side) for col in range(side)]

    @tf.custom_gradient
    def run(features: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        matrix = tf.reshape(tf.transpose(kernel, [2, 0, 1, 3]), [c_in, len(taps) * c_out])
        flat = tf.reshape(features, [-1, c_in])
        products = tf.reshape(flat @ matrix, [-1, height, width, len(taps), c_out])
        result = tf.add_n([products[:, row : row + rows, col : col + cols, tap] for tap, (row, col) in enumerate(taps)])

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shifted = tf.reshape(_shifted(upstream, taps, side), [-1, len(taps) * c_out])
            by_features = tf.reshape(tf.matmul(shifted, matrix, transpose_b=True), tf.shape(features))
            by_kernel = tf.reshape(tf.matmul(flat, shifted, transpose_a=True), [c_in, side, side, c_out])
            return by_features, tf.transpose(by_kernel, [1, 2, 0, 3])

        return result, gradient

    return run(features, kernel)


def _shifted(upstream: tf.Tensor, taps: list[tuple[int, int]], side: int) -> tf.Tensor:
    """Each channel shifted to where each tap read it: `(batch, rows + side - 1, cols + side - 1, taps * c_out)`.

    A convolution with filters of a single 1 each, which is faster than slices beside each other.
    """
    c_out = upstream.shape[3]
    ones = np.zeros((side, side, c_out, len(taps), c_out), np.float32)
    for tap, (row, col) in enumerate(taps):
        for channel in range(c_out):
            ones[side - 1 - row, side - 1 - col, channel, tap, channel] = 1
    filters = tf.constant(ones.reshape(side, side, c_out, -1), upstream.dtype)
    around = [side - 1, side - 1]
    return tf.nn.conv2d(tf.pad(upstream, [[0, 0], around, around, [0, 0]]), filters, 1, "VALID")
