import numpy as np
import pytest
import tensorflow as tf
from conftest import synthetic_image
from networks import convolved, network, random_model

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.images import color
from srcnn_tf.images.read import read_image
from srcnn_tf.spec import ColorSpace
from srcnn_tf.testing import tiling
from srcnn_tf.testing.tiling import TiledModel


def test_size_stays_edges_are_replicated_results_are_clipped_and_weights_may_change():
    model = random_model()
    restore = TiledModel(model)
    channels = color.to_channels(synthetic_image(30, 41)[..., 0])
    padded = np.pad(channels, ((6, 6), (6, 6), (0, 0)), mode="edge")
    for bias in (0.0, 0.1, 5.0):
        model.get_layer("reconstruction").bias.assign([bias])
        restored = restore(channels)
        assert (restored.shape, restored.dtype) == ((30, 41, 1), np.float32)
        np.testing.assert_allclose(restored, np.clip(convolved(padded, model.get_weights()), 0, 1), atol=2e-5)
    assert restored.max() == 1


@pytest.mark.parametrize("tile_size", [7, 16, 35])
@pytest.mark.parametrize("filter_sizes", [(9, 1, 5), (9, 5, 5)])
def test_results_do_not_depend_on_the_tiling(tile_size, filter_sizes):
    channels = color.to_channels(synthetic_image(41, 33))
    model = random_model(filter_sizes)
    whole = TiledModel(model, tile_size=1000)(channels)
    tiled = TiledModel(model, tile_size=tile_size)(channels)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    np.testing.assert_array_equal(color.to_uint8(tiled), color.to_uint8(whole))


def test_networks_of_one_channel_leave_chroma_and_those_of_three_restore_all_and_take_grey():
    channels = color.to_channels(synthetic_image(20, 25))
    grey, restore = channels[..., :1], TiledModel(random_model())
    np.testing.assert_allclose(restore(channels)[..., 1:], channels[..., 1:], atol=1e-7)
    np.testing.assert_array_equal(restore(channels)[..., :1], restore(grey))
    model = random_model(c_dim=3)
    restore = TiledModel(model, ColorSpace("ycbcr"))
    assert (np.abs(restore(channels) - channels).max(axis=(0, 1)) > 0.01).all()
    np.testing.assert_array_equal(restore(grey), restore(color.to_three_channels(grey, ColorSpace("ycbcr")))[..., :1])
    # For an RGB network, grey is three equal channels.
    restore = TiledModel(model, ColorSpace("rgb"))
    expected = restore(np.dstack([grey] * 3)) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(restore(grey)[..., 0], expected, atol=1e-6)


def test_reference_test_image(golden):
    """The reference's merged output for its test image, patch by patch at stride 21."""
    truth = np.load(golden / "reference_test_image.npz")["image"]
    weights = np.load(golden / "reference_training.npz")
    model = network()
    model.set_weights([weights[f"final_{kind}{number}"] for number in (1, 2, 3) for kind in "wb"])
    degraded, _ = utils.preprocess(read_image(golden / "Test" / "Set5" / "s3.bmp"), Config(), c_dim=1)
    restored = TiledModel(model)(degraded)[6 : 6 + truth.shape[0], 6 : 6 + truth.shape[1], 0]
    np.testing.assert_allclose(restored, np.clip(truth, 0, 1), atol=1e-5)


def test_a_device_without_enough_memory_raises_memory_error(monkeypatch):
    def exhaust(*arguments):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(tiling.tf, "constant", exhaust)
    with pytest.raises(MemoryError, match="for tiles of 160 x 160 pixels"):
        TiledModel(random_model())(np.zeros((5, 5, 1)))
