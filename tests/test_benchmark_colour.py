import dataclasses

import numpy as np
import pytest
from conftest import drawn

from benchmarks import colour
from srcnn_tf import utils
from srcnn_tf.weights.checkpoint import restored_model

HOW = ("Train", 3, "scratch")


def test_bicubic_row_is_the_papers(shared):
    """Four figures printed in the paper; the fifth was measured for this project."""
    found = colour.measure(None, str(shared / "data" / "Set5"))
    assert found[:4] == pytest.approx(colour.PAPER["bicubic"][:4], abs=0.01)
    assert found.rgb == pytest.approx(28.63, abs=0.005)


@pytest.mark.parametrize("row", ["YCbCr", "RGB"])
def test_a_perfect_picture_has_no_error(row):
    config = colour.configuration(row, *HOW)
    picture = drawn(42, 42)
    _, original = utils.degraded_pair(picture, 3, "matlab", config.color_space)
    found = colour.score(original, picture, config)
    assert found[:4] == (np.inf,) * 4
    # Eight bits of Y, Cb and Cr are not all of R, G and B.
    assert found.rgb == np.inf if config.rgb else 45 < found.rgb < 60


def test_pooled_column_is_the_mean_of_the_three_errors():
    picture = drawn(42, 42)
    degraded, _ = utils.degraded_pair(picture, 3, "matlab")
    found = colour.score(degraded, picture, colour.configuration("YCbCr", *HOW))
    errors = [10 ** (-value / 10) for value in found[:3]]
    assert found.ycbcr == pytest.approx(-10 * np.log10(np.mean(errors)))


def test_a_row_is_pretrained_on_its_channels_and_trained_once(make_picture, capsys):
    make_picture("Train/a.png")
    config = colour.train_row("CbCr pre-trained", *HOW)
    folders = colour.folders("CbCr pre-trained first", "scratch")
    first = dataclasses.replace(config, recipe="first", epoch=1, **folders)
    before, after = (restored_model(trained)[0].get_weights() for trained in (first, config))
    # What makes Y is still random after the first part: N(0, 0.001) and a bias of 0.
    assert abs(before[4][..., 0]).max() < 0.005
    assert before[5][0] == 0
    assert (before[5][1:] != 0).all()
    assert after[5][0] != 0
    capsys.readouterr()
    colour.train_row("CbCr pre-trained", *HOW)
    assert capsys.readouterr().out.count("is finished") == 2
