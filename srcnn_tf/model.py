"""The network of Dong et al. (TPAMI 2016, section 3.1): three convolutions.

    patch extraction      F1(Y) = max(0, W1 * Y + B1)        64 filters of 9 x 9 pixels
    non-linear mapping    F2(Y) = max(0, W2 * F1(Y) + B2)    32 filters of 1 x 1 pixel
    reconstruction        F(Y)  = W3 * F2(Y) + B3            a filter of 5 x 5 pixels

Y is the luma of an image that was upscaled by bicubic interpolation to the size of the result. Nothing is padded, so
that the result is smaller than Y by the network's border. This model is trained, tested and saved. `layers` computes
the same faster, and `upscaling.network` does without TensorFlow and without ever making Y.
"""

from __future__ import annotations

import keras

from srcnn_tf.spec import NetworkSpec

LAYERS = ("patch_extraction", "nonlinear_mapping", "reconstruction")


def build_model(spec: NetworkSpec, initialization: str = "gaussian", seed: int = 0) -> keras.Model:
    """Builds the network with random weights.

    Args:
        spec: gives filter sizes, numbers of filters, and channels. 9-1-5 with 64 and 32 filters has
            9*9*64 + 64  +  64*32 + 32  +  5*5*32 + 1  =  8129 parameters.
        initialization: `gaussian`, N(0, 0.001) in all layers (the paper's section 3.3, and the reference); or `he`,
            layers before a ReLU by He et al. (2015), the last one as before. Biases are 0.
        seed: seed of the random weights.

    Returns:
        A model from `(batch, rows, cols, c_dim)` to `(batch, rows - border, cols - border, c_dim)`, float32, values
        about [0, 1].
    """
    (f1, f2, f3), (n1, n2) = spec.filter_sizes, spec.filter_counts

    def conv(filters: int, size: int, number: int, activation: str | None = None) -> keras.layers.Conv2D:
        gaussian = keras.initializers.RandomNormal(stddev=1e-3, seed=seed + number)
        he = keras.initializers.HeNormal(seed + number)
        return keras.layers.Conv2D(
            filters,
            size,
            activation=activation,
            kernel_initializer=he if initialization == "he" and activation else gaussian,
            data_format="channels_last",
            dtype="float32",
            name=LAYERS[number],
        )

    degraded = keras.Input((None, None, spec.c_dim), dtype="float32", name="degraded")
    features = conv(n1, f1, 0, "relu")(degraded)
    mapped = conv(n2, f2, 1, "relu")(features)
    restored = conv(spec.c_dim, f3, 2)(mapped)
    return keras.Model(degraded, restored, name=spec.name)


def border(model: keras.Model) -> int:
    """Returns how many rows, and columns, the model's output is smaller than its input."""
    return sum(model.get_layer(layer).kernel_size[0] - 1 for layer in LAYERS)
