import keras
import numpy as np
import pytest
from networks import convolved, network

from srcnn_tf.model import LAYERS, border


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_model_is_three_convolutions_of_plain_keras(filter_sizes, c_dim):
    rng = np.random.default_rng(0)
    model = network(filter_sizes, c_dim, initialization="he", seed=3)
    model.set_weights([values + rng.normal(0, 0.01, values.shape) for values in model.get_weights()])
    assert [type(layer) for layer in model.layers[1:]] == [keras.layers.Conv2D] * 3
    assert [layer.name for layer in model.layers[1:]] == ["patch_extraction", "nonlinear_mapping", "reconstruction"]
    images = rng.random((3, 25, 23, c_dim)).astype(np.float32)
    removed = sum(filter_sizes) - 3
    assert border(model) == removed
    restored = model(images).numpy()
    assert restored.shape == (3, 25 - removed, 23 - removed, c_dim)
    for image, pixels in zip(images, restored, strict=True):
        np.testing.assert_allclose(pixels, convolved(image, model.get_weights()), atol=2e-5)


def test_settings_of_keras_change_nothing():
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    try:
        model = network()
    finally:
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
    assert model(np.zeros((1, 20, 21, 1), np.float32)).shape == (1, 8, 9, 1)
    assert {weight.dtype for weight in model.weights} == {"float32"}


@pytest.mark.parametrize(
    ("initialization", "deviations"),
    [("gaussian", (1e-3, 1e-3, 1e-3)), ("he", (np.sqrt(2 / 81), np.sqrt(2 / 64), 1e-3))],
)
def test_initial_weights(initialization, deviations):
    model = network(initialization=initialization)
    assert model.count_params() == 8129
    for layer, deviation in zip(LAYERS, deviations, strict=True):
        kernel, bias = model.get_layer(layer).get_weights()
        assert kernel.std() == pytest.approx(deviation, rel=0.1)
        assert abs(kernel.mean()) < 0.1 * deviation
        assert not bias.any()
    again, other = (network(initialization=initialization, seed=seed).get_weights()[0] for seed in (0, 1))
    np.testing.assert_array_equal(model.get_weights()[0], again)
    assert not np.array_equal(again, other)
