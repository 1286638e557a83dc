"""The network's three layers, faster than Keras computes them, and with the same result.

On a processor, TensorFlow's convolutions are slow where there are few channels: the first layer has one channel of
input, and the last one a channel of output. Here the last layer, and of patches the first one too, are matrix products
of shifted images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf


def forward(weights: Sequence[tf.Tensor], images: tf.Tensor, compute_dtype: str = "float32") -> tf.Tensor:
    """Computes what a model of `model.build_model` with these weights does.

    Args:
        weights: kernels `(side, side, c_in, c_out)` and biases `(c_out,)` of the three layers, in turn, float32. The
            sides are odd, and known when a graph is made.
        images: float32 `(batch, rows, cols, c_dim)`.
        compute_dtype: dtype of the convolutions, `float32` or `bfloat16`; the last layer's sum is float32 always.

    Returns:
        float32 `(batch, rows - border, cols - border, c_dim)`.

    Raises:
        ValueError: these are not the weights of three layers that fit together.
    """
    shapes = [tuple(values.shape) for values in weights]
    widths = [shape[-1] for shape in shapes]
    if len(shapes) != 6 or [shape[2] for shape in shapes[::2]] != [images.shape[-1], widths[0], widths[2]]:
        raise ValueError(f"expected kernels and biases of three layers, found shapes {shapes} for {images.shape}")
    first, first_bias, second, second_bias, last, last_bias = weights
    dtype = tf.as_dtype(compute_dtype)
    features = relu_convolution(tf.cast(images, dtype), tf.cast(first, dtype), tf.cast(first_bias, dtype))
    mapped = relu_convolution(features, tf.cast(second, dtype), tf.cast(second_bias, dtype))
    restored = narrow_convolution(mapped, tf.cast(last, dtype))
    return tf.nn.bias_add(tf.cast(restored, tf.float32), last_bias)


def relu_convolution(images: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Convolves without padding, adds the bias, and applies ReLU, all of which TensorFlow fuses.

    Keras adds a reshaped bias instead of using `bias_add`, which is not fused: inference takes 25 % longer.

    Args:
        images: `(batch, rows, cols, c_in)`.
        kernel: `(side, side, c_in, c_out)`, of the same dtype.
        bias: `(c_out,)`, of the same dtype.

    Returns:
        `(batch, rows - side + 1, cols - side + 1, c_out)`.
    """
    side, _, c_in, c_out = kernel.shape
    batch, height, width = (images.shape[axis] or tf.shape(images)[axis] for axis in (0, 1, 2))
    is_small = images.shape[0] not in (None, 1) and c_in <= 3  # a batch of patches: their columns fit the cache
    if side > 1 and not is_small:
        return tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(images, kernel, 1, "VALID"), bias))
    columns = tf.reshape(images, [-1, c_in]) if side == 1 else shifted_columns(images, side)
    products = tf.matmul(columns, tf.reshape(kernel, [side * side * c_in, -1]), transpose_a=side > 1)
    features = tf.nn.relu(tf.nn.bias_add(products, bias))
    return tf.reshape(features, [batch, height - side + 1, width - side + 1, c_out])


def shifted_columns(images: tf.Tensor, side: int) -> tf.Tensor:
    """Returns what each tap of a filter sees: `(side * side * c_in, pixels)` of `(batch, rows, cols, c_in)` images.

    With few channels, a product with this matrix is faster than TensorFlow's convolution, and its gradient three times.
    """
    rows, cols = images.shape[1] - side + 1, images.shape[2] - side + 1
    taps = tf.transpose(images, [3, 0, 1, 2])
    taps = tf.stack([taps[..., col : col + cols] for col in range(side)])
    taps = tf.stack([taps[..., row : row + rows, :] for row in range(side)])
    return tf.reshape(taps, [side * side * images.shape[3], -1])


@tf.custom_gradient
def narrow_convolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Convolves images without padding, to very few channels.

    Libraries compute output channels 16 or so at a time, and waste the rest of them. Here one matrix product
    computes all filter taps of all pixels, and the taps are shifted and summed. Each tap has its pixels in sequence, so
    that what is shifted and summed is contiguous.

    Args:
        inputs: `(batch, rows, cols, c_in)`.
        kernel: `(side, side, c_in, c_out)`, of the same dtype.

    Returns:
        `(batch, rows - side + 1, cols - side + 1, c_out)`.
    """
    side, c_in, c_out = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    batch, height, width = (inputs.shape[axis] or tf.shape(inputs)[axis] for axis in (0, 1, 2))
    rows, cols, last = height - side + 1, width - side + 1, side - 1
    matrix = tf.reshape(tf.transpose(kernel, [0, 1, 3, 2]), [-1, c_in])
    flat = tf.reshape(inputs, [-1, c_in])
    taps = tf.reshape(tf.matmul(matrix, flat, transpose_b=True), [side, side, c_out, batch, height, width])
    # tf.slice, as an index with unknown ends makes ten nodes of a graph, which take longer than those to build.
    shape = tf.stack([1, side, c_out, batch, rows, width])
    summed = tf.add_n([tf.slice(taps, [row, 0, 0, 0, row, 0], shape) for row in range(side)])[0]
    shape = tf.stack([1, c_out, batch, rows, cols])
    summed = tf.add_n([tf.slice(summed, [col, 0, 0, 0, col], shape) for col in range(side)])[0]

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        shifted, none = tf.transpose(upstream, [3, 0, 1, 2]), [0, 0]
        shifted = tf.stack([tf.pad(shifted, [none, none, none, [col, last - col]]) for col in range(side)])
        shifted = tf.stack([tf.pad(shifted, [none, none, none, [row, last - row], none]) for row in range(side)])
        shifted = tf.reshape(shifted, [side * side * c_out, -1])
        by_inputs = tf.reshape(tf.matmul(shifted, matrix, transpose_a=True), tf.shape(inputs))
        by_kernel = tf.reshape(tf.matmul(shifted, flat), [side, side, c_out, c_in])
        return by_inputs, tf.transpose(by_kernel, [0, 1, 3, 2])

    return tf.transpose(summed, [1, 2, 3, 0]), gradient
