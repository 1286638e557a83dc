import numpy as np
import pytest
from conftest import synthetic_image
from networks import convolved, random_model

from srcnn_tf.images.color import to_luma, to_uint8
from srcnn_tf.images.metrics import psnr
from srcnn_tf.images.page import RowStream
from srcnn_tf.images.read import read_image
from srcnn_tf.images.resize import imresize
from srcnn_tf.model import border
from srcnn_tf.spec import LUMA, ColorSpace, NetworkSpec
from srcnn_tf.upscaling import polyphase
from srcnn_tf.upscaling.polyphase import PolyphaseModel
from srcnn_tf.utils import modcrop, prepare_data
from srcnn_tf.weights.models import find_model
from srcnn_tf.weights.search import WeightsSearch


def upscaled(image, model, scale, space=LUMA, **options):
    return np.concatenate(list(PolyphaseModel(model.get_weights(), scale, space, **options).bands(image)))


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("architecture", ["9-1-5", "9-5-5"])
def test_shipped_networks_equal_bicubic_then_the_keras_model_away_from_the_frame(architecture, scale):
    model = find_model(NetworkSpec(scale, "matlab", architecture), WeightsSearch())[0]
    small = synthetic_image(60, 70)[..., :1] / np.float32(255)
    margin = border(model) // 2
    expected = model(imresize(small, scale)[np.newaxis])[0].numpy().clip(0, 1)
    inner = margin + int(np.ceil(1.5 * scale))  # beyond what mirroring changes
    result = upscaled(small, model, scale, tile_size=(90, 90))[inner:-inner, inner:-inner]
    rest = inner - margin
    np.testing.assert_allclose(result, expected[rest:-rest, rest:-rest], rtol=0, atol=2e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_frame_is_that_of_the_mirrored_image(scale):
    model = random_model()
    small = synthetic_image(12, 15)[..., :1] / np.float32(255)
    mirrored = imresize(np.pad(small, ((12, 12), (12, 12), (0, 0)), mode="symmetric"), scale)
    crop = 12 * scale - 6
    expected = convolved(mirrored[crop:-crop, crop:-crop], model.get_weights()).clip(0, 1)
    np.testing.assert_allclose(upscaled(small, model, scale), expected, rtol=0, atol=1e-5)
    # A single pixel has only mirror images of itself.
    grey = np.full((1, 1, 1), 0.5, np.float32)
    expected = convolved(np.full((12 + scale, 12 + scale, 1), 0.5), model.get_weights()).clip(0, 1)
    np.testing.assert_allclose(upscaled(grey, model, scale), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("studio", [False, True])
def test_colour_is_bicubic_plus_a_multiple_of_what_luma_changes_by(studio):
    """Against the definition: to Y, Cb, Cr by ITU-R BT.601, bicubic, luma restored, and back."""
    model = random_model()
    image = synthetic_image(24, 30)
    luma = np.array([65.481, 128.553, 24.966]) / 255 if studio else np.array([0.299, 0.587, 0.114])
    gain, offset = (255 / 219, 16 / 255) if studio else (1, 0)
    bicubic = imresize(image / 255, 3)
    degraded = bicubic @ luma + offset
    restored = convolved(degraded[..., np.newaxis], model.get_weights()).clip(0, 1)
    expected = bicubic[6:-6, 6:-6] + gain * (restored - degraded[6:-6, 6:-6, np.newaxis])
    result = upscaled(image, model, 3, ColorSpace(studio=studio))
    assert np.ptp(expected) > 0.5
    difference = np.abs(result[6:-6, 6:-6] - 255 * expected.clip(0, 1))[5:-5, 5:-5]
    assert difference.max() < 0.51


def test_bands_are_read_once_and_tiles_agree():
    model, image = random_model(), synthetic_image(45, 29)
    whole = upscaled(image / np.float32(255), model, 3, tile_size=(1000, 1000))
    stream = RowStream(image.shape, image.dtype, iter([image[row : row + 7] for row in range(0, 45, 7)]))
    bands = list(PolyphaseModel(model.get_weights(), 3, LUMA, tile_size=(30, 30)).bands(stream))
    assert [band.shape for band in bands] == [(27, 87, 3)] * 5  # five equal bands rather than four and half a one
    np.testing.assert_allclose(np.concatenate(bands) / 255, whole, rtol=0, atol=0.501 / 255)


def test_the_same_bytes_for_any_number_of_threads(monkeypatch):
    model, image = random_model(), synthetic_image(150, 140)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(polyphase, "cores", lambda count=threads: count)
        results.append(upscaled(image, model, 3, tile_size=(100, 100)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_psnr_of_shipped_weights_with_the_frame(scale, shared):
    """Not below the plain network, whose frame is of repeated edge pixels."""
    model = find_model(NetworkSpec(scale, "matlab"), WeightsSearch())[0]
    margin = border(model) // 2
    scores = []
    for path in prepare_data(shared / "data" / "Set5"):
        luma = modcrop(to_luma(read_image(path), ColorSpace(studio=True)), scale)
        small = (to_uint8(imresize(luma, 1 / scale)) / 255).astype(np.float32)
        padded = np.pad(imresize(small, scale), ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        results = [model(padded[np.newaxis])[0].numpy(), upscaled(small, model, scale)]
        scores.append([psnr(to_uint8(result), to_uint8(luma)) for result in results])
    plain, mirrored = np.mean(scores, axis=0)
    assert mirrored >= plain
