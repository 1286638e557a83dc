import numpy as np
import pytest
import tensorflow as tf
from networks import convolved, network

from srcnn_tf.layers import forward, narrow_convolution


@pytest.mark.parametrize("batch", [1, 3], ids=["image", "patches"])
@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_forward_is_the_three_convolutions(filter_sizes, c_dim, batch):
    rng = np.random.default_rng(0)
    model = network(filter_sizes, c_dim, initialization="he", seed=3)
    model.set_weights([values + rng.normal(0, 0.01, values.shape) for values in model.get_weights()])
    images = rng.random((batch, 25, 23, c_dim)).astype(np.float32)
    removed = sum(filter_sizes) - 3
    # Of shapes known beforehand, and of any.
    shapes = [images.shape, [None, None, None, c_dim]]
    for shape in shapes:
        function = tf.function(
            lambda values: forward([variable.value for variable in model.weights], values),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )
        restored = function(images).numpy()
        assert restored.shape == (batch, 25 - removed, 23 - removed, c_dim)
        for image, pixels in zip(images, restored, strict=True):
            np.testing.assert_allclose(pixels, convolved(image, model.get_weights()), atol=2e-5)


@pytest.mark.parametrize("shape", [(1, 30, 21, 6), (4, 12, 11, 6)], ids=["image", "patches"])
@pytest.mark.parametrize(("side", "c_out"), [(5, 1), (5, 3), (1, 1), (7, 2)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_narrow_convolution_and_its_gradients_are_those_of_conv2d(dtype, side, c_out, shape):
    def rounded(values):
        return tf.cast(tf.cast(tf.constant(values, tf.float32), dtype), tf.float32)

    rng = np.random.default_rng(0)
    inputs, kernel = rounded(rng.normal(size=shape)), rounded(rng.normal(size=(side, side, 6, c_out)))
    upstream = rounded(rng.normal(size=(shape[0], shape[1] - side + 1, shape[2] - side + 1, c_out)))
    results = []
    for function, compute_dtype in (
        (lambda images, kernel: tf.nn.conv2d(images, kernel, 1, "VALID"), "float32"),
        (narrow_convolution, dtype),
    ):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            output = tf.cast(function(tf.cast(inputs, compute_dtype), tf.cast(kernel, compute_dtype)), tf.float32)
        results.append([output, *tape.gradient(output, [inputs, kernel], upstream)])
    for expected, actual in zip(*results, strict=True):
        expected, actual = np.array(expected), np.array(tf.cast(actual, tf.float32))
        tolerance = 1e-5 if dtype == "float32" else 0.03
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
    # In bfloat16, the products are computed in it.
    assert dtype == "float32" or np.abs(results[0][0] - results[1][0]).max() > 1e-3


def test_bfloat16_is_near_and_gives_float32():
    images = tf.random.stateless_uniform([4, 33, 33, 1], [1, 2])
    model = network(initialization="he")
    restored = forward([variable.value for variable in model.weights], images, "bfloat16")
    assert restored.dtype == tf.float32
    expected = np.stack([convolved(image, model.get_weights()) for image in images.numpy()])
    assert 0 < np.abs(restored - expected).max() / np.abs(expected).max() < 0.03


def test_weights_of_other_layers_are_refused():
    weights = [variable.value for variable in network().weights]
    for wrong in (weights[:4], weights[2:] + weights[:2]):
        with pytest.raises(ValueError, match="expected kernels and biases of three layers"):
            forward(wrong, tf.zeros([1, 33, 33, 1]))
    with pytest.raises(ValueError, match=r"for \(1, 33, 33, 3\)"):
        forward(weights, tf.zeros([1, 33, 33, 3]))
