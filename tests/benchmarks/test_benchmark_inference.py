import numpy as np
import pytest
from conftest import synthetic_image
from networks import convolved
from test_engines import random_weights

from benchmarks.inference import compare, image_size, multiply_adds, restore_in_float64
from srcnn_tf.images.resize import imresize


@pytest.mark.parametrize("sizes", [(9, 1, 5), (9, 5, 5)])
def test_the_truth_is_the_network_in_float64(sizes):
    weights = random_weights(sizes)
    image = synthetic_image(70, 30)[..., 0] / 255  # more rows than a band
    np.testing.assert_allclose(restore_in_float64(weights, image), convolved(image[..., None], weights)[..., 0])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_multiply_adds_are_those_of_taps_that_have_a_weight(scale):
    interpolation = np.stack([imresize(unit[:, None], scale)[:, 0] for unit in np.eye(24)], axis=1)
    first_rows = [12 * scale + phase - 4 for phase in range(scale)]
    counts = [np.count_nonzero(np.abs(interpolation[row : row + 9]).max(axis=0) > 1e-12) for row in first_rows]
    taps = np.mean(counts) ** 2
    assert multiply_adds(random_weights((9, 1, 5))) == 81 * 64 + 64 * 32 + 25 * 32
    assert multiply_adds(random_weights((9, 5, 5)), scale) == pytest.approx(taps * 64 + 25 * 64 * 32 + 25 * 32)


def test_differences_are_those_inside_the_frame():
    original = np.full((20, 20), 0.5)
    restored = np.full((20, 20), 0.7, np.float32)
    restored[:2] = 0
    assert compare(restored, original + 0.1, original, frame=2) == ["1e-01", f"{20 * np.log10(2):.4f}"]


@pytest.mark.parametrize("megapixels", [0.5, 1, 12])
def test_all_scales_divide_the_image(megapixels):
    rows, cols = image_size(megapixels)
    assert rows % 12 == cols % 12 == 0
    assert rows * cols / 1e6 == pytest.approx(megapixels, rel=0.1)
