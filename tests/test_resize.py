import numpy as np
import pytest
from conftest import drawn
from scipy import ndimage

from srcnn_tf import resize


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_zoom_is_scipys(factor):
    for rows, cols in ((12, 12), (24, 36), (12, 300), (204, 132)):
        image = np.random.default_rng(rows).random((rows, cols))
        expected = ndimage.zoom(image, factor, prefilter=False, mode="mirror")
        np.testing.assert_allclose(resize.zoom(image, factor), expected, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_zoom_of_very_small_pictures_is_scipys(size):
    image = np.random.default_rng(size).random((size, 5))
    expected = ndimage.zoom(image, 3, prefilter=False, mode="mirror")
    np.testing.assert_allclose(resize.zoom(image, 3), expected, rtol=1e-12)
    small = ndimage.zoom(expected, 1 / 3, prefilter=False, mode="mirror")
    np.testing.assert_allclose(resize.zoom(expected, 1 / 3), small, rtol=1e-12)


def test_zoom_takes_channels_one_by_one_and_keeps_the_dtype():
    image = drawn(24, 30).astype(np.float32)
    found = resize.zoom(image, 1 / 3)
    assert found.dtype == np.float32
    assert found.shape == (8, 10, 3)
    for channel in range(3):
        np.testing.assert_allclose(found[..., channel], resize.zoom(image[..., channel], 1 / 3), rtol=1e-6)
