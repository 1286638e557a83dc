import numpy as np
import pytest
import tensorflow as tf
from conftest import drawn

from srcnn_tf.config import RECIPES, Config
from srcnn_tf.model import srcnn
from srcnn_tf.training.overparameterization import Expansion
from srcnn_tf.training.step import State, make_step


@pytest.fixture
def model():
    return srcnn(filters=(6, 4), initialization="he", seed=1)


def shapes(expansion):
    return [tuple(variable.shape) for variable in expansion.trained()]


def test_nothing_is_expanded_once(model):
    expansion = Expansion(model)
    assert all(one is other for one, other in zip(expansion.trained(), model.trainable_variables, strict=True))
    for product, values in zip(expansion.products(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(product, values)


def test_factors_begin_as_the_model(model):
    before = model.get_weights()
    expansion = Expansion(model, times=3, seed=2)
    assert shapes(expansion) == [
        *((9, 9, 1, 18), (18, 6), (6,)),
        *((1, 1, 6, 12), (12, 4), (4,)),
        *((5, 5, 4, 1), (1,)),
    ]
    expansion.collapse(model)
    for found, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_product_is_a_convolution_and_a_linear_one_after_it(model):
    expansion = Expansion(model, times=2)
    rng = np.random.default_rng(0)
    for variable in expansion.trained():
        variable.assign(rng.normal(size=variable.shape))
    expansion.collapse(model)
    kernel, mixing, bias, *_ = expansion.trained()
    image = tf.constant(drawn(20, 25)[np.newaxis, ..., :1] / 255, tf.float32)
    wide = tf.nn.conv2d(image, kernel.value, 1, "VALID")
    expected = tf.nn.conv2d(wide, mixing.value[tf.newaxis, tf.newaxis], 1, "VALID") + bias.value
    layer = model.get_layer("patch_extraction")
    found = tf.nn.conv2d(image, layer.kernel.value, 1, "VALID") + layer.bias.value
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_step_goes_down_the_gradient_of_each_factor():
    """Plain descent, so that the step is the gradient; that of the factors by the rule for products."""
    config = Config(recipe="reference", filters="6,4", learning_rate=0.5)
    state = State(config)
    rng = np.random.default_rng(0)
    state.model.set_weights([rng.normal(0, 0.1, values.shape) for values in state.model.get_weights()])
    state.expansion = Expansion(state.model, times=2)
    state.optimizer = type(state.optimizer)(0.5)
    before = [variable.numpy() for variable in state.expansion.trained()]
    data, label = (tf.constant(rng.random((2, side, side, 1)), tf.float32) for side in (33, 21))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(state.model(data) - label))
    first, first_bias, *_, last, last_bias = tape.gradient(loss, state.model.trainable_variables)
    make_step(state, RECIPES["reference"], tf.float32, xla=False)(data, label)
    moved = [(now.numpy() - then) / -0.5 for now, then in zip(state.expansion.trained(), before, strict=True)]
    left, right = before[:2]
    np.testing.assert_allclose(moved[0], np.einsum("hwcn,mn->hwcm", first, right), atol=1e-5)
    np.testing.assert_allclose(moved[1], np.einsum("hwcm,hwcn->mn", left, first), atol=1e-5)
    for found, expected in zip((moved[2], moved[-2], moved[-1]), (first_bias, last, last_bias), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for product, values in zip(state.expansion.products(), state.model.get_weights(), strict=True):
        np.testing.assert_array_equal(product, values)


def test_recipes_of_others_train_the_networks_own_weights():
    for recipe in ("reference", "paper"):
        state = State(Config(recipe=recipe))
        assert [variable.path for variable in state.expansion.trained()] == [
            variable.path for variable in state.model.trainable_variables
        ]
    assert len(State(Config()).expansion.trained()) == 8
