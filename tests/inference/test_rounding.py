import numpy as np
import pytest
import tensorflow as tf
from conftest import drawn

from srcnn_tf import forward
from srcnn_tf.config import Config
from srcnn_tf.images.color import to_channels
from srcnn_tf.images.resize import imresize
from srcnn_tf.inference import rounding
from srcnn_tf.model import srcnn
from srcnn_tf.weights import checkpoint

BFLOAT16 = tf.bfloat16.as_numpy_dtype


def nearest(values):
    return values.astype(BFLOAT16).astype(np.float32)


def shipped(scale):
    return checkpoint.restored_model(Config(is_train=False, scale=scale, degradation="matlab"), False)[0].get_weights()


@pytest.mark.parametrize(("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((11, 1, 7), 3)])
def test_all_layers_but_the_last_hold_what_bfloat16_can(filter_sizes, c_dim):
    weights = srcnn(filter_sizes, c_dim, initialization="he").get_weights()
    found = rounding.rounded(weights, BFLOAT16)
    assert [(one.shape, one.dtype) for one in found] == [(one.shape, np.float32) for one in weights]
    for one, exact in zip(found[:-2], weights[:-2], strict=True):
        np.testing.assert_array_equal(one, nearest(one))
        np.testing.assert_allclose(one, exact, atol=0.01)
    np.testing.assert_array_equal(found[-2], weights[-2])
    np.testing.assert_array_equal(found[-1], weights[-1])


def test_what_needs_no_rounding_stays():
    weights = [nearest(values) for values in shipped(3)]
    for one, exact in zip(rounding.rounded(weights, BFLOAT16), weights, strict=True):
        np.testing.assert_array_equal(one, exact)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pictures_change_less_than_with_each_number_at_its_nearest(scale):
    weights = shipped(scale)
    picture = tf.constant(imresize(to_channels(drawn(60, 60)[..., 0]), scale)[np.newaxis].astype(np.float32))
    exact = forward.forward_precisely(weights, picture, tf.float32)
    in_turn, apart = (
        np.abs(forward.forward_precisely(few, picture, tf.float32) - exact).mean()
        for few in (rounding.rounded(weights, BFLOAT16), [*map(nearest, weights[:-2]), *weights[-2:]])
    )
    assert 0 < in_turn < apart / 5
