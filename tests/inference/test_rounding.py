import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image
from test_model import convolved

from srcnn_tf.config import Config
from srcnn_tf.images.color import to_channels
from srcnn_tf.images.resize import imresize
from srcnn_tf.inference.rounding import bfloat16_model, round_weights
from srcnn_tf.model import srcnn
from srcnn_tf.weights.store import find_model

BFLOAT16 = tf.bfloat16.as_numpy_dtype


def nearest(values):
    return values.astype(BFLOAT16).astype(np.float32)


def shipped(scale):
    return find_model(Config(is_train=False, scale=scale, degradation="matlab"), search_runs=False)[0]


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_all_layers_but_the_last_hold_what_bfloat16_can(filter_sizes, c_dim):
    weights = srcnn(filter_sizes, c_dim, initialization="he").get_weights()
    rounded = round_weights(weights, BFLOAT16)
    assert [(values.shape, values.dtype) for values in rounded] == [(values.shape, np.float32) for values in weights]
    for values, exact in zip(rounded[:-2], weights[:-2], strict=True):
        np.testing.assert_array_equal(values, nearest(values))
        np.testing.assert_allclose(values, exact, atol=0.01)
    # The last layer stays, and so do values that need no rounding.
    weights = [*rounded[:-2], *weights[-2:]]
    for values, exact in zip(round_weights(weights, BFLOAT16), weights, strict=True):
        np.testing.assert_array_equal(values, exact)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_images_change_less_than_with_each_weight_rounded_to_the_nearest(scale):
    model = shipped(scale)
    weights = model.get_weights()
    image = imresize(to_channels(synthetic_image(40, 40)[..., 0]), scale).astype(np.float32)
    exact = convolved(image, weights)
    compensated, apart = (
        np.abs(convolved(image, rounded) - exact).mean()
        for rounded in (round_weights(weights, BFLOAT16), [*map(nearest, weights[:-2]), *weights[-2:]])
    )
    assert 0 < compensated < apart / 5
    # The features of the converted model are rounded too; 1/255 is one level of 8 bits.
    assert np.abs(bfloat16_model(model)(image[np.newaxis])[0] - exact).mean() < 0.4 / 255
