import numpy as np
import pytest
import tensorflow as tf
from conftest import drawn
from test_model import convolved

from srcnn_tf import utils
from srcnn_tf.config import Config
from srcnn_tf.images import color
from srcnn_tf.inference import tiling as infer
from srcnn_tf.model import srcnn


@pytest.fixture
def model():
    return random_model()


def random_model(filter_sizes=(9, 1, 5), c_dim=1):
    model = srcnn(filter_sizes, c_dim, initialization="he", seed=1)
    rng = np.random.default_rng(2)
    # Large enough weights in the last layer that a wrong pixel shows.
    model.set_weights([values + rng.normal(0, 0.02, values.shape) for values in model.get_weights()])
    return model


def test_size_stays_and_edges_are_replicated(model):
    channels = color.to_channels(drawn(30, 41)[..., 0])
    found = infer.Reconstructor(model)(channels)
    assert found.shape == (30, 41, 1)
    padded = np.pad(channels, ((6, 6), (6, 6), (0, 0)), mode="edge")
    np.testing.assert_allclose(found, np.clip(convolved(padded, model), 0, 1), atol=2e-5)


@pytest.mark.parametrize("tile_size", [7, 21, 64])
@pytest.mark.parametrize("filter_sizes", [(9, 1, 5), (9, 5, 5)])
@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
def test_any_tiling_is_the_whole_picture(tile_size, filter_sizes, dtype):
    channels = color.to_channels(drawn(70, 55))
    model = random_model(filter_sizes)
    whole = infer.Reconstructor(model, tile_size=1000, dtype=dtype)(channels)
    tiled = infer.Reconstructor(model, tile_size, dtype=dtype)(channels)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)
    np.testing.assert_array_equal(color.to_uint8(tiled), color.to_uint8(whole))


@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13, 70])
def test_bands_are_asked_for_with_the_rows_around_them(rows, model, monkeypatch):
    monkeypatch.setattr(infer, "BAND", 55 * 6)  # six rows
    channels = color.to_channels(drawn(rows, 55))
    asked = []

    def read(begin, end):
        asked.append((begin, end))
        return channels[begin:end]

    found = list(infer.Reconstructor(model).bands(rows, 55, read))
    assert [(begin, end) for begin, end, _ in found] == [(row, min(row + 6, rows)) for row in range(0, rows, 6)]
    assert all(begin >= 0 and end <= rows and end - begin <= 6 + 12 for begin, end in asked)
    whole = infer.Reconstructor(model, tile_size=1000)
    monkeypatch.setattr(infer, "BAND", 2**22)
    np.testing.assert_allclose(np.concatenate([band for *_, band in found]), whole(channels), atol=1e-5)


def test_network_of_one_channel_leaves_chroma(model):
    channels = color.to_channels(drawn(20, 25))
    found = infer.Reconstructor(model)(channels)
    np.testing.assert_allclose(found[..., 1:], channels[..., 1:], atol=1e-7)
    np.testing.assert_array_equal(found[..., :1], infer.Reconstructor(model)(channels[..., :1]))


def test_network_of_three_channels_restores_all_and_takes_grey():
    reconstruct = infer.Reconstructor(random_model(c_dim=3))
    channels = color.to_channels(drawn(20, 25))
    assert (np.abs(reconstruct(channels) - channels).max(axis=(0, 1)) > 0.01).all()
    grey = channels[..., :1]
    np.testing.assert_array_equal(reconstruct(grey), reconstruct(color.in_colour(grey))[..., :1])


def test_an_rgb_network_sees_grey_as_equal_channels():
    reconstruct = infer.Reconstructor(random_model(c_dim=3), rgb=True)
    grey = color.to_channels(drawn(20, 25)[..., 0])
    expected = reconstruct(np.dstack([grey] * 3)) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(reconstruct(grey)[..., 0], expected, atol=1e-6)


def test_result_is_clipped(model):
    model.get_layer("reconstruction").bias.assign([5.0])
    assert infer.Reconstructor(model)(color.to_channels(drawn(20, 25)[..., 0])).max() == 1


def test_weights_may_change_between_calls(model):
    reconstruct = infer.Reconstructor(model)
    channels = color.to_channels(drawn(20, 25)[..., 0])
    before = reconstruct(channels)
    model.get_layer("reconstruction").bias.assign_add([0.1])
    np.testing.assert_allclose(reconstruct(channels), np.clip(before + 0.1, 0, 1), atol=1e-6)


def test_reference_test_image(golden):
    """The reference's merged output for its test picture, sub-image by sub-image at stride 21."""
    truth = np.load(golden / "reference_test_image.npz")["image"]
    weights = np.load(golden / "reference_training.npz")
    model = srcnn()
    model.set_weights([weights[f"final_{kind}{number}"] for number in (1, 2, 3) for kind in "wb"])
    degraded = utils.preprocess(golden / "Test" / "Set5" / "s3.bmp")[0][..., np.newaxis]
    found = infer.Reconstructor(model)(degraded)[6 : 6 + truth.shape[0], 6 : 6 + truth.shape[1], 0]
    np.testing.assert_allclose(found, np.clip(truth, 0, 1), atol=1e-5)


def test_score_is_of_the_luma():
    original = color.to_channels(drawn(40, 40))
    image = original.copy()
    image[..., 1:] = 0
    assert infer.score(image, original, Config()).ssim == pytest.approx(1)
    image[..., 0] += 10 / 255
    assert infer.score(np.clip(image, 0, 1), original, Config()).psnr < 40


@pytest.mark.parametrize("degradation", ["scipy", "matlab"])
def test_score_of_rgb_is_of_its_luma_too(degradation):
    image = drawn(40, 40)
    config = Config(c_dim=3, color_space="rgb", degradation=degradation)
    degraded, original = utils.degraded_pair(image, 3, degradation, "rgb")
    np.testing.assert_array_equal(original * 255, utils.modcrop(image))
    luma = utils.degraded_pair(image, 3, degradation)
    # They differ by the rounding of the luma before it is degraded.
    expected = infer.score(*luma, Config(degradation=degradation))
    assert infer.score(degraded, original, config).psnr == pytest.approx(expected.psnr, abs=0.05)
