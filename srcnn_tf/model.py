"""The network of Dong et al. (TPAMI 2016, section 3.1): three convolutions without padding."""

from __future__ import annotations

from collections.abc import Sequence

import keras

FILTERS = (64, 32)
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
    filters: Sequence[int] = FILTERS,
    initialization: str = "gaussian",
    seed: int = 0,
    name: str = "srcnn",
) -> keras.Model:
    """Builds the network as a functional Keras model.

    Args:
        filter_sizes: side in pixels of each layer's filters.
        c_dim: channels of the picture, in and out.
        filters: filters in the first two layers.
        initialization: a key of `INITIALIZATIONS`.
        seed: of the random weights.

    Returns:
        A model from `(batch, rows, cols, c_dim)` to `(batch, rows - border, cols - border, c_dim)`, float32, values
        about [0, 1], with `border = sum(size - 1 for size in filter_sizes)`. The default has
        9*9*64 + 64  +  64*32 + 32  +  5*5*32 + 1  =  8129 parameters.
    """
    image = keras.Input((None, None, c_dim), name="degraded")
    features = image
    kinds = INITIALIZATIONS[initialization]
    for number, layer in enumerate(LAYERS):
        last = number == len(LAYERS) - 1
        features = keras.layers.Conv2D(
            c_dim if last else filters[number],
            filter_sizes[number],
            activation=None if last else "relu",
            kernel_initializer=_initializer(kinds[number], seed + number),
            name=layer,
        )(features)
    return keras.Model(image, features, name=name)


def _initializer(kind: str, seed: int) -> keras.initializers.Initializer:
    if kind == "he":
        return keras.initializers.HeNormal(seed)
    return keras.initializers.RandomNormal(stddev=1e-3, seed=seed)


def border(model: keras.Model) -> int:
    """Rows, and columns, that the model takes from its input."""
    return sum(model.get_layer(layer).kernel_size[0] - 1 for layer in LAYERS)
