import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image

from srcnn_tf.config import Config
from srcnn_tf.model import build_model
from srcnn_tf.training.recipes import RECIPES
from srcnn_tf.training.step import Settings, compile_steps, create_state, random_flips, share_sizes
from srcnn_tf.training.workers import Workers

ALONE = Workers(tf.distribute.get_strategy())


def random_patches(count, c_dim=1):
    rng = np.random.default_rng(0)
    return [rng.random((count, side, side, c_dim)).astype(np.float32) for side in (33, 21)]


def assert_close(actual, expected, tolerance):
    for values, others in zip(actual, expected, strict=True):
        np.testing.assert_allclose(values, others, rtol=0, atol=tolerance)


@pytest.fixture(params=["processor", "GPU"])
def xla(request, monkeypatch):
    """Whether everything is decided as on a GPU; all is computed on the processor."""
    if request.param == "GPU":
        monkeypatch.setattr("srcnn_tf.training.step.has_gpu", lambda: True)
    return request.param == "GPU"


@pytest.mark.parametrize("c_dim", [1, 3])
def test_a_step_goes_down_the_gradient_of_the_whole_batch(c_dim, xla):
    config = Config(recipe="reference", c_dim=c_dim, filters="16,8")
    recipe = dataclasses.replace(RECIPES["reference"], initialization="he")
    state, model = create_state(config, recipe), build_model(config.network, "he")
    # On a processor, the batch is computed in parts of uneven size.
    assert len(set(share_sizes(50))) == (1 if xla else 2)
    data, label = random_patches(60, c_dim)
    batches, rates = np.random.default_rng(1).permuted(np.tile(np.arange(60), (3, 1)), axis=1)[:, :50], [0.1, 0.2, 0.05]
    losses = compile_steps(state, config, Settings(recipe, ALONE, 50, xla=xla))(
        data, label, batches, np.array(rates, np.float32)
    )
    for batch, rate, actual in zip(batches, rates, losses, strict=True):
        with tf.GradientTape() as tape:
            error = model(data[batch]) - label[batch]
            loss = tf.reduce_mean(tf.square(error))
        assert float(actual) == pytest.approx(float(loss), rel=1e-5)
        gradients = tape.gradient(loss, model.trainable_variables)
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
            variable.assign_sub(rate * gradient)
    assert int(state.step) == 3
    moved = zip(model.get_weights(), build_model(config.network, "he").get_weights(), strict=True)
    assert min(np.abs(values - start).max() for values, start in moved) > 1e-3
    assert_close(state.model.get_weights(), model.get_weights(), 2e-5)  # weights up to 4


def test_errors_above_a_limit_count_linearly():
    config, (data, label) = Config(recipe="reference", filters="16,8"), random_patches(20)
    model = build_model(config.network, "he")
    limit = float(np.median(np.abs(label - model(data))))
    recipe = dataclasses.replace(RECIPES["reference"], initialization="he", huber_delta=limit)
    state = create_state(config, recipe)
    (actual,) = compile_steps(state, config, Settings(recipe, ALONE, 20))(
        data, label, np.arange(20)[None], np.float32([0.1])
    )
    with tf.GradientTape() as tape:
        loss = 2 * tf.reduce_mean(keras.losses.huber(label, model(data), limit))
    assert float(actual) == pytest.approx(float(loss), rel=1e-5)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        variable.assign_sub(0.1 * gradient)
    assert_close(state.model.get_weights(), model.get_weights(), 5e-6)  # as Keras rounds other sums


def test_flips_are_those_of_patch_and_label_alike_in_eight_orientations():
    data = np.stack([synthetic_image(33, 33, 1)[..., :1]] * 200).astype(np.float32)
    seed, part = np.array([0, 5], np.int64), slice(0, 200)
    flipped, label = (values.numpy() for values in random_flips(data, data[:, 6:27, 6:27], seed, 200, part))
    np.testing.assert_array_equal(flipped[:, 6:27, 6:27], label)
    image = data[0]
    known = [rotated for mirrored in (image, image[:, ::-1]) for rotated in map(np.rot90, [mirrored] * 4, range(4))]
    seen = {number for patch in flipped for number, other in enumerate(known) if np.array_equal(patch, other)}
    assert seen == set(range(8))
    again = random_flips(data, data, np.array([0, 6], np.int64), 200, part)[0].numpy()
    assert not np.array_equal(flipped, again)
    some = random_flips(data[50:70], data[50:70], seed, 200, slice(50, 70))[0].numpy()  # as of the whole batch
    np.testing.assert_array_equal(some, flipped[50:70])
