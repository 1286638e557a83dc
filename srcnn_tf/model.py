"""The network of Dong et al. (TPAMI 2016, section 3.1): the single Keras model that trains, tests and upscales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from srcnn_tf.config import Config

LAYERS = ("patch_extraction", "nonlinear_mapping", "reconstruction")
INITIALIZATIONS = {
    # The paper's section 3.3 and the reference: N(0, 0.001) everywhere.
    "gaussian": ("gaussian", "gaussian", "gaussian"),
    # Layers before a ReLU by He et al. (2015); the last one small, so that training starts near 0.
    "he": ("he", "he", "gaussian"),
}


def srcnn(
    filter_sizes: Sequence[int] = (9, 1, 5),
    c_dim: int = 1,
    filters: Sequence[int] = (64, 32),
    initialization: str = "gaussian",
    seed: int = 0,
    name: str = "srcnn",
    compute_dtype: str = "float32",
) -> keras.Model:
    """Builds SRCNN as a functional Keras model: three convolutions without padding.

    Args:
        filter_sizes: side of each layer's filters, in pixels.
        c_dim: channels of the image, in and out.
        filters: number of filters in the first two layers.
        initialization: a key of `INITIALIZATIONS`.
        seed: seed of the random weights.
        name: name of the model.
        compute_dtype: dtype of the convolutions, `float32` or `bfloat16`; the weights and the output are float32.

    Returns:
        A model from `(batch, rows, cols, c_dim)` to `(batch, rows - border, cols - border, c_dim)`, float32, values
        about [0, 1], with `border = sum(size - 1 for size in filter_sizes)`. The default has
        9*9*64 + 64  +  64*32 + 32  +  5*5*32 + 1  =  8129 parameters.
    """
    policy = "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"
    initializers = [_initializer(kind, seed + number) for number, kind in enumerate(INITIALIZATIONS[initialization])]
    image = keras.Input((None, None, c_dim), name="degraded")
    features = image
    for number in (0, 1):
        features = FusedConv2D(
            filters[number],
            filter_sizes[number],
            activation="relu",
            kernel_initializer=initializers[number],
            dtype=policy,
            name=LAYERS[number],
        )(features)
    output = NarrowConv2D(
        c_dim,
        filter_sizes[2],
        kernel_initializer=initializers[2],
        dtype="float32",
        autocast=False,  # its products are in the dtype of the features, which training gains by
        name=LAYERS[2],
    )(features)
    return keras.Model(image, output, name=name)


def _initializer(kind: str, seed: int) -> keras.initializers.Initializer:
    if kind == "he":
        return keras.initializers.HeNormal(seed)
    return keras.initializers.RandomNormal(stddev=1e-3, seed=seed)


def build_model(config: Config, initialization: str = "gaussian", compute_dtype: str = "float32") -> keras.Model:
    """Builds the network that a configuration describes, with random weights; see `srcnn`."""
    return srcnn(
        config.filter_sizes,
        config.c_dim,
        config.filter_counts,
        initialization=initialization,
        seed=config.seed,
        name=config.network_name,
        compute_dtype=compute_dtype,
    )


def border(model: keras.Model) -> int:
    """Returns how many rows, and columns, the model's output is smaller than its input."""
    return sum(model.get_layer(layer).kernel_size[0] - 1 for layer in LAYERS)


def plain_keras(model: keras.Model) -> keras.Model:
    """Copies a model into standard Keras layers in float32, so that it loads where this package is absent."""

    def plain(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, keras.layers.Conv2D):
            return keras.layers.Conv2D.from_config(layer.get_config() | {"dtype": "float32"})
        return layer

    copy = keras.models.clone_model(model, clone_function=plain)
    copy.set_weights(model.get_weights())
    return copy


class FusedConv2D(keras.layers.Conv2D):
    """`Conv2D` with its bias added by `bias_add`: TensorFlow fuses that and the ReLU into the convolution.

    Keras adds a reshaped bias instead, with which inference takes 25 % longer.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the activation of the convolution plus the bias."""
        return self.activation(tf.nn.bias_add(self.convolution_op(inputs, self.kernel), self.bias))


