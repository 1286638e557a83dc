"""Networks for the tests: built, found, saved, and computed in plain NumPy."""

import numpy as np

from srcnn_tf.model import build_model
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.training.initialization import start_as_identity
from srcnn_tf.weights.models import find_model, save_model


def network(filter_sizes=(9, 1, 5), c_dim=1, filters=(64, 32), initialization="gaussian", seed=0):
    """A Keras model with random weights."""
    spec = NetworkSpec(architecture="-".join(map(str, filter_sizes)), filters=",".join(map(str, filters)), c_dim=c_dim)
    is_identity = initialization == "identity"
    model = build_model(spec, "he" if is_identity else initialization, seed)
    if is_identity:
        model.set_weights(start_as_identity(model.get_weights(), seed))
    return model


def random_model(filter_sizes=(9, 1, 5), c_dim=1):
    """A Keras model whose last layer has large enough weights that a wrong pixel shows."""
    model = network(filter_sizes, c_dim, initialization="he", seed=1)
    rng = np.random.default_rng(2)
    model.set_weights([values + rng.normal(0, 0.02, values.shape) for values in model.get_weights()])
    return model


def convolved(image, weights):
    """The network in NumPy, in float64: correlations without padding, ReLU after all layers but the last."""
    features = image.astype(np.float64)
    for number in range(0, len(weights), 2):
        kernel, bias = weights[number].astype(np.float64), weights[number + 1]
        windows = np.lib.stride_tricks.sliding_window_view(features, kernel.shape[:2], axis=(0, 1))
        features = np.einsum("rcikl,klio->rco", windows, kernel, optimize=True) + bias
        if number < len(weights) - 2:
            features = np.maximum(features, 0)
    return features


def find(config):
    """The Keras model with the weights that are found for a configuration, and where they are from."""
    return find_model(config.network, config.search)


def save(model, config, folder=None):
    """Writes the weights into a folder; default: that of the configuration's run."""
    save_model(model, config.network, folder or config.search.run_directory(config.network))
