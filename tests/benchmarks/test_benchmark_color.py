import numpy as np
import pytest

from benchmarks import color
from benchmarks.common import synthetic_image
from srcnn_tf import utils
from srcnn_tf.weights.store import find_model

ARGUMENTS = ("Train", 3, "scratch")
IMAGE = synthetic_image(42, 42)


def test_bicubic_row_is_the_papers(shared):
    """Four figures printed in the paper; the fifth was measured for this project."""
    found = color.measure(None, str(shared / "data" / "Set5"))
    assert found[:4] == pytest.approx(color.PAPER["bicubic"][:4], abs=0.01)
    assert found.rgb == pytest.approx(28.63, abs=0.005)


@pytest.mark.parametrize("row", ["YCbCr", "RGB"])
def test_a_perfect_image_has_no_error(row):
    config = color.row_config(row, *ARGUMENTS)
    found = color.score(utils.preprocess(IMAGE, config)[1], IMAGE, config)
    assert found[:4] == (np.inf,) * 4
    # Eight bits of Y, Cb and Cr do not hold all of R, G and B.
    assert found.rgb == np.inf if config.rgb else 45 < found.rgb < 60


def test_the_pooled_column_is_the_mean_of_the_three_errors():
    config = color.row_config("YCbCr", *ARGUMENTS)
    found = color.score(utils.preprocess(IMAGE, config)[0], IMAGE, config)
    errors = [10 ** (-psnr / 10) for psnr in found[:3]]
    assert found.ycbcr == pytest.approx(-10 * np.log10(np.mean(errors)))


def test_a_row_is_pretrained_on_its_channels_and_trained_once(capsys):
    utils.imsave(synthetic_image(48, 54), "Train/a.png")
    config = color.train_row("CbCr pre-trained", *ARGUMENTS)
    pretraining = color.row_config("CbCr pre-trained first", *ARGUMENTS)
    before, after = (find_model(trained)[0].get_weights() for trained in (pretraining, config))
    # After pre-training, the weights that make Y are still the initial ones: N(0, 0.001), and a bias of 0.
    assert abs(before[4][..., 0]).max() < 0.005
    assert before[5][0] == 0
    assert (before[5][1:] != 0).all()
    assert after[5][0] != 0
    capsys.readouterr()
    color.train_row("CbCr pre-trained", *ARGUMENTS)
    assert capsys.readouterr().out.count("is finished") == 2
