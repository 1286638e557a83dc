import numpy as np
import pytest
from conftest import synthetic_image
from skimage.color import rgb2ycbcr

from srcnn_tf.images import color
from srcnn_tf.spec import ColorSpace

STUDIO = ColorSpace("ycbcr", studio=True)


@pytest.mark.parametrize("studio", [False, True])
def test_luma_is_the_first_channel_and_grey_is_used_as_it_is(studio):
    image = synthetic_image(30, 40)
    np.testing.assert_array_equal(
        color.to_luma(image, ColorSpace(studio=studio)), color.to_channels(image, ColorSpace(studio=studio))[..., :1]
    )
    np.testing.assert_array_equal(color.to_luma(image[..., 0], ColorSpace(studio=studio))[..., 0] * 255, image[..., 0])
    white = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose(color.to_channels(white)[0, 0], [1, 128 / 255, 128 / 255])


def test_studio_range_is_matlabs():
    image = synthetic_image(30, 40)
    expected = rgb2ycbcr(image)
    channels = color.to_channels(image, STUDIO) * 255
    np.testing.assert_allclose(channels, np.round(channels), atol=1e-9)
    np.testing.assert_allclose(channels, expected, atol=0.5 + 1e-9)
    extremes = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    np.testing.assert_allclose(color.to_luma(extremes, STUDIO).ravel() * 255, [16, 235])


@pytest.mark.parametrize("studio", [False, True])
def test_channels_and_back_is_the_image(studio):
    image = synthetic_image(30, 40)
    space = ColorSpace("ycbcr", studio)
    back = color.channels_to_image(color.to_channels(image, space), space)
    # Cb and Cr have 8 bits, and so has the round trip that the reference's luma comes from.
    assert np.abs(back.astype(int) - image).max() <= 3
    grey = image[..., 0]
    np.testing.assert_array_equal(color.channels_to_image(color.to_channels(grey)), grey)


def test_rgb_is_the_image_and_its_luma_is_the_ranges():
    image = synthetic_image(30, 40)
    channels = color.to_channels(image, ColorSpace("rgb"))
    np.testing.assert_array_equal(color.channels_to_image(channels, ColorSpace("rgb")), image)
    luma = color.channels_to_luma(channels, ColorSpace("rgb", studio=True))
    np.testing.assert_allclose(luma * 255, rgb2ycbcr(image)[..., 0], atol=1e-9)
    np.testing.assert_allclose(
        color.channels_to_luma(channels, ColorSpace("rgb")), image @ [0.299, 0.587, 0.114] / 255, atol=1e-12
    )
    # The reference's luma comes through eight bits, twice.
    np.testing.assert_allclose(
        color.channels_to_luma(channels, ColorSpace("rgb")), color.to_luma(image)[..., 0], atol=2 / 255
    )
    np.testing.assert_array_equal(color.channels_to_luma(channels), channels[..., 0])


def test_grey_in_three_channels_is_grey():
    grey = color.to_channels(synthetic_image(30, 40)[..., 0])
    for space in (ColorSpace("ycbcr"), ColorSpace("rgb")):
        pixels = color.channels_to_image(color.to_three_channels(grey, space), space).astype(int)
        assert np.ptp(pixels, axis=-1).max() == 0
        np.testing.assert_array_equal(pixels[..., 0], np.rint(grey[..., 0] * 255))
        np.testing.assert_array_equal(
            color.channels_to_luma(grey, ColorSpace(space.channels, studio=True)), grey[..., 0]
        )


@pytest.mark.parametrize("studio", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ycbcr_that_is_not_rounded_gives_the_image_back(studio, dtype):
    image = (synthetic_image(30, 40) / 255).astype(dtype)
    channels = color.rgb_to_ycbcr(image, studio)
    assert channels.dtype == color.ycbcr_to_rgb(channels, studio).dtype == dtype
    np.testing.assert_allclose(color.ycbcr_to_rgb(channels, studio), image, atol=1e-6)
    rounded = color.to_channels(synthetic_image(30, 40), ColorSpace("ycbcr", studio))
    # The full range's luma comes through eight bits, twice.
    np.testing.assert_allclose(channels, rounded, atol=(0.51 if studio else 2) / 255)


@pytest.mark.parametrize(("dtype", "full"), [(np.uint8, 255), (np.uint16, 65535)])
def test_rounding_is_half_up_and_clipped(dtype, full):
    integers = color.to_integers(np.array([-0.1, 0.5 / full, 1.4999 / full, 1.5 / full, 1, 1.2]), dtype)
    assert integers.dtype == dtype
    np.testing.assert_array_equal(integers, [0, 1, 1, 2, full, full])
