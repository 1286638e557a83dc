import numpy as np
import pytest

from benchmarks.common import synthetic_image
from benchmarks.experiments import color
from srcnn_tf import utils


def test_bicubic_row_is_the_papers(shared):
    """Four figures printed in the paper; the fifth was measured for this project."""
    scores = color.measure(None, str(shared / "data" / "Set5"))
    assert scores[:4] == pytest.approx(color.PAPER["bicubic"][:4], abs=0.01)
    assert scores.rgb == pytest.approx(28.63, abs=0.005)


def test_the_pooled_column_is_the_mean_of_the_three_errors():
    config, image = color.row_config("YCbCr", "Train", 3, "scratch"), synthetic_image(42, 42)
    scores = color.score(utils.preprocess(image, config)[0], image, config)
    errors = [10 ** (-psnr / 10) for psnr in scores[:3]]
    assert scores.ycbcr == pytest.approx(-10 * np.log10(np.mean(errors)))
