"""Data of any range: what the network adds does not depend on their contrast, and pixels without data stay."""

import numpy as np
import pytest
from conftest import synthetic_image

import srcnn_tf
from srcnn_tf.images.page import RowStream
from srcnn_tf.images.resize import imresize
from srcnn_tf.images.value_range import dtype_range
from srcnn_tf.upscaling.measured import ScaledRows

GREY = synthetic_image(42, 51)[..., 0]


def psnr(image, original):
    span = np.ptp(original.astype(float))
    error = (image.astype(float) - original)[6:-6, 6:-6]
    return 10 * np.log10(span**2 / np.mean(error**2))


def photograph():
    """A photograph with detail, of scikit-image's wheel."""
    from skimage.data import camera

    return camera()[60:300, 120:360]


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [(np.uint16, 0, 65535), (np.uint16, 1000, 4276), (np.int16, -1024, 2000), (np.float32, 1e-4, 0.05)],
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_low_contrast_gains_what_full_contrast_gains(dtype, low, high, scale):
    """The gain over bicubic, in dB of the data's range: at least 95 % of that of the 8-bit image."""

    def gain(image):
        rows, cols = (side - side % scale for side in image.shape)
        image = image[:rows, :cols]
        small = imresize(image.astype(float), 1 / scale)
        if image.dtype.kind in "iu":
            small = np.round(small)
        small = small.clip(*(low, high) if image.dtype != np.uint8 else (0, 255)).astype(image.dtype)
        bicubic = imresize(small.astype(float), scale)
        return psnr(srcnn_tf.upscale_image(small, scale), image) - psnr(bicubic, image)

    full = photograph()
    measured = full / 255 * (high - low) + low
    measured = (np.round(measured) if np.dtype(dtype).kind in "iu" else measured).astype(dtype)
    expected = gain(full)
    assert expected > 0.5
    assert gain(measured) >= 0.95 * expected


def test_one_hot_pixel_changes_the_result_beside_it_only():
    image = (synthetic_image(40, 50)[..., 0] * 4.0 + 200).astype(np.uint16)
    hot = image.copy()
    hot[20, 25] = 65535
    upscaled, expected = (srcnn_tf.upscale_image(pixels, 3).astype(int) for pixels in (hot, image))
    difference = np.abs(upscaled - expected)
    difference[40:83, 55:98] = 0
    assert difference.mean() < 0.01 * np.ptp(image)
    assert upscaled.max() == 65535


def test_a_photograph_of_16_bits_that_fills_its_range_changes_by_less_than_a_level_of_8_bits():
    image = (synthetic_image(40, 50) / 255 * 65535).astype(np.uint16)
    image[0, 0], image[0, 1] = 0, 65535
    actual, expected = srcnn_tf.upscale_image(image), srcnn_tf.upscale_image(image, value_range="dtype")
    assert np.abs(actual.astype(int) - expected).max() < 257


def test_overshoot_stays_within_the_data_and_values_out_of_a_given_range_are_kept():
    image = np.where(np.arange(40) % 20 < 10, 300, 900)[np.newaxis].repeat(40, axis=0).astype(np.int16)
    upscaled = srcnn_tf.upscale_image(image)
    assert 300 <= upscaled.min() < upscaled.max() <= 900
    assert srcnn_tf.upscale_image(image, value_range="dtype").max() > 900
    image[10:14, 5:9] = -20000
    window = srcnn_tf.upscale_image(image, value_range=(300, 900))
    assert window.min() < -19000
    clipped = srcnn_tf.upscale_image(np.where(image < 0, 300, image), value_range=(300, 900))
    np.testing.assert_array_equal(window[:, 60:], clipped[:, 60:])


def test_the_result_scales_with_the_data():
    grey = GREY.astype(np.float32)
    upscaled = srcnn_tf.upscale_image(grey)
    np.testing.assert_allclose(srcnn_tf.upscale_image(grey * 1000 - 7e4), upscaled * 1000 - 7e4, atol=0.5)
    assert (srcnn_tf.upscale_image(np.full((9, 9), 3.25)) == 3.25).all()
    assert (srcnn_tf.upscale_image(np.full((9, 9), 700, np.uint16)) == 700).all()


@pytest.mark.parametrize("scale", [3, 4.5])
def test_pixels_without_data_stay_and_do_not_bleed(scale, monkeypatch):
    monkeypatch.setattr("srcnn_tf.images.page.BAND_BYTES", 3000)
    grey = synthetic_image(90, 130)[..., 0].astype(np.float32)
    empty = np.zeros((90, 130), bool)
    empty[30:, 40:] = True
    index = [(2 * np.arange(round(size * scale)) + 1) * size // (2 * round(size * scale)) for size in (90, 130)]
    enlarged = empty[np.ix_(*index)]
    grey[50:, 60:] = 1e30
    for value in (np.nan, np.inf):
        results = []
        for noise in (0, 100):
            holed = np.where(empty, value, grey)
            upscaled = srcnn_tf.upscale_image(holed, scale)
            np.testing.assert_array_equal(upscaled[enlarged], np.full(enlarged.sum(), value, np.float32))
            assert np.isfinite(upscaled[~enlarged]).all()
            assert np.abs(upscaled[~enlarged]).max() < 256
            results.append(upscaled)
            grey[empty] += noise
        np.testing.assert_array_equal(*results)
    # The same with a mask: what is below it stays, and does not count.
    rows = []
    for hidden in (0, 77):
        pixels = np.where(empty, hidden, grey).astype(np.int16)
        scaled = ScaledRows(pixels, dtype_range(np.int16), ~empty, None, reach=9)
        inside = scaled.rows[:90]
        rows.append(inside)
        restored = scaled.restore(inside, 0, (90, 130, 1))[..., 0]
        np.testing.assert_array_equal(restored[empty], pixels[empty])
    np.testing.assert_array_equal(*rows)
    assert isinstance(scaled.rows, RowStream)


def test_an_image_without_any_data_is_kept():
    assert np.isnan(srcnn_tf.upscale_image(np.full((12, 13), np.nan, np.float32))).all()
