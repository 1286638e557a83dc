import numpy as np
import pytest
import tensorflow as tf

from srcnn_tf import forward
from srcnn_tf.model import srcnn


@pytest.mark.parametrize(("side", "c_out"), [(5, 1), (5, 3), (1, 1), (7, 2)])
def test_convolution_to_few_channels_is_a_convolution_and_so_is_its_gradient(side, c_out):
    rng = np.random.default_rng(0)
    features = tf.constant(rng.normal(size=(3, 12, 11, 6)))
    kernel = tf.constant(rng.normal(size=(side, side, 6, c_out)))
    upstream = tf.constant(rng.normal(size=(3, 13 - side, 12 - side, c_out)))
    found, expected = [], []
    for results, convolve in (
        (found, forward.convolve_to_few),
        (expected, lambda features, kernel: tf.nn.conv2d(features, kernel, 1, "VALID")),
    ):
        with tf.GradientTape() as tape:
            tape.watch([features, kernel])
            result = convolve(features, kernel)
        results += [result, *tape.gradient(result, [features, kernel], upstream)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-10)


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 3)])
def test_forward_is_the_model_and_so_is_its_gradient(filter_sizes, c_dim):
    model = srcnn(filter_sizes, c_dim, initialization="he")
    images = tf.random.stateless_uniform([4, 33, 33, c_dim], [1, 2])
    outputs, gradients = [], []
    for run in (lambda: forward.forward(model.weights, images, tf.float32), lambda: model(images)):
        with tf.GradientTape() as tape:
            output = run()
            loss = tf.reduce_mean(tf.square(output - 0.5))
        outputs.append(output)
        gradients.append(tape.gradient(loss, model.trainable_variables))
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-6)
    for one, other in zip(*gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * np.abs(other).max())


def test_bfloat16_is_near_and_gives_float32():
    model = srcnn(initialization="he")
    images = tf.random.stateless_uniform([4, 33, 33, 1], [1, 2])
    found = forward.forward(model.weights, images, tf.bfloat16)
    assert found.dtype == tf.float32
    expected = model(images)
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert 0 < error < 0.03


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 3)])
def test_precise_forward_is_the_model(filter_sizes, c_dim):
    model = srcnn(filter_sizes, c_dim, initialization="he")
    image = tf.random.stateless_uniform([1, 33, 40, c_dim], [1, 2])
    found = forward.forward_precisely(model.weights, image, tf.float32)
    np.testing.assert_allclose(found, model(image), atol=1e-6)


def test_precise_forward_keeps_what_bfloat16_takes_from_the_picture():
    # Weights that bfloat16 holds, of the difference of neighbours, which is small: what is lost is of the picture.
    weights = [np.zeros(shape, np.float32) for shape in [(9, 9, 1, 2), 2, (1, 1, 2, 2), 2, (5, 5, 2, 1), 1]]
    weights[0][4, 4, 0], weights[0][4, 3, 0] = (1, -1), (-1, 1)
    weights[2][0, 0] = np.eye(2)
    weights[4][2, 2, :, 0] = (1, -1)
    image = tf.random.stateless_uniform([1, 33, 40, 1], [1, 2], 0.5, 0.51)
    expected = image[:, 6:-6, 6:-6] - image[:, 6:-6, 5:-7]
    errors = [
        np.abs(run(weights, image, tf.bfloat16) - expected).max()
        for run in (forward.forward_precisely, forward.forward)
    ]
    assert 0 < errors[0] < 1e-4 < 1e-3 < errors[1]
