import numpy as np
import pytest
from networks import convolved, random_model

from srcnn_tf.images.resize import imresize
from srcnn_tf.upscaling import network
from srcnn_tf.upscaling.network import PhaseNetwork, neighbours


@pytest.mark.parametrize("scale", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("filter_sizes", "c_dim"), [((9, 1, 5), 1), ((9, 5, 5), 1), ((5, 1, 1), 1), ((11, 3, 7), 1), ((9, 3, 5), 3)]
)
def test_equals_bicubic_then_three_convolutions(filter_sizes, c_dim, scale, monkeypatch):
    """In float64, where the small image has a margin; computed in pieces of one row, and in one piece."""
    weights = random_model(filter_sizes, c_dim).get_weights()
    small = np.random.default_rng(0).random((31, 27, c_dim)).astype(np.float32)
    phases = PhaseNetwork(weights, scale)
    before, after = phases.margins
    margin = (sum(filter_sizes) - 3) // 2
    expected = convolved(imresize(small.astype(np.float64), scale), weights)
    rows, cols = (slice(scale * before - margin, scale * (side - after) - margin) for side in small.shape[:2])
    for values in (1, 10**9):
        monkeypatch.setattr(network, "FEATURES_IN_CACHE", values)
        monkeypatch.setattr(network, "FEATURES_OF_WIDE_LAYER", values)
        result = phases(small.transpose(2, 0, 1))
        np.testing.assert_allclose(result.transpose(1, 2, 0), expected[rows, cols], rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [1, 5, 9])
def test_each_tap_of_a_filter_has_one_neighbour(side):
    found = neighbours(3, side)
    for phase in range(3):
        pixels = [
            3 * one.offset + source - phase + side // 2
            for one in found
            if one.phase == phase
            for source in range(one.sources.start, one.sources.stop)
        ]
        taps = [tap for one in found if one.phase == phase for tap in range(one.taps.start, one.taps.stop)]
        assert pixels == taps == list(range(side))
