import numpy as np
import pytest
from conftest import synthetic_image
from PIL import Image
from scipy import ndimage

from srcnn_tf.images import resize


@pytest.mark.parametrize("factor", [1 / 2, 1 / 3, 1 / 4, 2, 3, 4])
def test_zoom_is_scipys(factor):
    for rows, cols in ((12, 12), (24, 36), (12, 300), (204, 132)):
        image = np.random.default_rng(rows).random((rows, cols))
        expected = ndimage.zoom(image, factor, prefilter=False, mode="mirror")
        np.testing.assert_allclose(resize.zoom(image, factor), expected, rtol=1e-12)


def test_zoom_of_very_small_images_is_scipys_channel_by_channel_and_keeps_the_dtype():
    for size in (1, 2, 3, 4):
        image = np.random.default_rng(size).random((size, 5))
        expected = ndimage.zoom(image, 3, prefilter=False, mode="mirror")
        np.testing.assert_allclose(resize.zoom(image, 3), expected, rtol=1e-12)
        small = ndimage.zoom(expected, 1 / 3, prefilter=False, mode="mirror")
        np.testing.assert_allclose(resize.zoom(expected, 1 / 3), small, rtol=1e-12)
    image = synthetic_image(24, 30).astype(np.float32)
    small = resize.zoom(image, 1 / 3)
    assert (small.dtype, small.shape) == (np.float32, (8, 10, 3))
    for channel in range(3):
        np.testing.assert_allclose(small[..., channel], resize.zoom(image[..., channel], 1 / 3), rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("number", range(1, 6))
def test_imresize_is_matlabs_to_the_pixel(shared, scale, number):
    folder = shared / "golden" / "imresize" / f"image_SRF_{scale}"
    large, small = (
        np.asarray(Image.open(folder / f"img_{number:03d}_SRF_{scale}_{kind}.png")) for kind in ("HR", "LR")
    )
    np.testing.assert_array_equal(resize.imresize(large, 1 / scale), small)


@pytest.mark.parametrize("scale", [1 / 4, 1 / 3, 1 / 2, 2, 3, 4])
def test_imresize_is_pillows_bicubic_away_from_the_border(scale):
    # Pillow has the same kernel and antialiasing; at the border it leaves pixels out where MATLAB repeats them.
    image = np.random.default_rng(0).random((60, 84)).astype(np.float32)
    resized = resize.imresize(image, scale)
    expected = np.asarray(Image.fromarray(image).resize(resized.shape[::-1], Image.Resampling.BICUBIC))
    border = int(np.ceil(3 * max(scale, 1)))
    inside = np.s_[border:-border, border:-border]
    np.testing.assert_allclose(resized[inside], expected[inside], atol=2e-5)


@pytest.mark.parametrize("scale", [1 / 3, 2])
def test_imresize_repeats_the_edge(scale):
    image = synthetic_image(24, 30).astype(float)
    wide = np.pad(image, ((12, 12), (12, 12), (0, 0)), mode="edge")
    cut = int(12 * scale)
    expected = resize.imresize(wide, scale)[cut:-cut, cut:-cut]
    np.testing.assert_allclose(resize.imresize(image, scale), expected, rtol=1e-12)


def test_imresize_keeps_kinds_rounds_integers_and_leaves_floats_alone():
    image = np.zeros((9, 9), np.uint8)
    image[4:] = 255
    assert resize.imresize(image, 3).dtype == np.uint8
    floats = resize.imresize(image.astype(np.float32), 3)
    assert floats.dtype == np.float32
    assert floats.min() < 0
    assert floats.max() > 255
    sixteen = resize.imresize(image.astype(np.uint16) * 257, 3)
    assert sixteen.dtype == np.uint16
    assert (sixteen.min(), sixteen.max()) == (0, 65535)
    assert resize.imresize(np.zeros((10, 11, 4), np.uint8), 1 / 3).shape == (4, 4, 4)
    assert resize.imresize(np.full((1, 1), 7, np.uint8), 4).tolist() == [[7] * 4] * 4


@pytest.mark.parametrize("scale", [1 / 3, 3])
def test_bands_of_rows_are_the_whole(scale):
    image = synthetic_image(48, 33)
    whole = resize.imresize(image, scale)
    for size in (1, 5, len(whole)):
        limits = [(begin, min(begin + size, len(whole))) for begin in range(0, len(whole), size)]
        bands = [resize.imresize_rows(image, scale, *limit) for limit in limits]
        np.testing.assert_array_equal(np.concatenate(bands), whole)
