"""Keras models with weights: found, and saved."""

from __future__ import annotations

from pathlib import Path

import keras

from srcnn_tf.model import build_model
from srcnn_tf.spec import NetworkSpec
from srcnn_tf.system.files import atomic_write
from srcnn_tf.weights.search import WeightsSearch
from srcnn_tf.weights.store import KERAS_FILE, find_weights, write_weights_file


def find_model(spec: NetworkSpec, search: WeightsSearch) -> tuple[keras.Model, str]:
    """Builds the network with the weights that are found for it; returns it, and where they are from.

    Raises:
        RunError: see `store.find_weights`.
    """
    weights, source = find_weights(spec, search)
    model = build_model(spec)
    model.set_weights(weights)
    return model, source


def save_model(model: keras.Model, spec: NetworkSpec, directory: Path) -> None:
    """Writes SRCNN.keras, and SRCNN.weights.h5 with the network that it belongs to; both need no code of this package.

    Raises:
        RunError: they cannot be written; the former files are untouched.
    """
    with atomic_write(directory / KERAS_FILE) as temporary:
        model.save(temporary)
    write_weights_file(directory, spec)
