import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image

from srcnn_tf.model import LAYERS, NarrowConv2D, border, plain_keras, srcnn


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


@pytest.mark.parametrize("batch", [1, 3], ids=["image", "patches"])
@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_model_is_three_convolutions(filter_sizes, c_dim, batch):
    rng = np.random.default_rng(0)
    model = srcnn(filter_sizes, c_dim, initialization="he", seed=3)
    model.set_weights([values + rng.normal(0, 0.01, values.shape) for values in model.get_weights()])
    images = rng.random((batch, 25, 23, c_dim)).astype(np.float32)
    removed = sum(filter_sizes) - 3
    assert border(model) == removed
    # Of shapes known beforehand, and of any.
    any_shape = tf.function(model, input_signature=[tf.TensorSpec([None, None, None, c_dim], tf.float32)])
    for restored in (model(images).numpy(), any_shape(images).numpy()):
        assert restored.shape == (batch, 25 - removed, 23 - removed, c_dim)
        for image, pixels in zip(images, restored, strict=True):
            np.testing.assert_allclose(pixels, convolved(image, model.get_weights()), atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 30, 21, 6), (4, 12, 11, 6)], ids=["image", "patches"])
@pytest.mark.parametrize(("side", "c_out"), [(5, 1), (5, 3), (1, 1), (7, 2)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_narrow_conv2d_and_its_gradients_are_those_of_conv2d(dtype, side, c_out, shape):
    def rounded(values):
        return tf.cast(tf.cast(tf.constant(values, tf.float32), dtype), tf.float32)

    rng = np.random.default_rng(0)
    inputs, kernel = rounded(rng.normal(size=shape)), rounded(rng.normal(size=(side, side, 6, c_out)))
    upstream = rounded(rng.normal(size=(shape[0], shape[1] - side + 1, shape[2] - side + 1, c_out)))
    bias, results = rng.normal(size=c_out), []
    for layer, values in (
        (keras.layers.Conv2D(c_out, side), inputs),
        (NarrowConv2D(c_out, side, autocast=False), tf.cast(inputs, dtype)),
    ):
        layer.build(shape)
        layer.set_weights([kernel, bias])
        with tf.GradientTape() as tape:
            tape.watch(values)
            output = layer(values)
        assert output.dtype == tf.float32
        results.append([output, *tape.gradient(output, [values, *layer.trainable_weights], upstream)])
    for expected, actual in zip(*results, strict=True):
        expected, actual = np.array(expected), np.array(tf.cast(actual, tf.float32))
        tolerance = 1e-5 if dtype == "float32" else 0.03
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    # In bfloat16, the products are computed in it.
    assert dtype == "float32" or np.abs(results[0][0] - results[1][0]).max() > 1e-3


def test_bfloat16_is_near_and_gives_float32():
    images = tf.random.stateless_uniform([4, 33, 33, 1], [1, 2])
    model = srcnn(initialization="he", compute_dtype="bfloat16")
    restored = model(images)
    assert restored.dtype == tf.float32
    assert {weight.dtype for weight in model.weights} == {"float32"}
    expected = np.stack([convolved(image, model.get_weights()) for image in images.numpy()])
    assert 0 < np.abs(restored - expected).max() / np.abs(expected).max() < 0.03


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_plain_keras_has_standard_layers_in_float32_alone(dtype):
    model = srcnn((9, 3, 5), 3, initialization="he", name="srcnn_x3", compute_dtype=dtype)
    plain = plain_keras(model)
    assert plain.name == "srcnn_x3"
    for layers in (plain.layers, model.layers):
        assert [layer.name for layer in layers[1:]] == ["patch_extraction", "nonlinear_mapping", "reconstruction"]
    assert [type(layer) for layer in plain.layers[1:]] == [keras.layers.Conv2D] * 3
    assert {layer.dtype_policy.name for layer in plain.layers} == {"float32"}
    for copied, original in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(copied, original)
    image = np.random.default_rng(0).random((1, 20, 20, 3)).astype(np.float32)
    np.testing.assert_allclose(plain(image)[0], convolved(image[0], model.get_weights()), atol=2e-5)


@pytest.mark.parametrize(
    ("initialization", "deviations"),
    [("gaussian", (1e-3, 1e-3, 1e-3)), ("he", (np.sqrt(2 / 81), np.sqrt(2 / 64), 1e-3))],
)
def test_initial_weights(initialization, deviations):
    model = srcnn(initialization=initialization)
    assert model.count_params() == 8129
    for layer, deviation in zip(LAYERS, deviations, strict=True):
        kernel, bias = model.get_layer(layer).get_weights()
        assert kernel.std() == pytest.approx(deviation, rel=0.1)
        assert abs(kernel.mean()) < 0.1 * deviation
        assert not bias.any()
    again, other = (srcnn(initialization=initialization, seed=seed).get_weights()[0] for seed in (0, 1))
    np.testing.assert_array_equal(model.get_weights()[0], again)
    assert not np.array_equal(again, other)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("filter_sizes", "c_dim", "filters"),
    [((9, 1, 5), 1, (64, 32)), ((9, 5, 5), 3, (64, 32)), ((9, 3, 5), 3, (3, 3)), ((9, 1, 5), 1, (1, 1))],
)
def test_training_starts_as_the_identity_with_no_filter_off(filter_sizes, c_dim, filters, dtype):
    model = srcnn(filter_sizes, c_dim, filters, "identity", compute_dtype=dtype)
    image = synthetic_image(60, 60)[np.newaxis, ..., :c_dim].astype(np.float32) / 255
    margin = border(model) // 2
    tolerance = 0.03 if dtype == "float32" else 0.04
    np.testing.assert_allclose(model(image), image[:, margin:-margin, margin:-margin], atol=tolerance)
    features = image
    for layer in LAYERS[:2]:
        features = np.asarray(model.get_layer(layer)(features), np.float32)
        assert ((features > 0).mean((0, 1, 2)) > 0.05).all(), layer
