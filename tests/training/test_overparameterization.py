import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image
from networks import convolved, network

from srcnn_tf.config import Config
from srcnn_tf.training.overparameterization import Overparameterization
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.step import Settings, create_state, train_step
from srcnn_tf.training.workers import Workers


@pytest.fixture
def model():
    return network(filters=(6, 4), initialization="he", seed=1)


def test_without_factors_the_models_own_variables_are_trained(model):
    trained = Overparameterization(model).trained_variables()
    assert all(one is other for one, other in zip(trained, model.trainable_variables, strict=True))
    for recipe, count in (("reference", 6), ("paper", 6), ("modern", 8)):
        state = create_state(Config(recipe=recipe), RECIPES[recipe])
        own = {variable.path for variable in state.model.trainable_variables}
        trained = [variable.path for variable in state.overparameterization.trained_variables()]
        assert len(trained) == count
        assert (set(trained) == own) == (count == 6)


def test_products_of_the_factors_are_the_models_weights_at_first(model):
    before = model.get_weights()
    overparameterization = Overparameterization(model, width=3, seed=2)
    shapes = [tuple(variable.shape) for variable in overparameterization.trained_variables()]
    assert shapes[:6] == [(9, 9, 1, 18), (18, 6), (6,), (1, 1, 6, 12), (12, 4), (4,)]
    assert shapes[6:] == [(5, 5, 4, 1), (1,)]
    for product, expected in zip(overparameterization.effective_weights(), before, strict=True):
        np.testing.assert_allclose(product, expected, atol=1e-6)


def test_a_product_is_a_convolution_followed_by_a_linear_one(model):
    overparameterization = Overparameterization(model, width=2)
    rng = np.random.default_rng(0)
    for variable in overparameterization.trained_variables():
        variable.assign(rng.normal(size=variable.shape))
    overparameterization.write_to(model)
    kernel, mixing, bias, *_ = (variable.numpy() for variable in overparameterization.trained_variables())
    image = synthetic_image(20, 25)[..., :1] / 255
    expected = convolved(image, [kernel, np.zeros(12)]) @ mixing + bias
    np.testing.assert_allclose(convolved(image, model.get_weights()[:2]), expected, rtol=1e-4, atol=1e-4)


def test_a_step_goes_down_the_gradient_of_each_factor():
    """Plain descent, so that the step is the gradient; that of the factors by the product rule."""
    config = Config(recipe="reference", filters="6,4", learning_rate=0.5)
    state = create_state(config, RECIPES["reference"])
    rng = np.random.default_rng(0)
    state.model.set_weights([rng.normal(0, 0.1, values.shape) for values in state.model.get_weights()])
    state.overparameterization = Overparameterization(state.model, width=2)
    trained = state.overparameterization.trained_variables()
    state.optimizer = keras.optimizers.SGD(0.5)
    state.optimizer.build(trained)
    before = [variable.numpy() for variable in trained]
    data, label = (tf.constant(rng.random((2, side, side, 1)), tf.float32) for side in (33, 21))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(state.model(data) - label))
    first, first_bias, *_, last, last_bias = tape.gradient(loss, state.model.trainable_variables)
    settings = Settings(RECIPES["reference"], Workers(tf.distribute.get_strategy()), len(data))
    train_step(state, settings, data, label)
    moved = [(variable.numpy() - values) / -0.5 for variable, values in zip(trained, before, strict=True)]
    left, right = before[:2]
    np.testing.assert_allclose(moved[0], np.einsum("hwcn,mn->hwcm", first, right), atol=1e-5)
    np.testing.assert_allclose(moved[1], np.einsum("hwcm,hwcn->mn", left, first), atol=1e-5)
    for found, expected in zip((moved[2], moved[-2], moved[-1]), (first_bias, last, last_bias), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for product, values in zip(state.overparameterization.effective_weights(), state.model.get_weights(), strict=True):
        np.testing.assert_array_equal(product, values)
