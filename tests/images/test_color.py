import numpy as np
import pytest
from conftest import synthetic_image
from skimage.color import rgb2ycbcr

from srcnn_tf.images import color


def test_white_is_one():
    white = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose(color.to_luma(white), 1)
    np.testing.assert_allclose(color.to_channels(white)[0, 0], [1, 128 / 255, 128 / 255])


@pytest.mark.parametrize("studio", [False, True])
def test_luma_is_the_first_channel(studio):
    image = synthetic_image(30, 40)
    np.testing.assert_array_equal(color.to_luma(image, studio), color.to_channels(image, studio)[..., :1])


def test_studio_range_is_matlabs():
    image = synthetic_image(30, 40)
    expected = rgb2ycbcr(image)
    found = color.to_channels(image, studio=True) * 255
    np.testing.assert_allclose(found, np.round(found), atol=1e-9)
    np.testing.assert_allclose(found, expected, atol=0.5 + 1e-9)
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(color.to_luma(extremes, studio=True).ravel() * 255, [16, 235])


def test_grey_is_used_as_it_is_in_both_ranges():
    grey = synthetic_image(30, 40)[..., 0]
    for studio in (False, True):
        np.testing.assert_array_equal(color.to_luma(grey, studio)[..., 0] * 255, grey)


@pytest.mark.parametrize("studio", [False, True])
def test_channels_and_back_is_the_image(studio):
    image = synthetic_image(30, 40)
    back = color.channels_to_image(color.to_channels(image, studio), studio)
    # Cb and Cr have 8 bits, and so has the round trip that the reference's luma comes from.
    assert np.abs(back.astype(int) - image).max() <= 3
    grey = image[..., 0]
    np.testing.assert_array_equal(color.channels_to_image(color.to_channels(grey)), grey)


def test_rgb_is_the_image_and_its_luma_is_the_ranges():
    image = synthetic_image(30, 40)
    channels = color.to_channels(image, rgb=True)
    np.testing.assert_array_equal(color.channels_to_image(channels, rgb=True), image)
    luma = color.channels_to_luma(channels, studio=True, rgb=True)
    np.testing.assert_allclose(luma * 255, rgb2ycbcr(image)[..., 0], atol=1e-9)
    np.testing.assert_allclose(
        color.channels_to_luma(channels, rgb=True), image @ [0.299, 0.587, 0.114] / 255, atol=1e-12
    )
    # The reference's luma comes through eight bits, twice.
    np.testing.assert_allclose(color.channels_to_luma(channels, rgb=True), color.to_luma(image)[..., 0], atol=2 / 255)
    np.testing.assert_array_equal(color.channels_to_luma(channels), channels[..., 0])


def test_grey_in_three_channels_is_grey():
    grey = color.to_channels(synthetic_image(30, 40)[..., 0])
    for rgb in (False, True):
        pixels = color.channels_to_image(color.to_three_channels(grey, rgb), rgb=rgb).astype(int)
        assert np.ptp(pixels, axis=-1).max() == 0
        np.testing.assert_array_equal(pixels[..., 0], np.rint(grey[..., 0] * 255))
        np.testing.assert_array_equal(color.channels_to_luma(grey, studio=True, rgb=rgb), grey[..., 0])


@pytest.mark.parametrize("studio", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ycbcr_that_is_not_rounded_gives_the_image_back(studio, dtype):
    image = (synthetic_image(30, 40) / 255).astype(dtype)
    channels = color.rgb_to_ycbcr(image, studio)
    assert channels.dtype == color.ycbcr_to_rgb(channels, studio).dtype == dtype
    np.testing.assert_allclose(color.ycbcr_to_rgb(channels, studio), image, atol=1e-6)
    rounded = color.to_channels(synthetic_image(30, 40), studio)
    # The full range's luma comes through eight bits, twice.
    np.testing.assert_allclose(channels, rounded, atol=(0.51 if studio else 2) / 255)


def test_sixteen_bits_are_rounded_half_up_and_clipped():
    values = np.array([-0.1, 0.5 / 65535, 1.4999 / 65535, 1, 1.2])
    found = color.to_integers(values, np.uint16)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, [0, 1, 1, 65535, 65535])


def test_rounding_is_half_up_and_clipped():
    values = np.array([-0.1, 0.5 / 255, 1.4999 / 255, 1.5 / 255, 1.2])
    np.testing.assert_array_equal(color.to_uint8(values), [0, 1, 1, 2, 255])
