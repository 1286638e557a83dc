"""The network of Dong et al. (TPAMI 2016, section 3.1): the single Keras model that trains, tests and upscales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from srcnn_tf.config import Config

LAYERS = ("patch_extraction", "nonlinear_mapping", "reconstruction")
PASSING = 4  # filters per channel and layer that pass the image on, but at most an eighth of a layer's


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
        initialization: `gaussian`, N(0, 0.001) in all layers (the paper's section 3.3, and the reference); `he`, layers
            before a ReLU by He et al. (2015) and the last one as before; or `identity`, see `start_as_identity`.
        seed: seed of the random weights.
        name: name of the model.
        compute_dtype: dtype of the convolutions, `float32` or `bfloat16`; the weights and the output are float32.

    Returns:
        A model from `(batch, rows, cols, c_dim)` to `(batch, rows - border, cols - border, c_dim)`, float32, values
        about [0, 1], with `border = sum(size - 1 for size in filter_sizes)`. The default has
        9*9*64 + 64  +  64*32 + 32  +  5*5*32 + 1  =  8129 parameters.
    """
    policy = "float32" if compute_dtype == "float32" else f"mixed_{compute_dtype}"
    initializers: list[keras.initializers.Initializer] = [
        keras.initializers.RandomNormal(stddev=1e-3, seed=seed + number)
        if initialization == "gaussian" or number == 2
        else keras.initializers.HeNormal(seed + number)
        for number in range(3)
    ]
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
    model = keras.Model(image, output, name=name)
    if initialization == "identity":
        model.set_weights(start_as_identity(model.get_weights(), seed))
    return model


def start_as_identity(weights: list[NDArray], seed: int = 0) -> list[NDArray]:
    """Changes random weights so that the network returns about its input, and no filter is dead.

    Pixels are positive. So a random filter responds to nearly all patches with the sign of its weights' sum, and where
    that is negative, ReLU lets no gradient through: from He's weights, a sixth of all filters is soon dead for good, as
    docs/training.md shows. Here the weights of each filter add up to about 0, but for a few filters of both layers,
    which pass the image on. Their gains differ, and so do their rounding errors in bfloat16, so that the mean of
    several is more accurate.

    Args:
        weights: kernels and biases of a model of `srcnn`, as He's initialization leaves them.
        seed: seed of the random gains.
    """
    (first, _, second, _, last, _), rng = weights, np.random.default_rng(seed)
    c_dim = last.shape[3]
    counts = [kernel.shape[3] for kernel in (first, second)]
    counts = [min(count, max(c_dim, min(PASSING * c_dim, count // 8))) for count in counts]
    # Of each filter that passes the image on, its gain for each channel: not 0 for one of them. The next layer divides.
    gains = [rng.uniform(0.5, 1.5, (count, 1)) * np.eye(c_dim)[np.arange(count) % c_dim] for count in counts]
    means = [np.divide(1, gain, where=gain > 0, out=np.zeros_like(gain)) for gain in gains]
    means = [mean / np.maximum(1, (mean > 0).sum(0)) for mean in means]

    first -= first.mean((0, 1))
    second -= second.mean((0, 1, 2))
    first[..., : counts[0]] = 0
    second[:, :, : counts[0]] = 0
    second[..., : counts[1]] = 0
    _center(first)[:, : counts[0]] = gains[0].T
    _center(second)[: counts[0], : counts[1]] = means[0] @ gains[1].T
    _center(last)[: counts[1]] += means[1]
    return weights


def _center(kernel: NDArray) -> NDArray:
    """Returns a view of the middle tap of a kernel, `(c_in, c_out)`."""
    return kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]


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
    """`Conv2D` without padding, as matrix products where these are faster; TensorFlow fuses bias and ReLU into each.

    Keras adds a reshaped bias instead of using `bias_add`, which is not fused: inference takes 25 % longer.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns the activation of the convolution plus the bias."""
        side, c_in = self.kernel.shape[0], self.kernel.shape[2]
        batch, height, width = (inputs.shape[axis] or tf.shape(inputs)[axis] for axis in (0, 1, 2))
        is_small = inputs.shape[0] not in (None, 1) and c_in <= 3  # a batch of patches: their columns fit the cache
        if side > 1 and not is_small:
            return self.activation(tf.nn.bias_add(self.convolution_op(inputs, self.kernel), self.bias))
        columns = tf.reshape(inputs, [-1, c_in]) if side == 1 else shifted_columns(inputs, side)
        products = tf.matmul(columns, tf.reshape(self.kernel, [side * side * c_in, -1]), transpose_a=side > 1)
        features = self.activation(tf.nn.bias_add(products, self.bias))
        return tf.reshape(features, [batch, height - side + 1, width - side + 1, self.filters])


def shifted_columns(images: tf.Tensor, side: int) -> tf.Tensor:
    """Returns what each tap of a filter sees: `(side * side * c_in, pixels)` of `(batch, rows, cols, c_in)` images.

    With few channels, a product with this matrix is faster than TensorFlow's convolution, and its gradient three times.
    """
    rows, cols = images.shape[1] - side + 1, images.shape[2] - side + 1
    taps = tf.transpose(images, [3, 0, 1, 2])
    taps = tf.stack([taps[..., col : col + cols] for col in range(side)])
    taps = tf.stack([taps[..., row : row + rows, :] for row in range(side)])
    return tf.reshape(taps, [side * side * images.shape[3], -1])


class NarrowConv2D(keras.layers.Conv2D):
    """A convolution without padding to very few channels, 2 to 3 times as fast as `Conv2D` on a processor.

    The result and its gradient are those of `Conv2D`. With `autocast=False` the products are in the dtype of the
    inputs; the bias is added in float32.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Convolves `(batch, rows, cols, c_in)` with a kernel `(side, side, c_in, c_out)`."""
        return tf.cast(narrow_convolution(inputs, tf.cast(kernel, inputs.dtype)), self.dtype)


@tf.custom_gradient
def narrow_convolution(inputs: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Convolves images without padding, to very few channels.

    Libraries compute output channels in blocks of 16 or so, and waste the rest of the block. Here one matrix product
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
