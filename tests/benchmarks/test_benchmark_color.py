import numpy as np
import pytest

from benchmarks import color
from benchmarks.common import synthetic_image
from srcnn_tf import utils

ARGUMENTS = ("Train", 3, "scratch")
IMAGE = synthetic_image(42, 42)


def test_bicubic_row_is_the_papers(shared):
    """Four figures printed in the paper; the fifth was measured for this project."""
    scores = color.measure(None, str(shared / "data" / "Set5"))
    assert scores[:4] == pytest.approx(color.PAPER["bicubic"][:4], abs=0.01)
    assert scores.rgb == pytest.approx(28.63, abs=0.005)


@pytest.mark.parametrize("row", ["YCbCr", "RGB"])
def test_a_perfect_image_has_no_error(row):
    config = color.row_config(row, *ARGUMENTS)
    scores = color.score(utils.preprocess(IMAGE, config)[1], IMAGE, config)
    assert scores[:4] == (np.inf,) * 4
    # Eight bits of Y, Cb and Cr do not hold all of R, G and B.
    assert scores.rgb == np.inf if config.rgb else 45 < scores.rgb < 60


def test_the_pooled_column_is_the_mean_of_the_three_errors():
    config = color.row_config("YCbCr", *ARGUMENTS)
    scores = color.score(utils.preprocess(IMAGE, config)[0], IMAGE, config)
    errors = [10 ** (-psnr / 10) for psnr in scores[:3]]
    assert scores.ycbcr == pytest.approx(-10 * np.log10(np.mean(errors)))
