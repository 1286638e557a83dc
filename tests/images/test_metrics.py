import math

import numpy as np
import pytest
from conftest import synthetic_image
from skimage.color import rgb2ycbcr

from srcnn_tf.images import color, metrics
from srcnn_tf.spec import ColorSpace


def test_psnr_of_known_errors():
    black = np.zeros((20, 20), np.uint8)
    assert metrics.psnr(black + np.uint8(1), black) == pytest.approx(20 * math.log10(255))
    assert metrics.psnr(black + np.uint8(255), black) == 0
    assert metrics.psnr(black, black) == math.inf


def test_ssim_equals_the_formula_at_one_window():
    # Wang et al. (2004), equations 6 to 13, written out for the one position where an 11 x 11 window fits.
    first, second = synthetic_image(11, 11, seed=1)[..., 0], synthetic_image(11, 11, seed=2)[..., 0]
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    one, two = first.astype(float), second.astype(float)
    mean_one, mean_two = (weights * one).sum(), (weights * two).sum()
    variance_one, variance_two = (weights * (one - mean_one) ** 2).sum(), (weights * (two - mean_two) ** 2).sum()
    covariance = (weights * (one - mean_one) * (two - mean_two)).sum()
    small, smaller = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    expected = (2 * mean_one * mean_two + small) * (2 * covariance + smaller)
    expected /= (mean_one**2 + mean_two**2 + small) * (variance_one + variance_two + smaller)
    assert metrics.ssim(first, second) == pytest.approx(expected, rel=1e-6)


def test_shaved_pixels_do_not_count():
    original = synthetic_image(30, 40)[..., 0]
    image = original.copy()
    image[:3] = image[-3:] = 0
    image[:, :3] = image[:, -3:] = 0
    assert metrics.score(image, original, 3) == (math.inf, pytest.approx(1))
    assert math.isfinite(metrics.score(image, original, 2).psnr)


def test_too_small_images_are_refused():
    image = synthetic_image(16, 40)[..., 0]
    assert metrics.score(image[:, :17], image[:, :17], 2).psnr == math.inf
    with pytest.raises(ValueError, match=r"16 x 40 pixels are too few: SSIM needs 11 x 11 after 3 are shaved"):
        metrics.score(image, image, 3)


def test_measured_data_are_scored_in_db_of_their_range_without_rounding():
    rng = np.random.default_rng(0)
    original = rng.random((40, 40, 1))
    image = original + 1e-4 * rng.standard_normal(original.shape)
    error = np.mean((image.clip(0, 1) - original)[3:-3, 3:-3] ** 2)
    score = metrics.score_channels(image, original, 3, ColorSpace(), is_measured=True)
    assert score.psnr == pytest.approx(-10 * math.log10(error), abs=1e-6)
    assert metrics.score_channels(image, original, 3, ColorSpace()).psnr != pytest.approx(score.psnr, abs=1)
    assert score.ssim == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("studio", [False, True])
def test_channels_are_scored_by_their_luma(studio):
    image, original = synthetic_image(40, 40, seed=1), synthetic_image(40, 40, seed=2)
    expected = metrics.score(
        *(color.to_uint8(color.to_luma(pixels, ColorSpace(studio=studio))[..., 0]) for pixels in (image, original)), 3
    )
    channels, truth = (color.to_channels(pixels, ColorSpace("ycbcr", studio)) for pixels in (image, original))
    channels[..., 1:] = 0
    assert metrics.score_channels(channels, truth, 3, ColorSpace("ycbcr", studio)) == expected
    lumas = ((rgb2ycbcr(pixels)[..., 0] if studio else pixels @ [0.299, 0.587, 0.114]) for pixels in (image, original))
    expected = metrics.score(*(np.rint(luma).astype(np.uint8) for luma in lumas), 3)
    space = ColorSpace("rgb", studio)
    channels, truth = (color.to_channels(pixels, space) for pixels in (image, original))
    assert metrics.score_channels(channels, truth, 3, space).psnr == pytest.approx(expected.psnr, abs=0.01)