class NarrowConv2D(keras.layers.Conv2D):
    """A convolution without padding to very few channels, 2 to 3 times as fast as `Conv2D` on a processor.

    Libraries compute output channels in blocks of 16 or so, and waste the rest of the block. Here one matrix product
    computes all filter taps of all pixels, and the taps are shifted and summed. The result and its gradient are those
    of `Conv2D`. With `autocast=False` the products are in the dtype of the inputs; the bias is added in float32.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolves `(batch, rows, cols, c_in)` with a kernel `(side, side, c_in, c_out)`."""
        kernel = tf.cast(kernel, inputs.dtype)
        convolve = convolve_image if inputs.shape[0] == 1 else _convolve_patches
        return tf.cast(convolve(inputs, kernel), self.dtype)


def convolve_image(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves one large image without padding: one matrix product, with the pixels of each tap contiguous.

    Args:
        inputs: `(1, rows, cols, c_in)`.
        kernel: `(side, side, c_in, c_out)`, of the same dtype.

    Returns:
        `(1, rows - side + 1, cols - side + 1, c_out)`.
    """
    side, c_in, c_out = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    height, width = tf.shape(inputs)[1], tf.shape(inputs)[2]
    rows, cols = height - side + 1, width - side + 1
    matrix = tf.reshape(tf.transpose(kernel, [0, 1, 3, 2]), [-1, c_in])
    products = tf.matmul(matrix, tf.reshape(inputs, [-1, c_in]), transpose_b=True)
    taps = tf.reshape(products, [side, side * c_out, height, width])
    summed = tf.add_n([taps[row, :, row : row + rows] for row in range(side)])
    taps = tf.reshape(summed, [side, c_out, rows, width])
    summed = tf.add_n([taps[col, :, :, col : col + cols] for col in range(side)])
    return tf.transpose(summed, [1, 2, 0])[tf.newaxis]


def _convolve_patches(inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves a batch of patches; its gradient, which needs static rows and columns, is a matrix product too."""
    side, c_in, c_out = kernel.shape[0], kernel.shape[2], kernel.shape[3]
    height, width = (inputs.shape[axis] or tf.shape(inputs)[axis] for axis in (1, 2))
    rows, cols = height - side + 1, width - side + 1
    taps = [(row, col) for row in range(side) for col in range(side)]

    @tf.custom_gradient
    def convolve(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        matrix = tf.reshape(tf.transpose(kernel, [2, 0, 1, 3]), [c_in, len(taps) * c_out])
        flat = tf.reshape(inputs, [-1, c_in])
        products = tf.reshape(flat @ matrix, [-1, height, width, len(taps), c_out])
        result = tf.add_n([products[:, row : row + rows, col : col + cols, tap] for tap, (row, col) in enumerate(taps)])

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            shifted = tf.reshape(_shift_to_taps(upstream, taps, side), [-1, len(taps) * c_out])
            by_inputs = tf.reshape(tf.matmul(shifted, matrix, transpose_b=True), tf.shape(inputs))
            by_kernel = tf.reshape(tf.matmul(flat, shifted, transpose_a=True), [c_in, side, side, c_out])
            return by_inputs, tf.transpose(by_kernel, [1, 2, 0, 3])

        return result, gradient

    return convolve(inputs, kernel)


def _shift_to_taps(upstream: tf.Tensor, taps: Sequence[tuple[int, int]], side: int) -> tf.Tensor:
    """Copies each channel to where each tap read it: `(batch, rows + side - 1, cols + side - 1, taps * c_out)`.

    A convolution with filters of a single 1 each, which is faster than concatenated slices.
    """
    c_out = upstream.shape[3]
    ones = np.zeros((side, side, c_out, len(taps), c_out), np.float32)
    for tap, (row, col) in enumerate(taps):
        for channel in range(c_out):
            ones[side - 1 - row, side - 1 - col, channel, tap, channel] = 1
    filters = tf.constant(ones.reshape(side, side, c_out, -1), upstream.dtype)
    around = [side - 1, side - 1]
    return tf.nn.conv2d(tf.pad(upstream, [[0, 0], around, around, [0, 0]]), filters, 1, "VALID")
