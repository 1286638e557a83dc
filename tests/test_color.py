import numpy as np
from conftest import drawn

from srcnn_tf import color


def test_white_is_one():
    white = np.full((2, 2, 3), 255, np.uint8)
    np.testing.assert_allclose(color.to_luma(white), 1)
    np.testing.assert_allclose(color.to_channels(white)[0, 0], [1, 128 / 255, 128 / 255])


def test_luma_is_the_first_channel():
    image = drawn(30, 40)
    np.testing.assert_array_equal(color.to_luma(image), color.to_channels(image)[..., :1])


def test_channels_and_back_is_the_picture():
    image = drawn(30, 40)
    back = color.to_image(color.to_channels(image))
    # Cb and Cr have 8 bits, and so has the round trip that the reference's luma comes from.
    assert np.abs(back.astype(int) - image).max() <= 3
    grey = image[..., 0]
    np.testing.assert_array_equal(color.to_image(color.to_channels(grey)), grey)


def test_rounding_is_half_up_and_clipped():
    values = np.array([-0.1, 0.5 / 255, 1.4999 / 255, 1.5 / 255, 1.2])
    np.testing.assert_array_equal(color.to_uint8(values), [0, 1, 1, 2, 255])
