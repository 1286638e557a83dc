import itertools

import numpy as np
import pytest
from conftest import synthetic_image
from networks import network

from srcnn_tf.spec import LUMA, ColorSpace
from srcnn_tf.testing.tiling import TiledModel
from srcnn_tf.upscaling.ensemble import oriented_weights
from srcnn_tf.upscaling.polyphase import PolyphaseModel


def random_model(filter_sizes=(9, 1, 5), c_dim=1):
    """Its output is about 0.5, so that nothing is clipped: the naive mean is of clipped values."""
    model = network(filter_sizes, c_dim, (8, 4), "he")
    rng = np.random.default_rng(1)
    *weights, kernel, bias = [values + rng.normal(0, 0.05, values.shape) for values in model.get_weights()]
    model.set_weights([*weights, kernel * 0.1 / np.abs(kernel).sum(), bias + 0.5])
    return model


def naive(restore, image):
    """The mean of what becomes of the eight flips and rotations of an image, each turned back."""
    results = []
    for turns, is_flipped in itertools.product(range(4), (False, True)):
        turned = np.rot90(image, turns)
        restored = restore(np.ascontiguousarray(turned[:, ::-1] if is_flipped else turned))
        results.append(np.rot90(restored[:, ::-1] if is_flipped else restored, -turns))
    assert np.abs(results[0] - results[1]).max() > 1e-4
    return np.mean(results, axis=0)


@pytest.mark.parametrize("c_dim", [1, 3])
def test_tiles_are_restored_by_the_mean_over_flips_and_transposes(c_dim):
    image = (0.3 + 0.2 * synthetic_image(31, 40)[..., :c_dim] / 255).astype(np.float32)
    model = random_model((9, 3, 5), c_dim)
    space = ColorSpace("luma" if c_dim == 1 else "rgb")
    restored = TiledModel(model, space, tile_size=16, self_ensemble=True)(image)
    np.testing.assert_allclose(restored, naive(TiledModel(model, space), image), atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_images_are_upscaled_by_the_mean_over_flips_and_transposes(scale):
    image = (0.3 + 0.2 * synthetic_image(19, 30)[..., 0] / 255).astype(np.float32)
    model = random_model()

    def upscaled(pixels, **options):
        upscale = PolyphaseModel(model.get_weights(), scale, LUMA, tile_size=(20, 16), **options)
        return np.concatenate(list(upscale.bands(pixels)))[..., 0]

    expected = naive(upscaled, image)
    assert 0.1 < expected.min() < expected.max() < 0.9
    np.testing.assert_allclose(upscaled(image, self_ensemble=True), expected, atol=2e-6)


def test_the_first_of_eight_different_networks_is_the_given_one():
    weights = random_model().get_weights()
    kernels = [oriented[0].tobytes() for oriented in oriented_weights(weights)]
    assert len(set(kernels)) == 8
    assert kernels[0] == weights[0].tobytes()
